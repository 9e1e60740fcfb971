"""Measuring of faithfulness: how few heads carry a task alone, and how few it cannot do without."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch

from site_lens.activations.cached_queries import CachedQueries
from site_lens.activations.capture import last_z_of
from site_lens.activations.embedding import NO_SEED
from site_lens.heads.head_set import common_grid
from site_lens.heads.scores import ScoresByTask
from site_lens.models.base import LensModel
from site_lens.models.locking import on_model
from site_lens.records.base import Float32
from site_lens.records.bounds import check_sizes
from site_lens.records.deprecation import renamed_keyword
from site_lens.records.errors import InputError
from site_lens.records.hashing import seed_stream
from site_lens.selectors.random_scores import shuffled_within_layers
from site_lens.site.fit import SiteFit, SiteFits
from site_lens.studies.cache import Arrays, StudyCache
from site_lens.studies.faithfulness.result import OWN_ORDERINGS, Faithfulness, names_of_orderings
from site_lens.studies.measure import (
    answer_arrays,
    ask,
    common_fields,
    evaluation_prompts,
    first_fits,
    measure_tasks,
    zero_shot_queries,
)
from site_lens.tasks.prompt_sampling import prompts_of_embedding
from site_lens.tasks.task import Task, task_list

EVERY, STEPS = 10, 12
"""By default every number of heads up to the first is measured, and about this many geometric steps beyond."""


@renamed_keyword(folder="checkpoint_dir")
@on_model
def faithfulness_curves(
    model: LensModel,
    tasks: Task | Mapping[str, Task] | Iterable[Task],
    fits: SiteFits,
    *,
    scores: Mapping[str, ScoresByTask] | None = None,
    ks: Iterable[int] | None = None,
    n_random: int = 10,
    max_queries: int = 96,
    n_shots: int = 10,
    seed: int = 0,
    checkpoint_dir: str | Path | None = None,
    progress: bool | None = None,
) -> Faithfulness:
    """Measure what the first k heads of an ordering do alone, and what few-shot prompts lose with them, for rising k.

    Sufficiency: the task embedding replaces z of these heads (alpha 1) at the last token of zero-shot test queries; it
    is added, or scaled to z, where the fit mixes by another rule.
    Necessity: the mean z of prompts with shuffled labels replaces z of these heads at the last token of few-shot
    prompts. That mean is the same for every query: it also takes what a head says of the query, so that heads which
    read the query may be found necessary whatever alpha SITE gives them.
    Interchange: what replaces it is z of the same head behind the same demonstrations and query, with the labels
    shuffled. Only what the head learned from the mapping is lost; of all heads together the shuffled prompt is left.
    Both keep what chance leaves of the mapping: of few distinct labels in few demonstrations some stand where they
    belong after shuffling, and the loss is underrated there.

    Equal scores are ordered by layer, then head; alphas that never left where they began are.

    Args:
        model: The model that the fits were made on.
        tasks: The tasks; queries are the sample of their test rows that `evaluate` takes.
        fits: One fit a task; of several seeds the lowest counts.
        scores: Other orderings by name, such as selectors of `score_heads`; highest score first. SITE's alphas, the
            same reversed, and random orders are always there.
        ks: Numbers of heads to measure, besides none and all; every one up to 10 and then about twelve geometric steps
            when None.
        n_random: Draws of each random ordering.
        max_queries: Test rows a task at most.
        n_shots: Demonstrations of few-shot prompts, and of the prompts behind the mean with shuffled labels.
        seed: Seed of demonstrations and draws.
        checkpoint_dir: Folder of checkpoints, one a task: an interrupted call goes on where it stopped, and the same
            call again costs nothing. Nothing is kept when None.
        progress: Show a progress bar; on a terminal and in notebooks only when None.

    Raises:
        InputError: A task has no fit or too few rows, a score has a name that is taken or lacks a task, or a number is
            out of range.
        MismatchError: A fit or a score belongs to another model.

    Reference: arXiv 2507.20906, intra-task activation patching (high-alpha, low-alpha and random heads); interchange
    interventions: Geiger et al., arXiv 2106.02997.

    Example:
        >>> import site_lens as sl
        >>> model, tasks = sl.load_model("demo"), sl.load_tasks("demo", ["antonym"])
        >>> fits = sl.fit_site(model, tasks, sl.SiteConfig(n_prompts=4, n_shots=3, n_steps=10))
        >>> sl.faithfulness_curves(model, tasks, fits, ks=[1, 5], n_random=1, max_queries=8, n_shots=3).ks
        (0, 1, 5, 48)
    """
    check_sizes(max_queries=max_queries, n_random=n_random, n_shots=n_shots, seed=seed)
    listed = task_list(tasks)
    first, notes = first_fits(model, listed, fits)
    rivals = scores or {}
    for (name, rival), task in product(rivals.items(), listed):
        if name in OWN_ORDERINGS:
            raise InputError(f"{name!r} is always measured; leave it out of scores")
        if task.name not in rival:
            raise InputError(f"{name} did not score {task.name!r}; score it first, or leave out the task")
        common_grid({"the model": model.grid, name: rival[task.name].grid})
    counts = _counts(ks, len(model.grid))
    names = names_of_orderings(rivals, n_random)

    def measure(i: int) -> Arrays:
        """Measure the curves of a task, laid out as the record's but for the axis of tasks."""
        task, fit = listed[i], first[i]
        stream = seed_stream(seed, task.digest, "faithfulness")
        ranks = _orderings(fit, [rival[task.name].values for rival in rivals.values()], n_random, stream)
        return {"ranks": ranks, **_curves(model, task, fit, ranks, counts, max_queries, n_shots, seed)}

    keys = [
        " ".join([task.digest, fit.digest, *(rival[task.name].digest for rival in rivals.values())])
        for task, fit in zip(listed, first, strict=True)
    ]
    cache = StudyCache(
        checkpoint_dir, "faithfulness", model.identity.digest, names, counts, n_random, max_queries, n_shots, seed
    )
    return Faithfulness(
        **common_fields(model, listed, first, notes, n_queries=max_queries),
        **measure_tasks(Faithfulness, listed, measure, cache=cache, keys=keys, progress=progress),
        grid=model.grid,
        orderings=names,
        ks=tuple(counts),
        n_shots=n_shots,
        seed=seed,
    )


