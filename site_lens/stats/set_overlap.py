"""Overlap of random sets that have as many members in every layer as two given ones: exact, by convolution."""

from collections.abc import Mapping
from functools import cache, reduce
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from site_lens.stats.paired_tests import SIGNIFICANT, SMALLEST

Float64 = NDArray[np.float64]


def shared_by_chance(heads: tuple[int, ...], sets: NDArray[np.bool_]) -> dict[tuple[int, int], Float64]:
    """Return for every two sets the chances that layer-matched random ones share 0, 1, ... heads.

    Args:
        heads: Heads of each layer.
        sets: (set layer head).
    """
    in_layer = [tuple(counts) for counts in sets.sum(axis=2).tolist()]
    return {(i, j): pair_by_chance(heads, in_layer[i], in_layer[j]) for i, j in combinations(range(len(sets)), 2)}


@cache  # selectors that are the same for all tasks meet again on each
def pair_by_chance(heads: tuple[int, ...], one: tuple[int, ...], other: tuple[int, ...]) -> Float64:
    """Return the chances of sharing 0, 1, ... heads for two sets with so many heads in each layer.

    What two random sets share in a layer is hypergeometric; the sum over layers is a convolution.
    """
    layers = (layer for layer in zip(heads, one, other, strict=True) if layer[0])
    return reduce(np.convolve, (_shared_in_layer(*layer) for layer in layers))


@cache
def _shared_in_layer(n: int, a: int, b: int) -> Float64:
    """Return the chances that random sets of `a` and of `b` out of `n` heads share 0, 1, ... heads."""
    from scipy.stats import hypergeom

    return np.asarray(hypergeom.pmf(np.arange(min(a, b) + 1), n, a, b), dtype=np.float64)


def overlap_p_value(chances: Float64, n_shared: int) -> float:
    """Return the chance that random sets share so many heads or more, given those of sharing 0, 1, ... heads."""
    return float(np.clip(chances[n_shared:].sum(), SMALLEST, 1))


def fewest_findable(chances: Float64, n_tests: int, *sizes: int) -> int:
    """Count the shared heads from which on an overlap would be found, alone among so many tests.

    Args:
        chances: Of sharing 0, 1, ... heads.
        n_tests: Tests whose false discovery rate is controlled.
        sizes: Heads of both sets.

    Returns:
        That number; one more than the smaller set has where no overlap that its layers allow would be found.
    """
    at_least = np.cumsum(chances[::-1])[::-1]
    findable = np.nonzero(at_least <= SIGNIFICANT / n_tests)[0]
    return int(findable[0]) if len(findable) else min(sizes) + 1


def expected_jaccard(chances: Float64, *sizes: int) -> float:
    """Return the Jaccard index to expect of two random sets of these sizes."""
    shared = np.arange(len(chances))
    return float(chances @ (shared / (sum(sizes) - shared)))


def symmetric(values: Mapping[tuple[int, int], float], n: int, *, diagonal: float = 0.0) -> Float64:
    """Return (set other): one number a pair, the same in both directions."""
    matrix = np.full((n, n), float(diagonal))
    for (i, j), value in values.items():
        matrix[i, j] = matrix[j, i] = value
    return matrix
