"""Comparison of many methods on many tasks: query by query, task by task, and by cost."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from site_lens.methods.evaluation import Evaluation, Evaluations, Match, MethodCost
from site_lens.methods.method_table import MacroDifference, MethodSummary, MethodTable
from site_lens.records.errors import InputError, unknown_name
from site_lens.stats.intervals import Interval
from site_lens.stats.paired_tests import control_false_discoveries

Float64 = NDArray[np.float64]

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
    answers = [_answers(evaluation, chosen, metric) for evaluation in evaluations.values()]
    reference_answers = [_answers(evaluation, against, metric) for evaluation in evaluations.values()]
    n_asked = np.array([(~np.isnan(given)).sum(axis=1) for given in answers])
    same = np.array([[reference == method for method in chosen] for reference in against])
    compared = np.stack([_compared(*pair) * ~same for pair in zip(answers, reference_answers, strict=True)], axis=2)
    p_value = [
        [[_p_value(e, method, reference, metric) for method in chosen] for e in evaluations.values()]
        for reference in against
    ]
    shares = [[_accuracy(e, method, metric) for method in chosen] for e in evaluations.values()]
    return MethodTable(
        metric=metric,
        methods=chosen,
        tasks=tuple(evaluations),
        shared=tuple(shared),
        against=tuple(against),
        n_right=[np.nansum(given, axis=1) for given in answers],
        n_queries=n_asked,
        low=[[share.low for share in of_task] for of_task in shares],
        high=[[share.high for share in of_task] for of_task in shares],
        labelled_rows=[[_rows(evaluation, method) for method in chosen] for evaluation in evaluations.values()],
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


def _answers(evaluation: Evaluation, methods: Sequence[str], metric: Match) -> Float64:
    """Return (method query): 1 for a right answer, 0 for another, NaN where the task lacks the method."""
    measured = getattr(evaluation, metric)
    nothing = np.full(len(evaluation.queries), np.nan)
    return np.array(
        [measured[evaluation.methods.index(m)] if m in evaluation.methods else nothing for m in methods], np.float64
    )


def _compared(answers: Float64, referred: Float64) -> Float64:
    """Count queries, (count reference method): asked of both, right by the method alone, by the reference alone."""
    reference, method = referred[:, None], answers[None]
    both = ~np.isnan(reference) & ~np.isnan(method)
    counts: Float64 = np.stack([both, (method > reference), (method < reference)]).sum(axis=3).astype(np.float64)
    return counts


def _p_value(evaluation: Evaluation, method: str, reference: str, metric: Match) -> float:
    """Test a method against a reference on one task; 1 where there is nothing to compare."""
    if method == reference or not {method, reference} <= set(evaluation.methods):
        return 1.0
    return evaluation.compare(method, reference, metric).p_value


def _accuracy(evaluation: Evaluation, method: str, metric: Match) -> Interval:
    """Return the accuracy of a method on one task; of no query where the task lacks it."""
    return evaluation.accuracy(method, metric) if method in evaluation.methods else Interval(0.0, 0.0, 0.0, 0)


def _rows(evaluation: Evaluation, method: str) -> int:
    return evaluation.labelled_rows[evaluation.methods.index(method)] if method in evaluation.methods else 0


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
