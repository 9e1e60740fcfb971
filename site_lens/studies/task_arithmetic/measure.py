"""Task arithmetic: heads and embeddings of two tasks injected together."""

from collections.abc import Sequence

import numpy as np
import torch

from site_lens.activations.cached_queries import CachedQueries
from site_lens.models.base import LensModel
from site_lens.models.identity import library_versions
from site_lens.models.locking import on_model
from site_lens.records.base import Float32
from site_lens.records.bounds import check_sizes
from site_lens.records.errors import InputError
from site_lens.site.fit import SiteFit, SiteFits
from site_lens.studies.first_fits import first_fits
from site_lens.studies.task_arithmetic.result import KINDS, REFERENCES, TaskArithmetic
from site_lens.tasks.prompt_sampling import sampled, zero_shot_prompts
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

    How they are combined is said by `core.task_arithmetic.KINDS`. Queries are a sample of each task's
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
    combined = _combined(chosen, steps)
    n_queries = [min(max_queries, len(task.test)) for task in tasks]
    right = np.zeros((len(KINDS), len(steps), 2, max(n_queries)), dtype=np.float32)
    log_prob, references = np.zeros_like(right), np.zeros((len(REFERENCES), *right.shape[2:]), dtype=np.float32)
    for j, (task, fit, n) in enumerate(zip(tasks, chosen, n_queries, strict=True)):
        answered, certain = _answers(
            CachedQueries(model, zero_shot_prompts(sampled(task.test, n), fit.template)), fit, *combined
        )
        n_cells = len(KINDS) * len(steps)
        right[:, :, j, :n] = answered[:n_cells].reshape(*right.shape[:2], n)
        log_prob[:, :, j, :n] = certain[:n_cells].reshape(*right.shape[:2], n)
        references[:, j, :n] = answered[n_cells:]
    return TaskArithmetic(
        tasks=(task_a.name, task_b.name),
        families=(task_a.family, task_b.family),
        weights=steps,
        alphas=np.stack([fit.gates.values for fit in chosen]),
        right=right,
        log_prob=log_prob,
        references=references,
        asked=np.arange(right.shape[-1]) < np.array(n_queries)[:, None],
        rule=rules[0],
        fit_digests=(chosen[0].digest, chosen[1].digest),
        model=model.identity,
        versions=library_versions(),
        notes=notes,
    )


def _answers(held: CachedQueries, fit: SiteFit, alphas: Float32, embeddings: Float32) -> tuple[Float32, Float32]:
    """(variant query): whether right, and log-probability, under all combinations and then under `REFERENCES`."""
    own = np.stack([np.zeros_like(fit.gates.values), fit.gates.values, fit.gates.hard().values])
    found = held.answers(
        torch.tensor(np.concatenate([alphas, own])),
        torch.tensor(np.concatenate([embeddings, fit.embedding.mean[None]])),
        torch.tensor([*range(len(alphas)), *[len(alphas)] * len(own)]),
        rule=fit.config.mix,
    )
    return found.right.float().cpu().numpy(), found.log_prob.cpu().numpy()


def _combined(fits: Sequence[SiteFit], weights: Sequence[float]) -> tuple[Float32, Float32]:
    """Return gates (variant layer head) and embeddings (variant layer head d_head), kinds first, weights within."""
    (soft_a, soft_b), (hard_a, hard_b) = (
        [gates.values for gates in both] for both in ([fit.gates for fit in fits], [fit.gates.hard() for fit in fits])
    )
    a, b = (fit.embedding.mean for fit in fits)
    between = [(1 - w) * a + w * b for w in weights]
    # Where only one task has the head the weight has no say; where neither has it, nothing is mixed in.
    only_a, only_b = ((own > other)[..., None] for own, other in ((hard_a, hard_b), (hard_b, hard_a)))
    placed = [np.where(only_a, a, np.where(only_b, b, mixed)) for mixed in between]
    union = [np.maximum(hard_a, hard_b)] * len(weights)
    alphas = [*union, *union, *((1 - w) * soft_a + w * soft_b for w in weights)]
    return np.stack(alphas).astype(np.float32), np.stack([*placed, *between, *between]).astype(np.float32)
