"""Permutation tests on matrices between tasks, whose cells are not independent: tasks are permuted, never cells."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import ceil, factorial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from site_lens.records.base import Float32
from site_lens.records.errors import InputError
from site_lens.stats.paired_tests import SIGNIFICANT

Matrix: TypeAlias = NDArray[np.float64] | Float32
Statistic: TypeAlias = Callable[[NDArray[np.int64]], float]
MOST_EXACT = 5040
"""Permutations up to which all of them are taken (seven tasks)."""

N_DRAWS = 1999
"""Permutations drawn where there are more."""

FEWEST_TASKS = 4
"""Tasks below which no permutation test can reach p < 0.05 (4 tasks: 24 permutations)."""


@dataclass(frozen=True, slots=True)
class Association:
    """A statistic and the share of permutations of the tasks that reach it."""

    value: float
    p_value: float
    n_tasks: int
    findable: float
    """Value above which p would have been below 0.05."""


def mantel(one: Matrix, other: Matrix, *, seed: int = 0) -> Association:
    """Correlate the ranks of the cells off the diagonal of two matrices between the same tasks, one-sided.

    Cells that are NaN in either are left out; ranks are taken once, over the known cells of each matrix. Permutations
    under which nothing varies are left out. Where nothing varies as it is, the correlation is 0 and p is 1.

    Raises:
        InputError: The matrices are not square and alike, or there are fewer than four tasks.

    Reference: Mantel 1967; Legendre and Legendre 2012, section 10.5.1.
    """
    if one.shape != other.shape or one.ndim != 2 or one.shape[0] != one.shape[1]:
        raise InputError(f"needs two square matrices over the same tasks, got {one.shape} and {other.shape}")
    ranks, others = _ranks(one), _ranks(other)

    def statistic(order: NDArray[np.int64]) -> float:
        moved = others[np.ix_(order, order)]
        known = np.isfinite(ranks) & np.isfinite(moved)
        return _correlation(ranks[known], moved[known])

    return _permuted(statistic, len(one), seed)


def family_gap(values: Matrix, families: Sequence[str | None], *, seed: int = 0) -> Association:
    """Mean of the cells within families less the mean of those between, off the diagonal, one-sided.

    Permutations that leave no known cell within families, or none between, are left out.

    Raises:
        InputError: There are fewer than four tasks, no two of one family, or no two of different ones.
    """
    names = np.array([f"?{i}" if family is None else family for i, family in enumerate(families)])
    off = ~np.eye(len(names), dtype=bool)
    same = names[:, None] == names[None, :]
    known = off & np.isfinite(values)
    if not (known & same).any() or not (known & ~same).any():
        raise InputError(f"needs two tasks of one family and two of different ones, got families {list(families)}")

    def statistic(order: NDArray[np.int64]) -> float:
        moved = same[np.ix_(order, order)]
        within, between = values[known & moved], values[known & ~moved]
        return float(within.mean() - between.mean()) if len(within) and len(between) else np.nan

    return _permuted(statistic, len(names), seed)


def _permuted(statistic: Statistic, n: int, seed: int) -> Association:
    if n < FEWEST_TASKS:
        raise InputError(f"a permutation test over {n} tasks can find nothing; it needs at least {FEWEST_TASKS}")
    found = statistic(np.arange(n))
    if np.isnan(found):
        return Association(0.0, 1.0, n, 1.0)
    if factorial(n) <= MOST_EXACT:
        others = [statistic(np.array(order)) for order in permutations(range(n))]  # the identity is among them
    else:
        stream = np.random.default_rng(seed)
        others = [found, *(statistic(stream.permutation(n)) for _ in range(N_DRAWS))]
    # Where cells are missing, a permutation can leave nothing to compare: it is no draw, neither above nor below.
    known = np.sort([other for other in others if not np.isnan(other)])[::-1]
    p = float(np.mean(known >= found - 1e-9))
    return Association(found, p, n, float(known[ceil(SIGNIFICANT * len(known)) - 1]))


def _ranks(values: Matrix) -> NDArray[np.float64]:
    """Rank the known cells off the diagonal; NaN elsewhere."""
    known = np.isfinite(values) & ~np.eye(len(values), dtype=bool)
    found = np.full(values.shape, np.nan)
    found[known] = rankdata(values[known])
    return found


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return np.nan
    one, other = one - one.mean(), other - other.mean()
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))
