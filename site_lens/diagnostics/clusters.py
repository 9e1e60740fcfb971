"""What clustering found: groups of tasks with similar heads, groups of heads with similar tasks, and both at once."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from site_lens.heads.head_set import Head, HeadGrid
from site_lens.records.base import Axes, Count, Float32, Frozen, Record
from site_lens.records.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

Clustering = Literal["agglomerative", "hdbscan"]
ItemXY = Annotated[Float32, Axes(("item", "coordinate"))]
ItemFeature = Annotated[Float32, Axes(("item", "feature"))]
Merges = Annotated[Float32, Axes(("merge", "part"))]
"""(merge part), scipy's linkage: the two clusters that merge, their distance, and the items in the new cluster."""
ItemItem = Annotated[Float32, Axes(("item", "other"))]


class Estimate(Frozen):
    """A number with its interval and, where it was tested, the permutation p-value."""

    value: float
    low: float
    high: float
    p_value: float | None = Field(None, gt=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"an interval from {self.low:g} to {self.high:g} is empty")
        return self

    def __str__(self) -> str:
        chance = "" if self.p_value is None else f", p = {self.p_value:.2g}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]{chance}"


class _Clusters(Record):
    items: tuple[str, ...]
    """Names, in the order in which they came."""
    labels: tuple[Annotated[int, Field(ge=-1)], ...]
    """Cluster of each item, numbered from 0 by falling size; -1 for an item that belongs to none (HDBSCAN)."""
    method: Clustering
    distance: Annotated[Float32, Axes(("item", "other"), 0)]
    """(item other): 1 - Pearson correlation of the items' alphas, from 0 to 2; 1 with an item that is constant."""
    linkage: Merges
    """Average-linkage tree of the distances, always there; no rows for a single item."""
    order: tuple[Count, ...]
    """Items in optimal leaf order: neighbours are as similar as the tree allows. Of more than 1,500 items the order is
    any that the tree allows, and a note says so."""
    silhouettes: dict[str, float]
    """Mean silhouette of cuts of the tree by number of clusters ("2", "3", ...); empty with fewer than three items."""
    n_seeds: int = Field(ge=1)
    """Fewest fits of a task."""
    notes: tuple[str, ...] = ()
    """What a reader should know: one seed only, items left out, no structure, and the like."""

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        n = len(self.items)
        if n < 1 or len(set(self.items)) < n:
            raise ValueError(f"needs each item once, got {self.items}")
        if len(self.labels) != n or sorted(self.order) != list(range(n)):
            raise ValueError(f"labels {self.labels} and leaf order {self.order} do not fit {n} items")
        if self.distance.shape != (n, n) or self.linkage.shape != (n - 1, 4):
            raise ValueError(
                f"distances of shape {self.distance.shape}, a tree of shape {self.linkage.shape} do not fit {n} items"
            )
        _check_labels(self.labels, noise=self.method == "hdbscan")
        return self

    @property
    def n_clusters(self) -> int:
        """Number of clusters; items that belong to none count for none."""
        return max(self.labels) + 1

    def cluster(self, label: int) -> tuple[str, ...]:
        """Return the items of a cluster; those that belong to none for -1.

        Raises:
            InputError: There is no such cluster.
        """
        if not -1 <= label < self.n_clusters:
            raise InputError(f"there is no cluster {label}; there are {self.n_clusters}, counted from 0")
        return tuple(item for item, own in zip(self.items, self.labels, strict=True) if own == label)

    def _places(self) -> list[int]:
        """Return the place of each item in leaf order."""
        return [int(place) for place in np.argsort(self.order)]


class TaskClusters(_Clusters):
    """Tasks grouped by the alphas of their fits, averaged over seeds."""

    kind: ClassVar[str] = "task_clusters"

    families: tuple[str | None, ...]
    """Known family of each task."""
    alphas: Annotated[Float32, Axes(("item", "feature"), 0, 1)]
    """(item feature): mean alpha over seeds of every head of the grid, in order of the grid."""
    grid: HeadGrid
    pca: ItemXY
    """(item coordinate): first two principal components."""
    explained: tuple[float, float]
    """Share of the variance that each component explains."""
    mds: ItemXY
    """(item coordinate): metric multidimensional scaling of the distances to two dimensions."""
    stability: Estimate | None
    """Adjusted Rand index between the clusters and those of bootstraps over seeds and heads: mean and 95% range;
    None with fewer than three tasks, and where all of them or no two share a cluster, which any data would repeat."""
    stability_by_chance: Estimate | None = None
    """The same of maps whose heads are shuffled within layers, task by task: mean and 95% range over shuffles, and as
    p-value the share of shuffles that are as stable. None where `stability` is, and in files of version 0.1.0."""
    family_agreement: Estimate | None
    """Adjusted Rand index between clusters and known families, with 95% bootstrap range and permutation p-value; None
    where fewer than two families are known or none of them has two tasks."""

    @model_validator(mode="after")
    def _fits_tasks(self) -> Self:
        n = len(self.items)
        if len(self.families) != n or self.alphas.shape != (n, len(self.grid)):
            raise ValueError(
                f"{len(self.families)} families, alphas of shape {self.alphas.shape} do not fit {n} tasks, {self.grid}"
            )
        if self.pca.shape != (n, 2) or self.mds.shape != (n, 2):
            raise ValueError(f"coordinates of shapes {self.pca.shape}, {self.mds.shape} do not fit {n} tasks")
        if min(self.explained) < 0 or sum(self.explained) > 1 + 1e-6:
            raise ValueError(f"shares of variance {self.explained} are negative or sum to more than 1")
        return self

    def frame(self) -> "pd.DataFrame":
        """One row per task: task, family, cluster, place (in leaf order, from 0), pca_1, pca_2, mds_1, mds_2."""
        import pandas as pd

        return pd.DataFrame(
            {
                "task": self.items,
                "family": self.families,
                "cluster": self.labels,
                "place": self._places(),
                "pca_1": self.pca[:, 0],
                "pca_2": self.pca[:, 1],
                "mds_1": self.mds[:, 0],
                "mds_2": self.mds[:, 1],
            }
        )


