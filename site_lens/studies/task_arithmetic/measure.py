"""Measuring of task arithmetic: heads and embeddings of two tasks injected together."""

from collections.abc import Sequence

import numpy as np

from site_lens.models.base import LensModel
from site_lens.models.locking import on_model
from site_lens.records.bounds import check_sizes
from site_lens.records.errors import InputError
from site_lens.site.fit import SiteFit, SiteFits
from site_lens.studies.cache import Arrays
from site_lens.studies.measure import ask, common_fields, first_fits, measure_tasks, zero_shot_queries
from site_lens.studies.task_arithmetic.result import TaskArithmetic
from site_lens.tasks.task import Task


@on_model
def combine_tasks(
    model: LensModel,
    task_a: Task,
    task_b: Task,
    fits: SiteFits,
    *,
    weights: Sequence[float] = (0, 0.25, 0.5, 0.75, 1),
    max_queries: int = 96,
) -> TaskArithmetic:
    """Measure both of two tasks under combinations of their heads and embeddings.

    The combinations are described in `studies.task_arithmetic.result.KINDS`. Queries are a sample of each task's
    test rows, the one that `evaluate` takes; all combinations of a task ask them over one prefix each.

    Args:
        model: The model that the fits were made on.
        task_a: The first task, alone at weight 0 where heads are shared.
        task_b: The second task, alone at weight 1 where heads are shared.
        fits: A fit of each; of several seeds the lowest counts.
        weights: Weights of the second task, in [0, 1].
        max_queries: Test rows a task at most; below 30 the record gives no verdict.

    Raises:
        InputError: The tasks are one and the same, one has no fit, the fits mix in by different rules, or a weight is
            outside [0, 1].
        MismatchError: A fit belongs to another model.
    """
    check_sizes(max_queries=max_queries)
    tasks = (task_a, task_b)
    chosen, notes = first_fits(model, tasks, fits)
    rules, steps = [fit.config.mix for fit in chosen], tuple(sorted({float(weight) for weight in weights}))
    if task_a.name == task_b.name or len(set(rules)) > 1:
        raise InputError(
            "combining takes two different tasks, and fits of one mixing rule; got "
            f"{task_a.name!r} and {task_b.name!r}, rules {rules}"
        )
    if not steps or steps[0] < 0 or steps[-1] > 1:
        raise InputError(f"weights of the second task lie in [0, 1], at least one; got {tuple(weights)}")
    alphas, embeddings = _combined(chosen, steps)

    def measure(j: int) -> Arrays:
        """Return `right` and `log_prob` (kind weight query), and `references` (reference query) of a task."""
        fit = chosen[j]
        queries = zero_shot_queries(model, tasks[j], max_queries, fit.template)
        right, log_prob = ask(queries, fit, alphas, embeddings, range(len(embeddings)))
        own = [np.zeros_like(fit.gates.values), fit.gates.values, fit.gates.hard().values]
        return {"right": right, "log_prob": log_prob, "references": ask(queries, fit, own, [fit.embedding.mean])[0]}

    return TaskArithmetic(
        **common_fields(model, tasks, chosen, notes, n_queries=max_queries),
        **measure_tasks(TaskArithmetic, tasks, measure, progress=False),
        families=(task_a.family, task_b.family),
        weights=steps,
        alphas=np.stack([fit.gates.values for fit in chosen]),
        rule=rules[0],
    )


def _combined(fits: Sequence[SiteFit], weights: Sequence[float]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return gates, (kind weight layer head), and the embedding of each, kinds first, weights within."""
    soft_a, soft_b = (fit.gates.values for fit in fits)
    hard_a, hard_b = (fit.gates.hard().values for fit in fits)
    a, b = (fit.embedding.mean for fit in fits)
    mixed = [(1 - w) * a + w * b for w in weights]
    # The weight plays no part where only one task has the head; where neither has it, nothing is mixed in.
    only_a, only_b = (hard_a > hard_b)[..., None], (hard_b > hard_a)[..., None]
    placed = [np.where(only_a, a, np.where(only_b, b, each)) for each in mixed]
    union = [np.maximum(hard_a, hard_b)] * len(weights)
    alphas = [union, union, [(1 - w) * soft_a + w * soft_b for w in weights]]
    return np.array(alphas), [*placed, *mixed, *mixed]
