"""Clusters of tasks with similar heads, of heads with similar tasks, and of both at once."""

import warnings
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from site_lens.diagnostics.cluster_stability import measure_family_agreement, measure_stability, stability_by_chance
from site_lens.diagnostics.clusters import Clustering, CoClusters, HeadClusters, TaskClusters
from site_lens.diagnostics.grouping import (
    group,
    principal_components,
    relabel,
    scaled_to_plane,
)
from site_lens.heads.head_set import HeadGrid
from site_lens.records.base import Float32
from site_lens.records.errors import InputError
from site_lens.records.hashing import seed_stream
from site_lens.site.fit import SiteFit, SiteFits


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
    read = _read(fits)
    found = group(read.alphas, n_clusters=n_clusters, method=method, what="tasks")
    again = partial(relabel, n_clusters=max(found["labels"]) + 1, method=method)
    pca, explained = principal_components(read.alphas)
    stability = measure_stability(found["labels"], read.fitted, again, n_bootstrap=n_bootstrap, seed=seed)
    layers = np.nonzero(read.grid.mask)[0]
    chance = stability and stability_by_chance(
        stability.value, read.fitted, layers, again, n_bootstrap=n_bootstrap, seed=seed
    )
    return TaskClusters(
        **found | {"notes": (*read.notes, *found["notes"])},
        items=tuple(read.fitted),
        n_seeds=read.n_seeds,
        families=read.families,
        alphas=read.alphas,
        grid=read.grid,
        pca=pca,
        explained=explained,
        mds=scaled_to_plane(found["distance"]),
        stability=stability,
        stability_by_chance=chance,
        family_agreement=measure_family_agreement(found["labels"], read.families, seed=seed),
    )


def cluster_heads(
    fits: SiteFits,
    *,
    n_clusters: int | None = None,
    method: Clustering = "agglomerative",
    min_alpha: float = 0.1,
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
    read = _read(fits)
    is_open, notes = _open_heads(read, min_alpha)
    rows = read.alphas[:, is_open].T
    if len(read.fitted) < 3:
        notes.append("over fewer than three tasks the alphas of two heads can only correlate by 1, 0 or -1")
    found = group(rows, n_clusters=n_clusters, method=method, what="heads")
    return HeadClusters(
        **found | {"notes": (*read.notes, *notes, *found["notes"])},
        items=_names(read.grid, is_open),
        n_seeds=read.n_seeds,
        tasks=tuple(read.fitted),
        alphas=rows,
    )


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
    read = _read(fits)
    is_open, notes = _open_heads(read, min_alpha)
    kept = read.alphas.max(axis=1) > min_alpha
    alphas = read.alphas[np.ix_(kept, is_open)]
    closed = [task for task, has_heads in zip(read.fitted, kept, strict=True) if not has_heads]
    if closed:
        notes.append(f"left out, for no head exceeds an alpha of {min_alpha:g} there: {', '.join(closed)}")
    if n_clusters is None:
        found = group(read.alphas[kept], n_clusters=None, method="agglomerative", what="tasks")
        n_clusters = min(max(found["labels"]) + 1, *alphas.shape)
        notes.extend(found["notes"])
    if not 1 <= n_clusters <= min(alphas.shape):
        raise InputError(f"cannot make {n_clusters} clusters of {alphas.shape[0]} tasks and {alphas.shape[1]} heads")
    task_labels, head_labels = _blocks(alphas, n_clusters, seed)
    return CoClusters(
        tasks=tuple(task for task in read.fitted if task not in closed),
        heads=_names(read.grid, is_open),
        alphas=alphas,
        task_labels=task_labels,
        head_labels=head_labels,
        n_clusters=n_clusters,
        notes=(*read.notes, *notes, *_doubts(alphas, task_labels, head_labels, n_clusters)),
    )


@dataclass(frozen=True, slots=True)
class _Read:
    """What is read out of fits."""

    grid: HeadGrid
    fitted: dict[str, Float32]
    """Alphas of each task (seed head), in order of the grid."""
    alphas: Float32
    """(task head): the same averaged over seeds."""
    families: tuple[str | None, ...]
    notes: tuple[str, ...]

    @property
    def n_seeds(self) -> int:
        return min(len(alphas) for alphas in self.fitted.values())


def _read(fits: SiteFits) -> _Read:
    grid = fits.one_grid()
    # by seed, so that the order in which fits came makes no difference to sums
    tasks = dict.fromkeys(fit.task for fit in fits.values())
    of_task = {task: sorted(fits.of(task), key=lambda fit: fit.seed) for task in tasks}
    every = [fit for of_one in of_task.values() for fit in of_one]
    fitted = {task: np.stack([fit.gates.values[grid.mask] for fit in of_one]) for task, of_one in of_task.items()}
    means = np.stack([alphas.mean(axis=0, dtype=np.float64) for alphas in fitted.values()])
    families = tuple(next((f.family for f in of_one if f.family is not None), None) for of_one in of_task.values())
    return _Read(grid, fitted, means.astype(np.float32), families, _notes(every, [len(a) for a in fitted.values()]))


def _notes(fits: list[SiteFit], n_seeds: list[int]) -> tuple[str, ...]:
    notes = []
    if max(n_seeds) == 1:
        notes.append("one seed a task: how stable the clusters are over seeds is not known")
    elif min(n_seeds) == 1:
        notes.append(f"one seed only for {n_seeds.count(1)} of {len(n_seeds)} tasks")
    if any(fit.shared_with for fit in fits):
        notes.append("some tasks share one alpha map by construction; that they are alike is no finding")
    models = dict.fromkeys(fit.embedding.model.name for fit in fits)
    if len(models) > 1:
        notes.append(f"fits of several models ({', '.join(models)}): a head of one is not the same head of another")
    return tuple(notes)


def _open_heads(read: _Read, min_alpha: float) -> tuple[NDArray[np.bool_], list[str]]:
    """Tell which heads exceed `min_alpha` under some task, and note how many do not."""
    if not 0 <= min_alpha < 1:
        raise InputError(f"min_alpha lies in [0, 1), got {min_alpha}")
    is_open: NDArray[np.bool_] = read.alphas.max(axis=0) > min_alpha
    n_open, n_heads = int(is_open.sum()), len(is_open)
    if not n_open:
        raise InputError(
            f"no head exceeds an alpha of {min_alpha:g} under any task; lower min_alpha, or look at the fits"
        )
    if n_open == n_heads:
        return is_open, []
    return is_open, [f"{n_heads - n_open} of {n_heads} heads left out: their alpha exceeds {min_alpha:g} under no task"]


def _names(grid: HeadGrid, is_open: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(str(head) for head, kept in zip(grid, is_open, strict=True) if kept)


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
