"""Method table: accuracies, exact paired tests, labelled rows and costs of many methods on many tasks."""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from site_lens.methods.evaluation import Evaluation, Evaluations, Match, MethodCost
from site_lens.records.base import Axes, Float32, Frozen, Lengths, Record
from site_lens.records.display import MOST_LISTED
from site_lens.records.errors import InputError, unknown_name
from site_lens.records.lazy_pandas import pd
from site_lens.stats.intervals import Interval, wilson
from site_lens.stats.paired_tests import Drawn, Verdict, control_false_discoveries, verdict

COUNTED = ("n_right", "n_queries", "labelled_rows", "low", "high")
TESTED = ("n_compared", "only_method", "only_reference", "p_value", "q_value")
"""Arrays of a table by task and method, and by reference, task and method."""

UNEDITED = "zero_shot"
"""The method whose time a query is the unit of inference cost."""


class MacroDifference(Frozen):
    """Difference of a method's accuracy from a reference's, over the shared tasks."""

    reference: str
    value: float
    low: float
    high: float
    """Mean difference and its 95% interval over tasks; of one task, over its queries."""
    n_above: int = Field(ge=0)
    """Tasks in which the method is better than the reference."""
    n_below: int = Field(ge=0)
    """Tasks in which it is worse."""
    p_value: float = Field(gt=0, le=1)
    """Two-sided sign-flip test over tasks; of one task, the exact test on its queries."""
    q_value: float = Field(gt=0, le=1)
    """The same with the false discovery rate controlled over all methods (Benjamini and Hochberg)."""


class MethodSummary(Frozen):
    """One method over the shared tasks; costs are means over them, and None where a task lacks them."""

    method: str
    value: float
    low: float
    high: float
    """Mean accuracy, each task counting once, and its 95% interval over tasks; of one task, Wilson's."""
    fewest_rows: int = Field(ge=0)
    most_rows: int = Field(ge=0)
    """Fewest and most labelled rows that it used for a task; for few-shot prompting, rows a prompt shows."""
    differences: tuple[MacroDifference, ...]
    """Differences from the references, none from itself."""
    n_trained: float | None = Field(ge=0)
    """Numbers learned by an optimiser."""
    stored_bytes: float | None = Field(ge=0)
    fit_seconds: float | None = Field(ge=0)
    """Seconds to make it."""
    query_seconds: float | None = Field(ge=0)
    """Seconds a test query."""
    relative_inference: float | None = Field(ge=0)
    """Seconds a test query over those of zero-shot prompting."""

    def over(self, reference: str) -> MacroDifference | None:
        """Return the difference from a reference; None from itself."""
        return next((summary for summary in self.differences if summary.reference == reference), None)


