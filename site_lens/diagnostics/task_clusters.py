"""Clusters of tasks with similar heads."""

from functools import partial
from typing import Annotated, ClassVar

import numpy as np

from site_lens.diagnostics.alpha_rows import AlphaRows
from site_lens.diagnostics.cluster_stability import Estimate, family_agreement, measure_stability
from site_lens.diagnostics.grouping import Clustering, Clusters, group, principal_components, relabel, scaled_to_plane
from site_lens.heads.head_set import HeadGrid
from site_lens.records.base import Axes, Float32, Lengths
from site_lens.records.errors import InputError
from site_lens.records.lazy_pandas import pd
from site_lens.site.fit import SiteFits


class TaskClusters(Clusters):
    """Tasks grouped by the alphas of their fits, averaged over seeds."""

    kind: ClassVar[str] = "task_clusters"
    lengths: ClassVar[Lengths] = {**Clusters.lengths, "families": "item", "coordinate": 2}

    families: tuple[str | None, ...]
    """Known family of each task."""
    alphas: Annotated[Float32, Axes(("item", "feature"), 0, 1)]
    """(item feature): mean alpha over seeds of every head of the grid, in order of the grid."""
    grid: HeadGrid
    pca: Annotated[Float32, Axes(("item", "coordinate"))]
    """(item coordinate): first two principal components."""
    explained: tuple[float, float]
    """Share of the variance that each component explains."""
    mds: Annotated[Float32, Axes(("item", "coordinate"))]
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

    def frame(self) -> "pd.DataFrame":
        """One row per task: task, family, cluster, place (in leaf order, from 0), pca_1, pca_2, mds_1, mds_2."""
        named = {"task": self.items, "family": self.families, "cluster": self.labels, "place": self._places()}
        maps = {"pca": self.pca, "mds": self.mds}
        places = {f"{name}_{axis + 1}": places[:, axis] for name, places in maps.items() for axis in range(2)}
        return pd.DataFrame(named | places)


def cluster_tasks(
    fits: SiteFits,
    *,
    n_clusters: int | None = None,
    method: Clustering = "agglomerative",
    n_bootstrap: int = 200,
    seed: int = 0,
) -> TaskClusters:
    """Group tasks by the alphas of their fits, averaged over seeds.

    The distance of two tasks is 1 - Pearson correlation of their alphas over heads. The average-linkage tree of the
    distances is cut where the mean silhouette is highest, or `method="hdbscan"` takes dense regions of two tasks
    or more.

    Args:
        fits: Fits over one grid, of three tasks or more if there is to be something to group.
        n_clusters: Number of clusters; when None, that of the best mean silhouette, 12 at most, and a single one where
            no silhouette is positive.
        method: "agglomerative" or "hdbscan".
        n_bootstrap: Bootstraps for the stability: heads are drawn with replacement, and seeds within each task. They
            keep the number of clusters, save that HDBSCAN finds it anew.
        seed: Seed of everything that is drawn.

    Raises:
        InputError: There are no fits, or the number of clusters or of bootstraps cannot be.
        MismatchError: The fits are over different grids.

    Reference: Rousseeuw 1987 (silhouettes); Campello, Moulavi and Sander 2013 (HDBSCAN).

    Example:
        >>> import site_lens as sl
        >>> tasks = sl.sample_tasks(sl.load_tasks("demo").values(), 4, seed=0)
        >>> fits = sl.fit_site(sl.load_model("demo"), tasks, sl.SiteConfig(n_prompts=4, n_shots=3, n_steps=10))
        >>> sl.cluster_tasks(fits, n_clusters=2, n_bootstrap=10).n_clusters
        2
    """
    if n_bootstrap < 1:
        raise InputError(f"stability needs at least one bootstrap, got n_bootstrap={n_bootstrap}")
    rows = AlphaRows.of(fits)
    grouped = group(rows.means, n_clusters=n_clusters, method=method, what="tasks")
    labels = grouped["labels"]
    again = partial(relabel, n_clusters=max(labels) + 1, method=method)
    layers = np.nonzero(rows.grid.mask)[0]
    stability, by_chance = measure_stability(labels, rows.fitted, layers, again, n_bootstrap=n_bootstrap, seed=seed)
    pca, explained = principal_components(rows.means)
    return TaskClusters(
        **grouped | {"notes": (*rows.notes, *grouped["notes"])},
        items=tuple(rows.fitted),
        n_seeds=rows.n_seeds,
        families=rows.families,
        alphas=rows.means,
        grid=rows.grid,
        pca=pca,
        explained=explained,
        mds=scaled_to_plane(grouped["distance"]),
        stability=stability,
        stability_by_chance=by_chance,
        family_agreement=family_agreement(labels, rows.families, seed=seed),
    )
