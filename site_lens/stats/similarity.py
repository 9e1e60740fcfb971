"""Similarity of rows of numbers, every two of them at once: correlations, Jaccard index, overlap."""

import numpy as np
from numpy.typing import NDArray

SAME = 1e-6
"""A row whose numbers differ by no more than this is constant."""

Rows = NDArray[np.float32] | NDArray[np.float64]


def is_constant(rows: Rows) -> NDArray[np.bool_]:
    """Tell which rows hold one and the same number everywhere."""
    return np.asarray(np.ptp(rows, axis=1) <= SAME)


def correlation(rows: Rows) -> NDArray[np.float64]:
    """Pearson's correlation of every two rows, (row row); 0 with a constant row, which has no shape to share."""
    centred = rows.astype(np.float64) - rows.mean(axis=1, keepdims=True, dtype=np.float64)
    length = np.where(is_constant(rows), np.inf, np.linalg.norm(centred, axis=1))
    units = centred / length[:, None]
    found = units @ units.T
    return np.asarray(np.clip((found + found.T) / 2, -1, 1))


def rank_correlation(rows: Rows) -> NDArray[np.float64]:
    """Spearman's correlation of every two rows, ties at their mean rank; 0 with a constant row."""
    from scipy.stats import rankdata

    return correlation(rankdata(rows, axis=1))


def n_shared(sets: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count what every two sets, (set member), share; a set's own size on the diagonal."""
    flat = sets.astype(np.int64)
    return np.asarray(flat @ flat.T)


def jaccard(sets: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Members of both sets over members of either, every two of them; NaN where both are empty."""
    shared = n_shared(sets)
    sizes = np.diag(shared)
    return share(shared, sizes[:, None] + sizes[None, :] - shared)


def overlap_coefficient(sets: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Members of both sets over the size of the smaller, every two of them; NaN where the smaller is empty."""
    shared = n_shared(sets)
    sizes = np.diag(shared)
    return share(shared, np.minimum(sizes[:, None], sizes[None, :]))


def share(shared: NDArray[np.int64], possible: NDArray[np.int64]) -> NDArray[np.float64]:
    """Divide; NaN where nothing can be shared: empty sets are neither alike nor different."""
    return np.where(possible == 0, np.nan, shared / np.maximum(possible, 1))