def _curves(
    model: LensModel, task: Task, fit: SiteFit, ranks: Float32, counts: Sequence[int], max_queries: int, n_shots: int,
    seed: int,
) -> dict[str, Float32]:  # fmt: skip
    """Ask the prompts of a task in all directions, (direction ordering k ...), and under the references.

    Sets of heads that several orderings share, such as none and all, are asked once.
    """
    prompts, misled = (
        evaluation_prompts(task, max_queries, fit.template, n_shots=n_shots, seed=seed, shuffled=shuffled)
        for shuffled in (False, True)
    )
    zero, few = zero_shot_queries(model, task, max_queries, fit.template), CachedQueries(model, prompts)
    n_prompts, drawn_by = fit.embedding.n_prompts, fit.embedding.seed
    if drawn_by == NO_SEED:  # it was not drawn, or is a mean of several
        n_prompts, drawn_by = fit.config.n_prompts, seed
    drawn = {"n_prompts": n_prompts, "n_shots": n_shots, "seed": drawn_by}
    uninformed = prompts_of_embedding(task, fit.template, **drawn, shuffled=True).prompts
    sets = (ranks[:, None] > 0) & (ranks[:, None] <= np.array(counts)[:, None, None])
    distinct, place = np.unique(sets.reshape(-1, ranks[0].size), axis=0, return_inverse=True)
    gates, place = torch.tensor(distinct.reshape(-1, *ranks.shape[1:])).float(), place.reshape(sets.shape[:2])
    each_query = torch.arange(len(few)).expand(len(gates), -1)
    directions = [  # in the order of DIRECTIONS
        ask(zero, fit, gates.numpy(), [fit.embedding.mean]),
        answer_arrays(few.answers(gates, last_z_of(model, uninformed).mean(0, keepdim=True))),
        answer_arrays(few.answers(gates, last_z_of(model, misled), each_query)),
    ]
    own = ask(zero, fit, [fit.gates.values], [fit.embedding.mean])
    references = [answer_arrays(zero.under([])), answer_arrays(few.under([])), own]
    right, log_prob = (np.stack(part)[:, place] for part in zip(*directions, strict=True))
    reference_right, reference_log_prob = map(np.concatenate, zip(*references, strict=True))
    return {
        "right": right,
        "log_prob": log_prob.mean(-1),
        "references": reference_right,
        "reference_log_prob": reference_log_prob.mean(-1),
    }


def rank_heads(values: Float32, mask: np.ndarray) -> Float32:
    """Rank heads by falling score, (layer head): 1 = highest, 0 = no head; equal ones in order of layer, then head."""
    ranks = np.zeros(mask.shape, np.float32)
    ranks[mask] = 1 + np.argsort(np.argsort(-values[mask], kind="stable"))
    return ranks


def _orderings(fit: SiteFit, rivals: Sequence[Float32], n_random: int, stream: np.random.Generator) -> Float32:
    """Return the ranks of all orderings of a task, (ordering layer head), in the order of their names."""
    mask, n = fit.gates.grid.mask, len(fit.gates.grid)
    site = rank_heads(fit.gates.values, mask)
    drawn = [stream.random(mask.shape, dtype=np.float32) for _ in range(n_random)]
    # Alphas shuffled within layers sort into the same sequence of layers: so many heads of each at every k.
    matched = [shuffled_within_layers(fit.gates, stream) for _ in range(n_random)]
    others = [rank_heads(values, mask) for values in (*drawn, *matched)]
    return np.stack([site, *(rank_heads(values, mask) for values in rivals), (n + 1 - site) * mask, *others])


def _counts(ks: Iterable[int] | None, n_heads: int) -> list[int]:
    if ks is None:
        beyond = np.geomspace(min(EVERY, n_heads), n_heads, STEPS + 1).round().astype(int)
        ks = [*range(min(EVERY, n_heads) + 1), *beyond.tolist()]
    counts = sorted({0, n_heads, *ks})
    if counts[0] < 0 or counts[-1] > n_heads:
        raise InputError(f"there are {n_heads} heads; cannot take the first {counts[0] or counts[-1]}")
    return counts
