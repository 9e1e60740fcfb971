"""Ways to score heads compared with each other: whether they find the same heads, and more so than chance."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from site_lens.core.errors import InputError, MismatchError
from site_lens.core.heads import HeadGrid
from site_lens.core.overlap import Overlap
from site_lens.core.paired_tests import control_false_discoveries
from site_lens.core.scores import HeadScores, ScoresByTask
from site_lens.core.selector_agreement import SelectorAgreement, SelectorFacts
from site_lens.diagnostics.overlap import compare_heads, fewest_findable, shared_by_chance
from site_lens.diagnostics.similarity import rank_correlation

Float64 = NDArray[np.float64]


def compare_selectors(scores: Mapping[str, ScoresByTask], k: int | None = None) -> SelectorAgreement:
    """Compare every two selectors on every task that all of them scored, and with chance.

    Good heads gather in some layers, so selectors that merely prefer the same layers share heads by chance. Chance is
    therefore two random sets that have as many heads in every layer as the selectors' own; both its p-value and the
    Jaccard index to expect of it are exact.

    Args:
        scores: Scores by selector and task, as `score_heads` or `Run.scores` hold them.
        k: Heads in a selector's set; a tenth of all heads, and at least one, when None.

    Raises:
        InputError: There are fewer than two selectors, no task was scored by all of them, or `k` is not a number of
            heads.
        MismatchError: Scores stand over different grids.

    Reference: see `compare_heads`.
    """
    tasks, left_out, grid = _common(scores)
    overlaps = [_on(task, scores, k) for task in tasks]
    facts = tuple(_facts(name, [own[task] for task in tasks], overlaps[0].k) for name, own in scores.items())
    p_value = np.stack([one.p_value for one in overlaps]).astype(np.float64)
    same_for_all = np.array([one.same_for_all for one in facts])
    return SelectorAgreement(
        grid=grid,
        selectors=facts,
        tasks=tuple(tasks),
        left_out=tuple(left_out),
        k=overlaps[0].k,
        spearman=[one.spearman for one in overlaps],
        spearman_size=[rank_correlation(np.abs(one.scores[:, grid.mask])) for one in overlaps],
        jaccard=[one.jaccard_top for one in overlaps],
        chance=[_chance(one) for one in overlaps],
        p_value=p_value,
        q_value=_controlled(p_value, same_for_all),
        findable=_findable(overlaps, int(_distinct(len(tasks), same_for_all).sum())),
    )


def _on(task: str, scores: Mapping[str, ScoresByTask], k: int | None) -> Overlap:
    return compare_heads({name: own[task] for name, own in scores.items()}, threshold=None, k=k)


def _common(scores: Mapping[str, ScoresByTask]) -> tuple[list[str], list[str], HeadGrid]:
    """Return the tasks that all selectors scored, those that some did not, and the grid of all scores."""
    if len(scores) < 2:
        raise InputError(f"a comparison needs two selectors or more, got {', '.join(scores) or 'none'}")
    every = list(dict.fromkeys(task for own in scores.values() for task in own))
    tasks = [task for task in every if all(task in own for own in scores.values())]
    if not tasks:
        n_tasks = ", ".join(f"{name} {len(own)}" for name, own in scores.items())
        raise InputError(f"no task was scored by every selector (tasks: {n_tasks}); leave out those that lack it")
    (first, grid), *others = [(f"{name} on {task}", own[task].grid) for name, own in scores.items() for task in tasks]
    for name, other in others:
        if other != grid:
            raise MismatchError(f"{first} has {grid}, {name} has {other}; compare scores of one model only")
    return tasks, [task for task in every if task not in tasks], grid


def _facts(name: str, scores: list[HeadScores], k: int) -> SelectorFacts:
    values = np.stack([one.values[one.grid.mask] for one in scores])
    falling = -np.sort(-values, axis=1)
    tied = falling[:, k - 1] == falling[:, k] if k < falling.shape[1] else np.zeros(len(scores))
    return SelectorFacts(
        selector=name,
        meaning=scores[0].meaning,
        signed=bool((values < 0).any()),
        same_for_all=len(scores) > 1 and bool((values == values[0]).all()),
        tied=float(np.mean(tied)),
        n_forwards=_mean([one.n_forwards for one in scores]),
        n_labelled=_mean([one.n_labelled for one in scores]),
    )


def _mean(counts: list[int | None]) -> float | None:
    known = [count for count in counts if count is not None]
    return float(np.mean(known)) if len(known) == len(counts) else None


def _chance(overlap: Overlap) -> Float64:
    """Return the Jaccard index to expect of layer-matched random sets, (selector other); 1 on the diagonal."""
    in_layer = [tuple(overlap.heads_of(name).mask().sum(axis=1).tolist()) for name in overlap.names]
    expected = np.eye(len(in_layer))
    for i, j in zip(*np.triu_indices(len(in_layer), k=1), strict=True):
        expected[i, j] = expected[j, i] = _expected(overlap.grid.heads_per_layer, in_layer[i], in_layer[j])
    return expected


def _expected(heads: tuple[int, ...], first: tuple[int, ...], second: tuple[int, ...]) -> float:
    """Expect a Jaccard index of layer-matched random sets."""
    chances = shared_by_chance(heads, first, second)
    shared = np.arange(len(chances))
    return float(chances @ (shared / (sum(first) + sum(second) - shared)))


def _findable(overlaps: list[Overlap], n_tests: int) -> Float64:
    """(task selector other): fewest shared heads that would have been found, alone among all tests."""
    found = np.zeros((len(overlaps), len(overlaps[0].names), len(overlaps[0].names)))
    for of, overlap in zip(found, overlaps, strict=True):
        in_layer = [tuple(overlap.heads_of(name).mask().sum(axis=1).tolist()) for name in overlap.names]
        for i, j in zip(*np.triu_indices(len(in_layer), k=1), strict=True):
            chances = shared_by_chance(overlap.grid.heads_per_layer, in_layer[i], in_layer[j])
            of[i, j] = of[j, i] = fewest_findable(chances, n_tests, sum(in_layer[i]), sum(in_layer[j]))
    return found


def _distinct(n_tasks: int, same_for_all: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(task selector other): which pairs are tests of their own; what repeats from task to task counts once."""
    n = len(same_for_all)
    distinct = np.broadcast_to(np.triu(np.ones((n, n), dtype=bool), k=1), (n_tasks, n, n)).copy()
    distinct[1:, same_for_all[:, None] & same_for_all[None, :]] = False
    return distinct


def _controlled(p_value: Float64, same_for_all: NDArray[np.bool_]) -> Float64:
    """Control the false discovery rate over tasks and pairs, (task selector other)."""
    distinct = _distinct(len(p_value), same_for_all)
    q_value = control_false_discoveries(p_value, distinct)
    repeated = same_for_all[:, None] & same_for_all[None, :]
    q_value[:, repeated] = q_value[0, repeated]
    return np.minimum(q_value, q_value.transpose(0, 2, 1))
