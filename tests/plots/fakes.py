"""Comparisons and clusters with planted numbers, for the figures that draw them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

import site_lens as sl
from site_lens.diagnostics.cluster_stability import Estimate
from site_lens.diagnostics.head_overlap import MEASURES
from site_lens.records.hashing import seed_stream

SMALL = sl.HeadGrid.full(2, 3)
SCRIPT = "<script>alert(1)</script>%{x}"


def names_of(n: int) -> list[str]:
    """Name n tasks, with names of up to 31 characters."""
    return [f"task_{'long_' * (i % 6)}{i}" for i in range(n)]


def symmetric(n: int, name: str, *, low: float = 0, high: float = 1, diagonal: float = 1) -> np.ndarray:
    """Draw a symmetric matrix from a stream of its own."""
    drawn = seed_stream(n, name).uniform(low, high, (n, n))
    values = np.triu(drawn, 1) + np.triu(drawn, 1).T
    np.fill_diagonal(values, diagonal)
    return values


def fake_overlap(names: Sequence[str], *, grid: sl.HeadGrid = SMALL, **changes: Any) -> sl.Overlap:
    """Build a comparison whose numbers are drawn, each measure's from its own stream."""
    n = len(names)
    scores = seed_stream(n, "scores").random((n, *grid.shape)) * grid.mask
    fields: dict[str, Any] = {
        "names": tuple(names),
        "grid": grid,
        "scores": scores,
        "gates": True,
        "threshold": 0.5,
        "k": 2,
        "specificity": scores - scores.mean(axis=0),
        **{measure: symmetric(n, measure) for measure in MEASURES},
    }
    return sl.Overlap(**fields | changes)


def _tree(distance: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    if len(distance) == 1:
        return np.zeros((0, 4)), (0,)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    return tree, tuple(int(i) for i in leaves_list(tree))


def _clusters(items: Sequence[str], changes: dict[str, Any]) -> dict[str, Any]:
    n = len(items)
    distance = changes.get("distance", symmetric(n, "distance", high=2, diagonal=0))
    tree, order = _tree(np.asarray(distance))
    fields = {
        "items": tuple(items),
        "labels": tuple(int(i >= (n + 1) // 2) for i in range(n)),
        "method": "agglomerative",
        "distance": distance,
        "linkage": tree,
        "order": order,
        "silhouettes": {},
        "n_seeds": 3,
    }
    return fields | changes


def fake_task_clusters(items: Sequence[str], *, grid: sl.HeadGrid = SMALL, **changes: Any) -> sl.TaskClusters:
    """Build clusters of tasks: the first half is cluster 0, the rest cluster 1."""
    n = len(items)
    fields: dict[str, Any] = {
        "families": (None,) * n,
        "alphas": seed_stream(n, "alphas").random((n, len(grid))),
        "grid": grid,
        "pca": seed_stream(n, "pca").normal(size=(n, 2)),
        "explained": (0.42, 0.21),
        "mds": seed_stream(n, "mds").normal(size=(n, 2)),
        "stability": Estimate(value=0.71, low=0.5, high=0.9),
        "family_agreement": None,
    }
    return sl.TaskClusters(**_clusters(items, fields | changes))


def fake_head_clusters(grid: sl.HeadGrid, **changes: Any) -> sl.HeadClusters:
    """Build clusters of all heads of a grid under two tasks."""
    alphas = seed_stream(len(grid), "head alphas").random((len(grid), 2))
    return sl.HeadClusters(**_clusters([str(head) for head in grid], {"tasks": ("a", "b"), "alphas": alphas} | changes))


def fake_co_clusters(tasks: Sequence[str], heads: Sequence[str], alphas: ArrayLike, **changes: Any) -> sl.CoClusters:
    """Build co-clusters: by default tasks and heads belong to clusters 0 and 1 in turn."""
    fields: dict[str, Any] = {
        "tasks": tuple(tasks),
        "heads": tuple(heads),
        "alphas": alphas,
        "task_labels": tuple(i % 2 for i in range(len(tasks))),
        "head_labels": tuple(i % 2 for i in range(len(heads))),
        "n_clusters": 2,
    }
    return sl.CoClusters(**fields | changes)
