"""Many methods on many tasks: which are better, query by query and task by task, and at what price."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from site_lens.methods.evaluation import Evaluation, Evaluations, Match, MethodCost
from site_lens.methods.method_table import MacroDifference, MethodSummary, MethodTable
from site_lens.records.errors import InputError, unknown_name
from site_lens.stats.paired_tests import control_false_discoveries, mcnemar

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
    has right and the other has not, either is as likely under the null. The false discovery rate is controlled over
    all tasks and methods of a reference. Over tasks, signs of the differences in accuracy are flipped
    (`sign_flip_test`). The null is that a task's difference is as likely to be up as down; n tasks cannot give a
    p-value below 2 / 2^n. With one task, tests and intervals are those of its queries. A difference is found where
    test and interval both say so (`core.paired_tests.verdict`).

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
    answers = [_answers(one, chosen, metric) for one in evaluations.values()]
    referred = [_answers(one, against, metric) for one in evaluations.values()]
    asked = np.array([(~np.isnan(given)).sum(axis=1) for given in answers])
    same = np.array([[reference == method for method in chosen] for reference in against])
    compared = np.stack([_compared(*pair) * ~same for pair in zip(answers, referred, strict=True)], axis=2)
    p_value = np.vectorize(mcnemar)(compared[1], compared[2])
    return MethodTable(
        metric=metric,
        methods=chosen,
        tasks=tuple(evaluations),
        shared=tuple(shared),
        against=tuple(against),
        n_right=[np.nansum(given, axis=1) for given in answers],
        n_queries=asked,
        labelled_rows=[[_rows(one, method) for method in chosen] for one in evaluations.values()],
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
    """Return the methods to compare, each once, after a look at whether all that is asked for is there."""
    if not evaluations:
        raise InputError("there are no evaluations to compare; make some with evaluate(model, tasks, fits)")
    if not against:
        raise InputError("a comparison needs at least one reference, such as against=('site',); got none")
    chosen = tuple(dict.fromkeys(evaluations.methods if methods is None else methods))
    for method in (*chosen, *against):
        if method not in evaluations.methods:
            raise unknown_name("method", method, evaluations.methods, "Choose it with methods=[...] and against=[...].")
    for one in evaluations.values():
        one.accuracy(one.methods[0], metric)  # refuses a metric that is unknown or was not measured
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


def _answers(one: Evaluation, methods: Sequence[str], metric: Match) -> Float64:
    """Return (method query): 1 for a right answer, 0 for another, NaN where the task lacks the method."""
    measured = getattr(one, metric)
    nothing = np.full(len(one.queries), np.nan)
    return np.array([measured[one.methods.index(m)] if m in one.methods else nothing for m in methods], np.float64)


def _compared(answers: Float64, referred: Float64) -> Float64:
    """Count queries, (count reference method): asked of both, right by the method alone, by the reference alone."""
    reference, method = referred[:, None], answers[None]
    both = ~np.isnan(reference) & ~np.isnan(method)
    counts: Float64 = np.stack([both, (method > reference), (method < reference)]).sum(axis=3).astype(np.float64)
    return counts


def _rows(one: Evaluation, method: str) -> int:
    return one.labelled_rows[one.methods.index(method)] if method in one.methods else 0


def _summaries(
    shared: Evaluations, methods: tuple[str, ...], against: tuple[str, ...], metric: Match
) -> tuple[MethodSummary, ...]:
    differences = [_differences(shared, methods, reference, metric) for reference in against]
    unit = _mean_cost(shared, UNEDITED)["query_seconds"]
    found = []
    for place, method in enumerate(methods):
        mean = shared.mean(method, metric)
        rows, cost = [_rows(one, method) for one in shared.values()], _mean_cost(shared, method)
        time = cost["query_seconds"]
        found.append(
            MethodSummary(
                method=method,
                value=mean.value,
                low=mean.low,
                high=mean.high,
                fewest_rows=min(rows),
                most_rows=max(rows),
                differences=tuple(of[place] for of in differences if of[place].reference != method),
                relative_inference=None if time is None or not unit else time / unit,
                **cost,
            )
        )
    return tuple(found)


def _mean_cost(shared: Evaluations, method: str) -> dict[str, float | None]:
    """Return the mean of every cost over the tasks; None where one of them does not know it."""
    costs = [
        one.costs[one.methods.index(method)] if one.costs and method in one.methods else None for one in shared.values()
    ]
    found: dict[str, float | None] = {}
    for name in MethodCost.model_fields:
        known = [value for cost in costs if cost is not None and (value := getattr(cost, name)) is not None]
        found[name] = float(np.mean(known)) if len(known) == len(costs) else None
    return found


def _differences(shared: Evaluations, methods: tuple[str, ...], reference: str, metric: Match) -> list[MacroDifference]:
    """Compare every method with a reference over tasks, itself as well, which counts for no test."""
    pairs = [shared.compare(method, reference, metric) for method in methods]
    p_value = [pair.p_value for pair in pairs]
    q_value = control_false_discoveries(p_value, [method != reference for method in methods])
    found = []
    for place, (method, pair) in enumerate(zip(methods, pairs, strict=True)):
        gains = [one.gain(method, reference, metric).value for one in shared.values()]
        found.append(
            MacroDifference(
                reference=reference,
                value=pair.estimate.value,
                low=pair.estimate.low,
                high=pair.estimate.high,
                n_above=sum(gain > 0 for gain in gains),
                n_below=sum(gain < 0 for gain in gains),
                p_value=p_value[place],
                q_value=q_value[place],
            )
        )
    return found