class MethodTable(Record):
    """Accuracies of many methods on many tasks, tested pair by pair against one or more references."""

    kind: ClassVar[str] = "method_table"
    lengths: ClassVar[Lengths] = {"against": "reference"}

    metric: Match
    methods: tuple[str, ...]
    tasks: tuple[str, ...]
    shared: tuple[str, ...]
    """Tasks that were evaluated with every method: all means and tests over tasks stand on these and no others."""
    against: tuple[str, ...]
    """The references."""
    n_right: Annotated[Float32, Axes(("task", "method"), 0)]
    """(task method): queries answered right."""
    n_queries: Annotated[Float32, Axes(("task", "method"), 0)]
    """(task method): queries asked; 0 where the task was not evaluated with the method."""
    low: Annotated[Float32, Axes(("task", "method"), 0, 1)] | None = None
    high: Annotated[Float32, Axes(("task", "method"), 0, 1)] | None = None
    """(task method): 95% interval of the accuracy; 0 where the task was not evaluated with the method. None in files of
    site_lens 0.1, whose queries were independent."""
    labelled_rows: Annotated[Float32, Axes(("task", "method"), 0)]
    """(task method): labelled rows used; 0 where the task was not evaluated with the method."""
    n_compared: Annotated[Float32, Axes(("reference", "task", "method"), 0)]
    """(reference task method): queries asked of both; 0 where the task lacks one, and for a reference itself."""
    only_method: Annotated[Float32, Axes(("reference", "task", "method"), 0)]
    """(reference task method): queries that the method has right and the reference has not."""
    only_reference: Annotated[Float32, Axes(("reference", "task", "method"), 0)]
    """(reference task method): queries that the reference has right and the method has not."""
    p_value: Annotated[Float32, Axes(("reference", "task", "method"), 0, 1)]
    """Of `Evaluation.compare`: the exact two-sided McNemar test where queries are independent. 1 where there is nothing
    to compare, and no smaller than 1e-38 (the end of float32)."""
    q_value: Annotated[Float32, Axes(("reference", "task", "method"), 0, 1)]
    """The same with the false discovery rate controlled over all tasks and methods of a reference."""
    summaries: tuple[MethodSummary, ...]
    """Every method over the shared tasks, in the order of `methods`."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.shared or not set(self.shared) <= set(self.tasks):
            raise ValueError(f"needs at least one shared task, and of its own tasks, got {self.shared}")
        if tuple(summary.method for summary in self.summaries) != self.methods:
            raise ValueError(f"needs the summary of every method in order, got {[s.method for s in self.summaries]}")
        return self

    def _facts(self) -> Mapping[str, object]:
        means = {summary.method: f"{summary.value:.3f}" for summary in self.ranked()[:MOST_LISTED]}
        return {"metric": self.metric, "methods": len(self.methods), "shared tasks": len(self.shared)} | means

    def of(self, method: str) -> MethodSummary:
        """Return one method over the shared tasks."""
        if method not in self.methods:
            raise unknown_name("method", method, self.methods)
        return self.summaries[self.methods.index(method)]

    @property
    def over(self) -> Drawn:
        """Unit of means and tests: the shared tasks, or the queries of a single one."""
        return "tasks" if len(self.shared) > 1 else "queries"

    def n_drawn(self, method: str) -> int:
        """Number of tasks, or of queries of the single task, behind the mean of a method."""
        if self.over == "tasks":
            return len(self.shared)
        return int(self.n_queries[self.tasks.index(self.shared[0]), self.methods.index(method)])

    def verdict(self, method: str, reference: str) -> Verdict | None:
        """Judge the difference of a method from a reference, at a false discovery rate of 0.05; None from itself."""
        difference = self.of(method).over(reference)
        if difference is None:
            return None
        interval = Interval(difference.value, difference.low, difference.high, self.n_drawn(method))
        return verdict(interval, difference.q_value, self.over)

    def accuracy(self, task: str, method: str) -> Interval | None:
        """Share of right answers with its 95% interval; None where the task was not evaluated with the method."""
        if task not in self.tasks:
            raise unknown_name("task", task, self.tasks)
        i, j = self.tasks.index(task), self.methods.index(self.of(method).method)
        n, n_right = int(self.n_queries[i, j]), int(self.n_right[i, j])
        if not n:
            return None
        if self.low is None or self.high is None:
            return wilson(n_right, n)
        return Interval(n_right / n, float(self.low[i, j]), float(self.high[i, j]), n)

    def ranked(self) -> tuple[MethodSummary, ...]:
        """Return the methods from the highest mean accuracy to the lowest; ties in their order."""
        return tuple(sorted(self.summaries, key=lambda summary: -summary.value))

    def at_most(self, n_labelled: int) -> "MethodTable":
        """Keep the methods that used no more labelled rows on any shared task: a comparison on equal data.

        Tests and shared tasks stay those of the whole table; a reference is kept as such even where it goes.

        Raises:
            InputError: Every method used more.
        """
        kept = [i for i, summary in enumerate(self.summaries) if summary.most_rows <= n_labelled]
        if not kept:
            fewest = min(summary.most_rows for summary in self.summaries)
            raise InputError(f"no method used at most {n_labelled} labelled rows; the most frugal used {fewest}")
        return self.replace(
            methods=tuple(self.methods[i] for i in kept),
            summaries=tuple(self.summaries[i] for i in kept),
            **{name: getattr(self, name)[..., kept] for name in (*COUNTED, *TESTED) if getattr(self, name) is not None},
        )

    def frontier(self) -> tuple[MethodSummary, ...]:
        """Return the methods that none with as few labelled rows equals, from the fewest rows to the most."""
        frontier: list[MethodSummary] = []
        for summary in sorted(self.summaries, key=lambda summary: (summary.most_rows, -summary.value)):
            if not frontier or summary.value > frontier[-1].value:
                frontier.append(summary)
        return tuple(frontier)

    def frame(self) -> "pd.DataFrame":
        """One row per task and method that it was evaluated with.

        Columns: task, method, shared, accuracy, low, high, n, labelled_rows.
        """
        rows = [
            (task, method, task in self.shared, share.value, share.low, share.high, share.n,
             int(self.labelled_rows[i, j]))
            for i, task in enumerate(self.tasks)
            for j, method in enumerate(self.methods)
            if (share := self.accuracy(task, method)) is not None
        ]  # fmt: skip
        columns = ["task", "method", "shared", "accuracy", "low", "high", "n", "labelled_rows"]
        return pd.DataFrame(rows, columns=columns)

    def tests_frame(self) -> "pd.DataFrame":
        """One row per reference, task and other method that can be compared there.

        Columns: reference, task, method, difference, n, only_method, only_reference, p_value, q_value.
        """
        places = pd.MultiIndex.from_product(
            [self.against, self.tasks, self.methods], names=["reference", "task", "method"]
        )
        table = pd.DataFrame({name: getattr(self, name).ravel() for name in TESTED}, index=places).reset_index()
        table = table[table["n_compared"] > 0].reset_index(drop=True)
        table = table.astype(dict.fromkeys(("n_compared", "only_method", "only_reference"), int))
        table.insert(3, "difference", (table["only_method"] - table["only_reference"]) / table["n_compared"])
        return table

    def means_frame(self) -> "pd.DataFrame":
        """One row per method, best first: mean accuracy, rows, costs, and its difference from every reference."""
        rows = []
        for summary in self.ranked():
            row = summary.model_dump(exclude={"differences"}) | {"n_tasks": len(self.shared)}
            for reference in self.against:
                difference = summary.over(reference)
                for name in ("value", "low", "high", "p_value", "q_value"):
                    row[f"{name}_over_{reference}"] = None if difference is None else getattr(difference, name)
            rows.append(row)
        return pd.DataFrame(rows)


def method_table(
    evaluations: Evaluations,
    against: Sequence[str] | None = None,
    *,
    methods: Sequence[str] | None = None,
    metric: Match = "first_token",
) -> MethodTable:
    """Compare methods on the same queries: task by task, and over the tasks that all of them share.

    On one task a method is tested against a reference by the exact McNemar test: among the queries that one of the two
    has right and the other has not, either is as likely under the null; where queries share demonstrations, by the
    test of clusters (`Evaluation.compare`). The false discovery rate is controlled over all tasks and methods of a
    reference. Over tasks, signs of the differences in accuracy are flipped
    (`sign_flip_test`). The null is that a task's difference is as likely to be up as down; n tasks cannot give a
    p-value below 2 / 2^n. With one task, tests and intervals are those of its queries. A difference is found where
    test and interval both say so (`stats.paired_tests.verdict`).

    Args:
        evaluations: Evaluations by task.
        against: The references; a method is compared with each of them. When None, `evaluations.reference` (prompting
            with as many demonstrations as were asked for) and `site`, as far as they were evaluated.
        methods: The methods to compare; every method of every task when None.
        metric: Which count of right answers.

    Raises:
        InputError: There are no evaluations, a method is unknown, no task was evaluated with all methods, or the
            metric was not measured.

    Reference: McNemar 1947; Fisher 1935 (sign flips); Benjamini and Hochberg 1995.
    """
    against = default_references(evaluations) if against is None else against
    chosen = _chosen(evaluations, methods, against, metric)
    shared = _shared(evaluations, (*chosen, *against), n_methods=len(chosen))
    shape = (len(evaluations), len(chosen))
    counted, compared = np.zeros((5, *shape)), np.zeros((3, len(against), *shape))
    p_value = np.ones((len(against), *shape))
    for i, evaluation in enumerate(evaluations.values()):
        right = dict(zip(evaluation.methods, getattr(evaluation, metric), strict=True))
        for j, method in enumerate(chosen):
            if method not in right:
                continue
            share, answers = evaluation.accuracy(method, metric), right[method]
            counted[:, i, j] = answers.sum(), len(answers), _rows(evaluation, method), share.low, share.high
            for k, reference in enumerate(against):
                if reference != method and reference in right:
                    gains = answers - right[reference]
                    compared[:, k, i, j] = len(gains), (gains > 0).sum(), (gains < 0).sum()
                    p_value[k, i, j] = evaluation.compare(method, reference, metric).p_value
    return MethodTable(
        metric=metric,
        methods=chosen,
        tasks=tuple(evaluations),
        shared=tuple(shared),
        against=tuple(against),
        **dict(zip(COUNTED, counted, strict=True)),
        n_compared=compared[0],
        only_method=compared[1],
        only_reference=compared[2],
        p_value=p_value,
        q_value=[control_false_discoveries(p, n > 0) for p, n in zip(p_value, compared[0], strict=True)],
        summaries=_summaries(shared, chosen, tuple(against), metric),
    )


def default_references(evaluations: Evaluations) -> tuple[str, ...]:
    """Return the default references of a comparison: few-shot prompting and SITE, where they were evaluated."""
    names = (evaluations.reference, "site")
    return tuple(name for name in names if name is not None and name in evaluations.methods)


def _chosen(
    evaluations: Evaluations, methods: Sequence[str] | None, against: Sequence[str], metric: Match
) -> tuple[str, ...]:
    """Return the methods to compare, each once, after a check that all that is asked for was evaluated."""
    if not evaluations:
        raise InputError("there are no evaluations to compare; make some with evaluate(model, tasks, fits)")
    if not against:
        raise InputError("a comparison needs at least one reference, such as against=('site',); got none")
    chosen = tuple(dict.fromkeys(evaluations.methods if methods is None else methods))
    for method in (*chosen, *against):
        if method not in evaluations.methods:
            raise unknown_name("method", method, evaluations.methods, "Choose it with methods=[...] and against=[...].")
    for evaluation in evaluations.values():
        evaluation.accuracy(evaluation.methods[0], metric)  # refuses a metric that is unknown or was not measured
    return chosen


def _shared(evaluations: Evaluations, methods: Sequence[str], *, n_methods: int) -> Evaluations:
    shared = evaluations.having(*methods)
    if not shared:
        n_tasks = {method: len(evaluations.having(method)) for method in methods}
        rarest = min(n_tasks, key=lambda method: n_tasks[method])
        raise InputError(
            f"no task was evaluated with all {n_methods} methods and the references, and means over different tasks "
            f"compare tasks; leave some out with methods=[...] ({rarest!r} was evaluated on the fewest tasks, "
            f"{n_tasks[rarest]} of {len(evaluations)})"
        )
    return shared


def _rows(evaluation: Evaluation, method: str) -> int:
    return evaluation.labelled_rows[evaluation.methods.index(method)]


def _summaries(
    shared: Evaluations, methods: tuple[str, ...], against: tuple[str, ...], metric: Match
) -> tuple[MethodSummary, ...]:
    differences = [_differences(shared, methods, reference, metric) for reference in against]
    unit = _mean_cost(shared, UNEDITED)["query_seconds"]
    summaries = []
    for method in methods:
        mean, cost = shared.mean(method, metric), _mean_cost(shared, method)
        rows, seconds = [_rows(evaluation, method) for evaluation in shared.values()], cost["query_seconds"]
        summaries.append(
            MethodSummary(
                method=method,
                value=mean.value,
                low=mean.low,
                high=mean.high,
                fewest_rows=min(rows),
                most_rows=max(rows),
                differences=tuple(over[method] for over in differences if method in over),
                relative_inference=None if seconds is None or not unit else seconds / unit,
                **cost,
            )
        )
    return tuple(summaries)


def _mean_cost(shared: Evaluations, method: str) -> dict[str, float | None]:
    """Return the mean of every cost over the tasks; None where one of them does not know it."""
    costs = [e.costs[e.methods.index(method)] for e in shared.values() if e.costs and method in e.methods]
    values = {name: [getattr(cost, name) for cost in costs] for name in MethodCost.model_fields}
    return {
        name: float(np.mean(known)) if len(known) == len(shared) and None not in known else None
        for name, known in values.items()
    }


def _differences(
    shared: Evaluations, methods: tuple[str, ...], reference: str, metric: Match
) -> dict[str, MacroDifference]:
    """Compare every method but the reference with it over tasks."""
    pairs = {method: shared.compare(method, reference, metric) for method in methods if method != reference}
    q_values = control_false_discoveries([pair.p_value for pair in pairs.values()])
    differences = {}
    for (method, pair), q in zip(pairs.items(), q_values, strict=True):
        gains = np.array([evaluation.gain(method, reference, metric).value for evaluation in shared.values()])
        differences[method] = MacroDifference(
            reference=reference,
            value=pair.estimate.value,
            low=pair.estimate.low,
            high=pair.estimate.high,
            n_above=int((gains > 0).sum()),
            n_below=int((gains < 0).sum()),
            p_value=pair.p_value,
            q_value=q,
        )
    return differences
