"""Many methods on many tasks: which are better, query by query and task by task, and at what price."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from site_lens.core.digests import seed_stream
from site_lens.core.errors import InputError, unknown_name
from site_lens.core.evaluation import Evaluation, Evaluations, Match, MethodCost
from site_lens.core.method_table import MacroDifference, MethodSummary, MethodTable
from site_lens.core.statistics import bootstrap_mean

Float64 = NDArray[np.float64]

UNEDITED = "zero_shot"
"""The method whose time a query is the unit of inference cost."""

N_FLIPS = 2**14
"""Sign flips of a test over tasks: all of them up to 14 tasks, so many drawn at random beyond."""

ROUNDING = 1e-9
"""Sums of differences in accuracy that are this close are the same."""

SMALLEST = float(np.finfo(np.float32).tiny)
"""No p-value is stored as 0, which no exact one is."""


def tabulate_methods(
    evaluations: Evaluations,
    against: Sequence[str] | None = None,
    *,
    methods: Sequence[str] | None = None,
    metric: Match = "first_token",
) -> MethodTable:
    """Compare methods on the same queries: task by task, and over the tasks that all of them share.

    On one task a method is tested against a reference by the exact McNemar test: among the queries that one of the two
    has right and the other has not, either is as likely under the null. The false discovery rate is controlled over
    all tasks and methods of a reference. Over tasks, signs of the differences in accuracy are flipped: exact up to 14
    tasks, from 16,384 random flips beyond. The null is that a task's difference is as likely to be up as down; n
    tasks cannot give a p-value below 2 / 2^n. With one task, tests and intervals are those of its queries.

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
    p_value = np.vectorize(_sign_test)(compared[1], compared[2])
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
        q_value=[_controlled(p, n > 0) for p, n in zip(p_value, compared[0], strict=True)],
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


@cache  # the same few counts come back over many tasks
def _sign_test(n_one: float, n_other: float) -> float:
    from scipy.stats import binomtest

    n = int(n_one + n_other)
    return max(float(binomtest(int(n_one), n).pvalue), SMALLEST) if n else 1.0


def _controlled(p_value: Float64, tested: NDArray[np.bool_]) -> Float64:
    """Control the false discovery rate over what was tested; 1 elsewhere."""
    from scipy.stats import false_discovery_control

    q_value = np.ones(p_value.shape)
    if tested.any():
        q_value[tested] = false_discovery_control(p_value[tested])
    return q_value


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
    means = [np.nanmean(_answers(one, (*methods, reference), metric), axis=1) for one in shared.values()]
    by_task = np.array([own[:-1] - own[-1] for own in means])
    other = np.array([method != reference for method in methods])
    p_value = _sign_flips(by_task)
    if len(shared) == 1:
        (one,) = shared.values()
        counts = _compared(_answers(one, methods, metric), _answers(one, (reference,), metric))[:, 0]
        p_value = np.array([_sign_test(wins, losses) for wins, losses in counts[1:].T])
    q_value = _controlled(p_value, other)
    found = []
    for place, method in enumerate(methods):
        of = by_task[:, place]
        interval = bootstrap_mean(of) if len(of) > 1 else next(iter(shared.values())).gain(method, reference, metric)
        found.append(
            MacroDifference(
                reference=reference,
                value=interval.value,
                low=interval.low,
                high=interval.high,
                n_above=int((of > 0).sum()),
                n_below=int((of < 0).sum()),
                p_value=p_value[place],
                q_value=q_value[place],
            )
        )
    return found


def _sign_flips(by_task: Float64) -> Float64:
    """Test, for each column of (task method), that its mean is 0: two-sided, by flipping signs of whole tasks.

    A drawn null counts what was observed as one of its draws, so that p is never 0 and the test is valid.
    """
    n_tasks = len(by_task)
    exact = 2**n_tasks <= N_FLIPS
    if exact:
        flips = 1.0 - 2.0 * ((np.arange(2**n_tasks)[:, None] >> np.arange(n_tasks)) & 1)
    else:
        flips = seed_stream("sign flips", n_tasks).choice([-1.0, 1.0], (N_FLIPS, n_tasks))
    as_far = np.abs(flips @ by_task) >= np.abs(by_task.sum(axis=0)) - ROUNDING
    p_value: Float64 = as_far.mean(axis=0) if exact else (as_far.sum(axis=0) + 1) / (N_FLIPS + 1)
    return p_value
