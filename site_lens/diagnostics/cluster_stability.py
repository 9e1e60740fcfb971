"""Stability of clusters of tasks: against resampled seeds and heads, and against known families."""

from collections.abc import Callable, Mapping, Sequence
from typing import SupportsFloat, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from site_lens.records.base import Float32, Frozen
from site_lens.records.hashing import seed_stream

Float64: TypeAlias = NDArray[np.float64]
Pairs: TypeAlias = NDArray[np.bool_]

N_RESAMPLES = 2000
"""Bootstraps over tasks for the range of the family agreement."""

N_NULLS, MOST_NULL_BOOTSTRAPS = 39, 5
"""Maps shuffled within layers that stability is compared with, and most bootstraps of each; p is 1 / 40 or more.
"""

N_PERMUTATIONS = 1999
"""Shuffles of the families for its p-value, which is 1 / (N_PERMUTATIONS + 1) or more."""


class Estimate(Frozen):
    """A number with its interval and, where it was tested, the permutation p-value."""

    value: float
    low: float
    high: float
    p_value: float | None = Field(None, gt=0, le=1)

    def __str__(self) -> str:
        chance = "" if self.p_value is None else f", p = {self.p_value:.2g}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]{chance}"


def _estimate(value: SupportsFloat, draws: Float64 | list[float], p_value: float | None = None) -> Estimate:
    """Return a number with the range of 95 % of its draws; those that are NaN do not count."""
    low, high = np.nanpercentile(draws, (2.5, 97.5))
    return Estimate(value=float(value), low=float(low), high=float(high), p_value=p_value)


def together(labels: ArrayLike) -> Pairs:
    """Tell which items (item other) share a cluster; an item of label -1 shares its own with none."""
    labels = np.asarray(labels)
    pairs: Pairs = (labels[:, None] == labels[None, :]) & (labels >= 0)[:, None]
    np.fill_diagonal(pairs, False)
    return pairs


def adjusted_rand(one: Pairs, other: Pairs, weights: Float64 | None = None) -> Float64:
    """Compute the adjusted Rand index of two partitions from their pairs (item other), see `together`.

    A bootstrap over items draws some of them several times. As weights such draws count by the pairs of different
    items that they make; pairs of an item with itself, which agree whatever the partitions are, do not count.

    Args:
        one: Pairs that share a cluster in one partition.
        other: Pairs that share a cluster in the other.
        weights: How often each item counts (resample item); once when None.

    Returns:
        One index a resample; NaN where both partitions hold all items together, or both keep all apart.

    Reference: Hubert and Arabie 1985; equals `sklearn.metrics.adjusted_rand_score` where no item has weights.
    """
    weights = np.ones((1, len(one))) if weights is None else weights
    apart = ~np.eye(len(one), dtype=np.bool_)

    def count(pairs: Pairs) -> Float64:
        return np.asarray(((weights @ (pairs & apart)) * weights).sum(axis=1), dtype=np.float64)

    both, only_one, only_other, neither = (count(p) for p in (one & other, one & ~other, ~one & other, ~one & ~other))
    least = (both + only_one) * (only_one + neither) + (both + only_other) * (only_other + neither)
    found = 2 * (both * neither - only_one * only_other)
    return np.divide(found, least, out=np.full_like(found, np.nan), where=least > 0)


