"""Co-clusters: tasks and heads grouped at once."""

import warnings
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from site_lens.diagnostics.alpha_rows import AlphaRows
from site_lens.diagnostics.grouping import group
from site_lens.heads.head_set import Head
from site_lens.records.base import Axes, Count, Float32, Lengths, Record
from site_lens.records.errors import InputError
from site_lens.records.hashing import seed_stream
from site_lens.records.lazy_pandas import pd
from site_lens.site.fit import SiteFits


class CoClusters(Record):
    """Tasks and heads grouped together, so that each block of tasks has its block of heads."""

    kind: ClassVar[str] = "co_clusters"
    lengths: ClassVar[Lengths] = {"task_labels": "task", "head_labels": "head"}

    tasks: tuple[str, ...]
    heads: tuple[str, ...]
    """Heads that at least one task opens above the floor of noise; the others are left out."""
    alphas: Annotated[Float32, Axes(("task", "head"), 0, 1)]
    task_labels: tuple[Count, ...]
    head_labels: tuple[Count, ...]
    n_clusters: int = Field(ge=1)
    notes: tuple[str, ...] = ()

    def frame(self) -> "pd.DataFrame":
        """One row per task and head: task, task_cluster, layer, head, head_cluster, alpha."""
        n_tasks, n_heads = self.alphas.shape
        heads = [Head.parse(name) for name in self.heads]
        columns = {
            "task": np.repeat(self.tasks, n_heads),
            "task_cluster": np.repeat(self.task_labels, n_heads),
            "layer": np.tile([head.layer for head in heads], n_tasks),
            "head": np.tile([head.head for head in heads], n_tasks),
            "head_cluster": np.tile(self.head_labels, n_tasks),
            "alpha": self.alphas.ravel(),
        }
        return pd.DataFrame(columns)


def cocluster(fits: SiteFits, *, n_clusters: int | None = None, min_alpha: float = 0.1, seed: int = 0) -> CoClusters:
    """Group tasks and heads together by spectral co-clustering of their alphas, averaged over seeds.

    Args:
        fits: Fits over one grid.
        n_clusters: Number of clusters; when None, as many as `cluster_tasks` finds for the tasks.
        min_alpha: Heads whose alpha exceeds this under no task are left out, and so are tasks without any such head.
        seed: Seed of the singular vectors and of k-means.

    Raises:
        InputError: There are no fits, no head is left, or there are fewer tasks or heads than clusters.
        MismatchError: The fits are over different grids.

    Reference: Dhillon 2001; `sklearn.cluster.SpectralCoclustering`.
    """
    rows = AlphaRows.of(fits)
    is_open, heads, notes = rows.open_heads(min_alpha)
    kept = rows.means.max(axis=1) > min_alpha
    alphas = rows.means[np.ix_(kept, is_open)]
    closed = [task for task, has_heads in zip(rows.fitted, kept, strict=True) if not has_heads]
    if closed:
        notes.append(f"left out, for no head exceeds an alpha of {min_alpha:g} there: {', '.join(closed)}")
    if n_clusters is None:
        grouped = group(rows.means[kept], n_clusters=None, method="agglomerative", what="tasks")
        n_clusters = min(max(grouped["labels"]) + 1, *alphas.shape)
        notes.extend(grouped["notes"])
    if not 1 <= n_clusters <= min(alphas.shape):
        raise InputError(f"cannot make {n_clusters} clusters of {alphas.shape[0]} tasks and {alphas.shape[1]} heads")
    task_labels, head_labels = _blocks(alphas, n_clusters, seed)
    return CoClusters(
        tasks=tuple(task for task in rows.fitted if task not in closed),
        heads=heads,
        alphas=alphas,
        task_labels=task_labels,
        head_labels=head_labels,
        n_clusters=n_clusters,
        notes=(*rows.notes, *notes, *_doubts(alphas, task_labels, head_labels, n_clusters)),
    )


def _blocks(alphas: Float32, n_clusters: int, seed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the block of each task and of each head, numbered by falling number of tasks."""
    from sklearn.cluster import SpectralCoclustering
    from sklearn.exceptions import ConvergenceWarning

    if n_clusters == 1:  # the spectral method needs a second singular vector
        return (0,) * alphas.shape[0], (0,) * alphas.shape[1]
    random_state = int(seed_stream(seed, "co-clusters").integers(2**31))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer blocks than asked for are said in a note
        found = SpectralCoclustering(n_clusters, random_state=random_state).fit(alphas.astype(np.float64))
    tasks, heads = found.row_labels_.tolist(), found.column_labels_.tolist()
    order = sorted({*tasks, *heads}, key=lambda label: (-tasks.count(label), (tasks + heads).index(label)))
    return tuple(order.index(label) for label in tasks), tuple(order.index(label) for label in heads)


def _doubts(alphas: Float32, task_labels: tuple[int, ...], head_labels: tuple[int, ...], n_clusters: int) -> list[str]:
    notes = []
    different = len(np.unique(alphas, axis=0))
    if different < n_clusters:
        notes.append(f"the tasks have {different} different alpha maps: how they fall into {n_clusters} is arbitrary")
    empty = sorted(set(range(n_clusters)) - (set(task_labels) & set(head_labels)))
    if empty:
        notes.append(f"no whole block: cluster {', '.join(map(str, empty))} of {n_clusters} lacks tasks or heads")
    return notes