class HeadClusters(_Clusters):
    """Heads grouped by the tasks that open them."""

    kind: ClassVar[str] = "head_clusters"

    tasks: tuple[str, ...]
    alphas: Annotated[Float32, Axes(("item", "feature"), 0, 1)]
    """(item feature): alpha of each head under each task, averaged over seeds."""

    @model_validator(mode="after")
    def _fits_heads(self) -> Self:
        if self.alphas.shape != (len(self.items), len(self.tasks)):
            raise ValueError(
                f"alphas of shape {self.alphas.shape} do not fit {len(self.items)} heads, {len(self.tasks)} tasks"
            )
        return self

    def frame(self) -> "pd.DataFrame":
        """One row per head: layer, head, cluster, place (in leaf order, from 0), mean_alpha (over tasks)."""
        import pandas as pd

        heads = [Head.parse(name) for name in self.items]
        return pd.DataFrame(
            {
                "layer": [head.layer for head in heads],
                "head": [head.head for head in heads],
                "cluster": self.labels,
                "place": self._places(),
                "mean_alpha": self.alphas.mean(axis=1),
            }
        )


class CoClusters(Record):
    """Tasks and heads grouped together, so that each block of tasks has its block of heads."""

    kind: ClassVar[str] = "co_clusters"

    tasks: tuple[str, ...]
    heads: tuple[str, ...]
    """Heads that at least one task opens above the floor of noise; the others are left out."""
    alphas: Annotated[Float32, Axes(("task", "head"), 0, 1)]
    task_labels: tuple[Count, ...]
    head_labels: tuple[Count, ...]
    n_clusters: int = Field(ge=1)
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        shape = (len(self.tasks), len(self.heads))
        if 0 in shape or self.alphas.shape != shape:
            raise ValueError(f"alphas of shape {self.alphas.shape} do not fit {shape[0]} tasks, {shape[1]} heads")
        if (len(self.task_labels), len(self.head_labels)) != shape:
            raise ValueError(f"{len(self.task_labels)}, {len(self.head_labels)} labels do not fit {shape}")
        if self.n_clusters > min(shape):
            raise ValueError(f"there are no {self.n_clusters} clusters of {shape[0]} tasks and {shape[1]} heads")
        strange = {label for label in (*self.task_labels, *self.head_labels) if not 0 <= label < self.n_clusters}
        if strange:
            raise ValueError(f"labels {sorted(strange)} do not fit {self.n_clusters} clusters")
        return self

    def frame(self) -> "pd.DataFrame":
        """One row per task and head: task, task_cluster, layer, head, head_cluster, alpha."""
        import pandas as pd

        n_tasks, n_heads = self.alphas.shape
        heads = [Head.parse(name) for name in self.heads]
        return pd.DataFrame(
            {
                "task": np.repeat(self.tasks, n_heads),
                "task_cluster": np.repeat(self.task_labels, n_heads),
                "layer": np.tile([head.layer for head in heads], n_tasks),
                "head": np.tile([head.head for head in heads], n_tasks),
                "head_cluster": np.tile(self.head_labels, n_tasks),
                "alpha": self.alphas.ravel(),
            }
        )


def _check_labels(labels: tuple[int, ...], *, noise: bool) -> None:
    """Refuse labels that are not numbered from 0 by falling cluster size, -1 for noise where that is allowed."""
    sizes = [labels.count(label) for label in range(max(labels) + 1)]
    if 0 in sizes or sizes != sorted(sizes, reverse=True) or min(labels) < -1:
        raise ValueError(f"labels {labels} are not numbered from 0 by falling size of the cluster")
    if -1 in labels and not noise:
        raise ValueError("only HDBSCAN leaves items without a cluster")
