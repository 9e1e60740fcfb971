"""Comparison of many methods on many tasks: query by query, task by task, and by cost."""

from collections.abc import Sequence

import numpy as np

from site_lens.methods.evaluation import Evaluation, Evaluations, Match, MethodCost
from site_lens.methods.method_table import COUNTED, MacroDifference, MethodSummary, MethodTable
from site_lens.records.errors import InputError, unknown_name
from site_lens.stats.paired_tests import control_false_discoveries

UNEDITED = "zero_shot"
"""The method whose time a query is the unit of inference cost."""


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
    for i, method in enumerate(methods):
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
                differences=tuple(by_method[i] for by_method in differences if by_method[i].reference != method),
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


def _differences(shared: Evaluations, methods: tuple[str, ...], reference: str, metric: Match) -> list[MacroDifference]:
    """Compare every method with a reference over tasks, itself as well, which counts for no test."""
    pairs = [shared.compare(method, reference, metric) for method in methods]
    q_value = control_false_discoveries([pair.p_value for pair in pairs], [method != reference for method in methods])
    differences = []
    for method, pair, q in zip(methods, pairs, q_value, strict=True):
        gains = np.array([evaluation.gain(method, reference, metric).value for evaluation in shared.values()])
        differences.append(
            MacroDifference(
                reference=reference,
                value=pair.estimate.value,
                low=pair.estimate.low,
                high=pair.estimate.high,
                n_above=int((gains > 0).sum()),
                n_below=int((gains < 0).sum()),
                p_value=pair.p_value,
                q_value=q,
            )
        )
    return differences
