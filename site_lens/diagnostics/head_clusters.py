"""Clusters of heads with similar tasks."""

from typing import Annotated, ClassVar

from site_lens.diagnostics.alpha_rows import AlphaRows
from site_lens.diagnostics.grouping import Clustering, Clusters, group
from site_lens.heads.head_set import Head
from site_lens.records.base import Axes, Float32, Lengths
from site_lens.records.lazy_pandas import pd
from site_lens.site.fit import SiteFits


class HeadClusters(Clusters):
    """Heads grouped by the tasks that open them."""

    kind: ClassVar[str] = "head_clusters"
    lengths: ClassVar[Lengths] = {**Clusters.lengths, "tasks": "feature"}

    tasks: tuple[str, ...]
    alphas: Annotated[Float32, Axes(("item", "feature"), 0, 1)]
    """(item feature): alpha of each head under each task, averaged over seeds."""

    def frame(self) -> "pd.DataFrame":
        """One row per head: layer, head, cluster, place (in leaf order, from 0), mean_alpha (over tasks)."""
        heads = [Head.parse(name) for name in self.items]
        columns = {
            "layer": [head.layer for head in heads],
            "head": [head.head for head in heads],
            "cluster": self.labels,
            "place": self._places(),
            "mean_alpha": self.alphas.mean(axis=1),
        }
        return pd.DataFrame(columns)


def cluster_heads(
    fits: SiteFits, *, n_clusters: int | None = None, method: Clustering = "agglomerative", min_alpha: float = 0.1
) -> HeadClusters:
    """Group heads by their alphas under the tasks, averaged over seeds; distance and tree are those of `cluster_tasks`.

    Args:
        fits: Fits over one grid.
        n_clusters: Number of clusters; that of the best mean silhouette, 12 at most, when None.
        method: "agglomerative" or "hdbscan".
        min_alpha: Heads whose alpha exceeds this under no task are left out.

    Of more than 1,500 heads the optimal order of leaves is left out, and a note says so.

    Raises:
        InputError: There are no fits, no head is left, or the number of clusters cannot be.
        MismatchError: The fits are over different grids.
    """
    rows = AlphaRows.of(fits)
    is_open, names, notes = rows.open_heads(min_alpha)
    alphas = rows.means[:, is_open].T
    if len(rows.fitted) < 3:
        notes.append("over fewer than three tasks the alphas of two heads can only correlate by 1, 0 or -1")
    grouped = group(alphas, n_clusters=n_clusters, method=method, what="heads")
    return HeadClusters(
        **grouped | {"notes": (*rows.notes, *notes, *grouped["notes"])},
        items=names,
        n_seeds=rows.n_seeds,
        tasks=tuple(rows.fitted),
        alphas=alphas,
    )