def measure_stability(
    labels: Sequence[int], fitted: Mapping[str, Float32], layers: NDArray[np.int64],
    again: Callable[[Float32], ArrayLike], *, n_bootstrap: int, seed: int,
) -> tuple[Estimate | None, Estimate | None]:  # fmt: skip
    """Compare clusters with those of bootstraps, and do the same for maps whose heads are shuffled within layers.

    A bootstrap draws heads with replacement, and seeds within each task. Maps that have their high alphas in the same
    layers make stable clusters, too, without a head in common: shuffled maps, task by task, show how stable those are.

    Args:
        labels: Cluster of each task.
        fitted: Alphas of each task (seed head).
        layers: Layer of each head.
        again: Groups mean alphas (task head) anew.
        n_bootstrap: Number of bootstraps, of which each shuffle gets 5 at most.
        seed: Seed of the draws.

    Returns:
        Mean adjusted Rand index and its 95% range; both None where there is nothing to compare: fewer than three tasks,
        or clusters that hold all tasks together or keep all apart, as those of any bootstrap would. Then mean and 95%
        range over shuffles, and as p-value the share of shuffles that are as stable; those with nothing to compare
        count as such, and it is None where no shuffle has anything to compare.

    Reference: Hennig 2007 (bootstrapped clusters).
    """
    indices = _indices(labels, fitted, again, n_bootstrap=n_bootstrap, seed=seed)
    if indices is None:
        return None, None
    stability, found = _estimate(np.mean(indices), indices), []
    for draw in range(N_NULLS):
        shuffled = {}
        for task, alphas in fitted.items():
            keys = seed_stream(seed, "shuffled maps", draw, task).random(len(layers))
            order = np.empty(len(layers), dtype=np.int64)
            order[np.lexsort((np.arange(len(layers)), layers))] = np.lexsort((keys, layers))
            shuffled[task] = alphas[:, order]
        regrouped = again(np.stack([alphas.mean(axis=0) for alphas in shuffled.values()]))
        indices = _indices(regrouped, shuffled, again, n_bootstrap=min(n_bootstrap, MOST_NULL_BOOTSTRAPS), seed=seed)
        found.append(np.nan if indices is None else float(np.mean(indices)))
    known = np.array(found)[np.isfinite(found)]
    if not len(known):
        return stability, None
    as_stable = len(found) - int((known < stability.value).sum())
    return stability, _estimate(known.mean(), known, (1 + as_stable) / (1 + N_NULLS))


def _indices(
    labels: ArrayLike, fitted: Mapping[str, Float32], again: Callable[[Float32], ArrayLike], *, n_bootstrap: int,
    seed: int,
) -> list[float] | None:  # fmt: skip
    """Adjusted Rand index of clusters with those of each bootstrap; None where there is nothing to compare."""
    found, n = together(labels), len(fitted)
    if n < 3 or not found.any() or found.sum() == n * (n - 1):
        return None
    n_heads = next(iter(fitted.values())).shape[1]
    heads = seed_stream(seed, "bootstrap heads").integers(n_heads, size=(n_bootstrap, n_heads))
    seeds = {
        # a stream a task, so that the order of tasks does not matter
        task: seed_stream(seed, "bootstrap seeds", task).integers(len(alphas), size=(n_bootstrap, len(alphas)))
        for task, alphas in fitted.items()
    }
    shuffles = seed_stream(seed, "bootstrap order")
    indices = []
    for b in range(n_bootstrap):
        means = np.stack([alphas[seeds[task][b]].mean(axis=0) for task, alphas in fitted.items()])
        # tasks in random order: clusters that hang on ties, which the order decides, are not stable
        order = shuffles.permutation(len(means))
        drawn = together(again(means[np.ix_(order, heads[b])]))
        indices.append(float(adjusted_rand(found[np.ix_(order, order)], drawn)[0]))
    return indices


def family_agreement(labels: Sequence[int], families: Sequence[str | None], *, seed: int) -> Estimate | None:
    """Compare clusters with the known families of tasks; tasks of unknown family do not count.

    Returns:
        Adjusted Rand index, its 95% range over bootstraps of tasks, and the share of shuffled families that agree with
        the clusters as well. None where fewer than two families are known or none of them has two tasks.
    """
    known = [i for i, family in enumerate(families) if family is not None]
    numbers = {family: number for number, family in enumerate(dict.fromkeys(families[i] for i in known))}
    family = np.array([numbers[families[i]] for i in known], dtype=np.int64)
    if not 2 <= len(numbers) < len(known):
        return None
    clusters, kin = together(np.asarray(labels)[known]), together(family)
    value = adjusted_rand(clusters, kin)[0]
    stream = seed_stream(seed, "family agreement")
    drawn = stream.multinomial(len(known), np.full(len(known), 1 / len(known)), size=N_RESAMPLES)
    resampled = adjusted_rand(clusters, kin, drawn.astype(np.float64))
    shuffles = (stream.permutation(len(known)) for _ in range(N_PERMUTATIONS))
    # shuffling changes no size of a cluster or family, so the index grows with the pairs that share both
    as_good = sum((clusters & kin[np.ix_(order, order)]).sum() >= (clusters & kin).sum() for order in shuffles)
    return _estimate(value, resampled, float(1 + as_good) / (1 + N_PERMUTATIONS))
