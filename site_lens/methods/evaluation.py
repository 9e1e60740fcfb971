"""Evaluation records: one answer per method and test query, and the intervals around the means."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from site_lens.methods.names import PROMPTING, EvaluatedMethod, display_names
from site_lens.models.identity import ModelIdentity
from site_lens.records.base import Axes, Count, Float32, Frozen, Lengths, Record
from site_lens.records.collections import RecordSet
from site_lens.records.display import Displayed, few
from site_lens.records.errors import InputError, unknown_name
from site_lens.records.lazy_pandas import pd
from site_lens.stats.intervals import Interval, clustered_proportion, mean_interval, wilson
from site_lens.stats.paired_tests import Paired
from site_lens.tasks.first_tokens import FirstTokens
from site_lens.tasks.prompt_template import PromptTemplate

MethodQuery = Annotated[Float32, Axes(("method", "query"))]
Match = Literal["first_token", "exact", "prefix"]
MATCHES: tuple[Match, ...] = ("first_token", "exact", "prefix")
"""The metrics that count right answers."""

MOST_METHODS = 8
"""Methods whose accuracy a line or a header shows."""

RESULT_COLUMNS = ["task", "method", "metric", "value", "low", "high", "n", "labelled_rows", "n_heads"]


class MethodCost(Frozen):
    """Cost of making a method and of running it."""

    n_trained: int = Field(ge=0)
    """Numbers learned by an optimiser."""
    stored_bytes: int = Field(ge=0)
    """Bytes to keep, in float32."""
    fit_seconds: float | None = Field(ge=0)
    """Time to make it, its embedding and the choice of its layer included; of what was made for several tasks at once,
    its share. None where it was not measured."""
    query_seconds: float = Field(ge=0)
    """Time a test query, from its tokens to the logits of the first answer token, in batches."""


class Evaluation(Record):
    """Answers of each method to the same test queries of one task."""

    kind: ClassVar[str] = "evaluation"
    schema_version: ClassVar[int] = 3
    """2: kind, demonstrations and seed of each method are fields, which stood in its name in 1; the rows that were
    asked and the first tokens of their answers are known. 3: what each method answers, and one prompt."""

    lengths: ClassVar[Lengths] = {
        "evaluated": "method", "labelled_rows": "method", "costs": "method", "n_heads": "method", "targets": "query",
        "query_rows": "query", "set_of_query": "query", "top_tokens": "method", "texts": "method",
    }  # fmt: skip

    task: str
    evaluated: tuple[EvaluatedMethod, ...]
    """What was evaluated, in the order of the rows; `methods` are the names made from it."""
    first_token: Annotated[Float32, Axes(("method", "query"), 0, 1)]
    """(method query): 1 where the most probable next token begins an accepted answer."""
    rank: MethodQuery
    """(method query): rank of the target's first token among the vocabulary, 1 = most probable."""
    log_prob: Annotated[Float32, Axes(("method", "query"), most=0)]
    """(method query): log-probability of the target's first token, in nats."""
    exact: Annotated[Float32, Axes(("method", "query"), 0, 1)] | None = None
    """(method query): 1 where the generated answer, up to the end of the line, equals an accepted one."""
    prefix: Annotated[Float32, Axes(("method", "query"), 0, 1)] | None = None
    """(method query): 1 where the published code's "exact match" would count it: generated text begins with the
    target. Kept to compare with published numbers; a one-letter answer matches almost anything."""
    top_tokens: tuple[tuple[str, ...], ...] = ()
    """(method query): text of the most probable next token, U+FFFD for a part of a character, nothing where logits
    were not finite. No rows in files of site_lens 0.1."""
    texts: tuple[tuple[str, ...], ...] = ()
    """(method query): the generated answer up to the end of its line; empty where none was generated."""
    prompt: str = ""
    """Few-shot prompt of the first query, as the model is shown it; empty where none was asked, and in files of
    site_lens 0.1."""
    labelled_rows: tuple[Count, ...]
    """Labelled rows each method used, in the order of `methods`. For few-shot prompting: rows a prompt shows."""
    n_heads: tuple[Count | None, ...] = ()
    """Heads whose output each method replaces wholly, leaving all others alone, in the order of `methods`; None of
    methods that do something else. Empty in files of site_lens 0.1."""
    costs: tuple[MethodCost, ...] = ()
    """What each method cost, in the order of `methods`; empty where it was not measured."""
    queries: tuple[str, ...]
    targets: tuple[str, ...]
    n_shots: Count
    """Demonstrations of the few-shot prompting that gains are measured against; see `reference`."""
    set_of_query: tuple[Count, ...] = ()
    """Set of demonstrations that each query was asked with; empty where they were drawn anew for each query."""
    seed: Count
    """Seed of the demonstrations."""
    template: PromptTemplate
    task_digest: str
    query_rows: tuple[int, ...] | None = None
    """Rows of test that were asked; None in files of site_lens 0.1, which asked the first ones."""
    first_tokens: FirstTokens | None = None
    """First tokens of the targets; None in files of site_lens 0.1."""
    model: ModelIdentity
    family: str | None = None
    versions: dict[str, str]
    notes: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _named(cls, fields: Any) -> Any:
        """Parse names of methods, as files of schema 1 have them, into fields."""
        if not isinstance(fields, dict) or not isinstance(fields.get("methods"), list | tuple):
            return fields
        names = fields["methods"]
        if not all(isinstance(name, str) and name for name in names):
            raise ValueError(f"needs names of methods, got {names!r:.80}")
        rest = {name: value for name, value in fields.items() if name != "methods"}
        return rest | {"evaluated": tuple(EvaluatedMethod.parse(name) for name in names)}

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Display names of the methods, in the order of the rows."""
        return display_names(self.evaluated)

    @property
    def reference(self) -> str | None:
        """The method that gains are measured against: prompting with `n_shots` demonstrations; None without it."""
        named = zip(self.methods, self.evaluated, strict=True)
        return next((name for name, m in named if (m.kind, m.n_shots) == (PROMPTING, self.n_shots)), None)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.set_of_query and len(set(self.set_of_query)) < 2:
            raise ValueError("needs two sets of demonstrations at least, or none in set_of_query")
        if not self.queries or not self.evaluated or len(set(self.methods)) < len(self.methods):
            raise ValueError(f"needs at least one query and each method once, got {self.methods}")
        short = [n for n in ("top_tokens", "texts") if {len(row) for row in getattr(self, n)} - {len(self.queries)}]
        if short:
            raise ValueError(f"needs an answer a query from every method, wrong in {' and '.join(short)}")
        if self.texts and self.exact is None:
            raise ValueError("needs exact matches beside generated texts")
        unclear = [n for n in MATCHES if not np.isin(0 if getattr(self, n) is None else getattr(self, n), (0, 1)).all()]
        if unclear or self.rank.min() < 1:
            raise ValueError(f"needs 0 or 1 in {', '.join(MATCHES)} and ranks from 1, wrong in {unclear or 'rank'}")
        return self

    def _row(self, method: str, metric: str) -> Float32:
        if method not in self.methods:
            raise InputError(f"{self.task}: no method {method!r} here; there are {', '.join(self.methods)}")
        if metric not in MATCHES:
            raise unknown_name("metric", metric, MATCHES)
        values = getattr(self, metric)
        if values is None:
            raise InputError(f"{self.task}: {metric} was not measured; evaluate with generated=True")
        row: Float32 = values[self.methods.index(method)]
        return row

    def _facts(self) -> Mapping[str, object]:
        facts = {"task": self.task, "model": self.model.name, "queries": len(self.queries)}
        return facts | {method: self.accuracy(method).value for method in self.methods[:MOST_METHODS]}

    def _brief(self) -> str:
        return ", ".join(f"{method} {self.accuracy(method).value:.2f}" for method in self.methods[:3])

    def _tables(self) -> "Mapping[str, Callable[[], pd.DataFrame]]":
        return {"results": self.results, "answers": self.frame}

    def accuracy(self, method: str, metric: Match = "first_token") -> Interval:
        """Share of right answers with Wilson's 95% interval; over sets where queries share their demonstrations."""
        row, sets = self._row(method, metric), self.sets_of(method)
        return clustered_proportion(row, sets) if sets else wilson(int(row.sum()), len(row))

    def gain(self, method: str, over: str | None = None, metric: Match = "first_token") -> Interval:
        """Difference in accuracy of two methods on the same queries, with the paired 95% interval; see `compare`."""
        return self.compare(method, over, metric).estimate

    def compare(self, method: str, over: str | None = None, metric: Match = "first_token") -> Paired:
        """Compare two methods query by query: difference, interval, exact test and verdict.

        Args:
            method: The method.
            over: What it is compared with; `reference` when None.
            metric: Which count of right answers.

        Raises:
            InputError: A method or the metric was not measured.
        """
        other = over or self.reference
        if other is None:
            raise InputError(
                f"{self.task}: prompting with {self.n_shots} demonstrations was not evaluated here, and there is "
                f"nothing to compare with; name one of {', '.join(self.methods)} as over=..."
            )
        one, reference = self._row(method, metric), self._row(other, metric)
        return Paired.of(one, reference, over="queries", clusters=self.sets_of(method, other))

    def sets_of(self, *methods: str) -> tuple[int, ...]:
        """Return the set of each query, if one of these methods shows demonstrations that queries share."""
        n_shots = dict(zip(self.methods, (one.n_shots for one in self.evaluated), strict=True))
        return self.set_of_query if any(n_shots[method] for method in methods) else ()

    def frame(self) -> "pd.DataFrame":
        """One row per method and query: task, method, query, target, first_token, rank, log_prob, ..."""
        n = len(self.queries)
        table = {
            "task": self.task,
            "method": np.repeat(self.methods, n),
            "query": list(self.queries) * len(self.methods),
            "target": list(self.targets) * len(self.methods),
        }
        for name in ("first_token", "rank", "log_prob", "exact", "prefix"):
            if getattr(self, name) is not None:
                table[name] = getattr(self, name).reshape(-1)
        for name in ("top_tokens", "texts"):
            if getattr(self, name):
                table[name.removesuffix("s")] = [text for row in getattr(self, name) for text in row]
        return pd.DataFrame(table)

    @property
    def answers(self) -> tuple[tuple[str, ...], ...]:
        """(method query): generated answers where there are any, else the most probable first tokens."""
        return self.texts or self.top_tokens

    @property
    def answers_right(self) -> Float32:
        """(method query): 1 where an answer of `answers` is right: by exact match if generated, else by first token."""
        return self.exact if self.texts and self.exact is not None else self.first_token

    def examples(self, n: int = 8, methods: Sequence[str] | None = None) -> "pd.DataFrame":
        """One row per query, of the first `n` that were asked: query, target, and what each method answers.

        Args:
            n: Queries at most.
            methods: Methods to show, all when None.

        Raises:
            InputError: Answers were not kept (files of site_lens 0.1), or a method was not evaluated.
        """
        if not self.answers:
            raise InputError(f"{self.task}: answers were not kept in this evaluation; evaluate again to see them")
        shown = self.methods if methods is None else methods
        for method in shown:
            self._row(method, "first_token")
        answers = {method: self.answers[self.methods.index(method)][:n] for method in shown}
        return pd.DataFrame({"query": self.queries[:n], "target": self.targets[:n]} | answers)

    def results(self) -> "pd.DataFrame":
        """One row per method and metric: value, interval, queries, labelled rows, heads.

        `gain_over_ten_shot` (`gain_over_3_shot`, ...) is the paired difference in first_token from the reference;
        `log_prob` and `reciprocal_rank` are means with t intervals over queries.
        """
        rows = []
        for i, method in enumerate(self.methods):
            measured: dict[str, Interval] = {
                **{str(m): self.accuracy(method, m) for m in MATCHES if getattr(self, m) is not None},
                "log_prob": mean_interval(self.log_prob[i]),
                "reciprocal_rank": mean_interval(1 / self.rank[i]),
            }
            if self.reference not in (None, method):
                measured[f"gain_over_{self.reference}"] = self.gain(method)
            for metric, estimate in measured.items():
                rows.append(
                    (self.task, method, metric, estimate.value, estimate.low, estimate.high, estimate.n,
                     self.labelled_rows[i], self.n_heads[i] if self.n_heads else None)
                )  # fmt: skip
        return pd.DataFrame(rows, columns=RESULT_COLUMNS).astype({"n_heads": "float"})  # NaN where there is none


class Evaluations(RecordSet[Evaluation]):
    """Evaluations by task."""

    record_class: ClassVar[type[Record]] = Evaluation

    def _keyed(self, records: list[Evaluation]) -> Iterator[tuple[str, Evaluation]]:
        return ((evaluation.task, evaluation) for evaluation in records)

    def _facts(self) -> Mapping[str, object]:
        """Return the mean accuracy of the first methods, with the number of tasks that have the method."""
        each = {method: self.mean(method) for method in self.methods[:MOST_METHODS]}
        n_tasks = {method: len(self.having(method)) for method in each}
        return {"tasks": f"{len(self)} ({few(list(self))})"} | {
            method: f"{mean.value:.3f}{'' if n_tasks[method] == len(self) else f' of {n_tasks[method]} tasks'}"
            for method, mean in each.items()
        }

    def _line(self) -> str:
        return Displayed._line(self)

    def _tables(self) -> "Mapping[str, Callable[[], pd.DataFrame]]":
        return {"accuracies": self.accuracies, "results": self.results}

    @property
    def methods(self) -> tuple[str, ...]:
        """Every method of every task, in order of first appearance."""
        return tuple(self.evaluated)

    @property
    def evaluated(self) -> dict[str, EvaluatedMethod]:
        """Evaluated method behind each name of `methods`, in order of first appearance."""
        methods: dict[str, EvaluatedMethod] = {}
        for evaluation in self.values():
            for name, method in zip(evaluation.methods, evaluation.evaluated, strict=True):
                methods.setdefault(name, method)
        return methods

    @property
    def reference(self) -> str | None:
        """The method that gains are measured against, see `Evaluation.reference`.

        None where no task was evaluated with it, or tasks were with different numbers of demonstrations.
        """
        names = {evaluation.reference for evaluation in self.values()} - {None}
        return names.pop() if len(names) == 1 else None

    def results(self) -> "pd.DataFrame":
        """The results of all tasks below each other."""
        if not self:
            return pd.DataFrame(columns=RESULT_COLUMNS)
        return pd.concat([evaluation.results() for evaluation in self.values()], ignore_index=True)

    def accuracies(self, metric: Match = "first_token") -> "pd.DataFrame":
        """One row per task, one column per method: share of right answers, NaN where a task lacks the method.

        Raises:
            InputError: The metric was not measured.
        """
        accuracies = {
            task: {method: evaluation.accuracy(method, metric).value for method in evaluation.methods}
            for task, evaluation in self.items()
        }
        table = pd.DataFrame.from_dict(accuracies, orient="index").reindex(columns=list(self.methods))
        return table.rename_axis(index="task", columns="method")

    def having(self, *methods: str) -> "Evaluations":
        """Keep the tasks that were evaluated with all of these methods."""
        return Evaluations(evaluation for evaluation in self.values() if set(methods) <= set(evaluation.methods))

    def mean(self, method: str, metric: Match = "first_token") -> Interval:
        """Mean accuracy over the tasks that have the method, each counting once, with a 95% t interval over tasks.

        Of a single task: its accuracy with Wilson's interval over queries.

        Raises:
            InputError: No task has the method.
        """
        each = [result.accuracy(method, metric) for result in self._need(method).values()]
        return each[0] if len(each) == 1 else mean_interval([result.value for result in each], bounds=(0, 1))

    def mean_gain(self, method: str, over: str | None = None, metric: Match = "first_token") -> Interval:
        """Mean over the tasks that have both methods of their difference in accuracy; intervals as in `compare`."""
        return self.compare(method, over, metric).estimate

    def compare(self, method: str, over: str | None = None, metric: Match = "first_token") -> Paired:
        """Compare two methods task by task on the tasks that have both; of a single task, query by query.

        `over` is `reference` when None.

        Raises:
            InputError: No task has both methods, or the tasks have no reference in common.
        """
        other = over or self.reference
        if other is None:
            raise InputError(f"tasks have no reference in common; name one of {', '.join(self.methods)} as over=...")
        each = [result.compare(method, other, metric) for result in self._need(method, other).values()]
        return each[0] if len(each) == 1 else Paired.of([result.estimate.value for result in each], over="tasks")

    def _need(self, *methods: str) -> "Evaluations":
        shared = self.having(*methods)
        if not shared:
            raise InputError(f"no task was evaluated with {' and '.join(methods)}; there are {', '.join(self.methods)}")
        return shared
