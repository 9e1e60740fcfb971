"""Grouping of rows of alphas by correlation: distances, their tree, where to cut it, maps of the rows in a plane."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.cluster.hierarchy import cut_tree, leaves_list, linkage
from scipy.spatial.distance import squareform

from site_lens.records.base import Axes, Count, Float32, Lengths, Record
from site_lens.records.display import few
from site_lens.records.errors import InputError
from site_lens.stats.similarity import correlation, is_constant

Float64: TypeAlias = NDArray[np.float64]
Labels: TypeAlias = NDArray[np.int64]
Clustering = Literal["agglomerative", "hdbscan"]

MAX_CLUSTERS = 12
"""Most clusters that are tried when their number is not given."""

WEAK_SILHOUETTE = 0.25
"""Up to this mean silhouette, clusters are no substantial structure (Kaufman and Rousseeuw 1990, table 4)."""

MOST_ORDERED = 1500
"""Most items that are put in optimal leaf order, whose time grows with their cube: some seconds at this many, ten
minutes at the 5,120 heads of a 70B model."""

DENSE_SIZE = 2
"""Fewest items of a cluster of HDBSCAN: known families of tasks can be as small as this."""


class Clusters(Record):
    """Items grouped by the correlation of their alphas: what clusters of tasks and of heads share."""

    lengths: ClassVar[Lengths] = {"other": "item", "labels": "item", "order": "item", "part": 4}

    items: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names, in the order in which they came."""
    labels: tuple[Annotated[int, Field(ge=-1)], ...]
    """Cluster of each item, numbered from 0 by falling size; -1 for an item that belongs to none (HDBSCAN)."""
    method: Clustering
    distance: Annotated[Float32, Axes(("item", "other"), 0)]
    """(item other): 1 - Pearson correlation of the items' alphas, from 0 to 2; 1 with an item that is constant."""
    linkage: Annotated[Float32, Axes(("merge", "part"))]
    """(merge part): average-linkage tree of the distances, as scipy has it: the two clusters that merge, their
    distance, and the items in the new cluster; no rows for a single item."""
    order: tuple[Count, ...]
    """Items in optimal leaf order: neighbours are as similar as the tree allows. Of more than 1,500 items the order is
    any that the tree allows, and a note says so."""
    silhouettes: dict[str, float]
    """Mean silhouette of cuts of the tree by number of clusters ("2", "3", ...); empty with fewer than three items."""
    n_seeds: int = Field(ge=1)
    """Fewest fits of a task."""
    notes: tuple[str, ...] = ()
    """What a reader should know: one seed only, items left out, no structure, and the like."""

    def _facts(self) -> Mapping[str, object]:
        sizes = [self.labels.count(label) for label in range(self.n_clusters)]
        return {
            "items": f"{len(self.items)} ({few(self.items)})",
            "clusters": f"{self.n_clusters}, of {' and '.join(map(str, sizes[:6]))}{' and more' if sizes[6:] else ''}",
            "method": self.method,
            "seeds": self.n_seeds,
        }

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
        return tuple(item for item, of_item in zip(self.items, self.labels, strict=True) if of_item == label)

    def _places(self) -> list[int]:
        """Return the place of each item in leaf order."""
        return [int(place) for place in np.argsort(self.order)]


def group(rows: Float32, *, n_clusters: int | None, method: Clustering, what: str) -> dict[str, Any]:
    """Group rows (item feature) by correlation and return what records of clusters hold: labels, tree, and the like.

    Args:
        rows: Alphas (item feature).
        n_clusters: Number of clusters; when None, that of the best mean silhouette, a single one where none is
            positive, and each item its own with fewer than three.
        method: "agglomerative" cuts the tree, "hdbscan" takes dense regions and leaves the rest without a cluster.
        what: What the items are, such as "tasks", for notes and errors.

    Raises:
        InputError: The number of clusters does not fit the method or the items.
    """
    if n_clusters is not None and method == "hdbscan":
        raise InputError("HDBSCAN finds the number of clusters itself; leave n_clusters away, or use 'agglomerative'")
    if n_clusters is not None and not 1 <= n_clusters <= len(rows):
        raise InputError(f"cannot make {n_clusters} clusters of {len(rows)} {what}")
    distance = correlation_distance(rows)
    is_ordered = len(rows) <= MOST_ORDERED
    tree = average_tree(distance, ordered=is_ordered)
    silhouettes = _silhouettes(distance, tree)
    if method == "hdbscan" and len(rows) > 2:
        labels = _dense(distance)
        alone = int((labels < 0).sum())
        notes = [f"{alone} of {len(rows)} {what} belong to no cluster"] if alone else []
    else:
        labels, notes = _best_cut(tree, silhouettes, n_clusters, what)
    if len(rows) < 3:
        notes.append(f"fewer than three {what}: nothing can be grouped")
    if not is_ordered:
        notes.append(
            f"more than {MOST_ORDERED} {what}: they stand in the order of the tree, not in optimal leaf order, which "
            "would take minutes to hours"
        )
    constant = int(is_constant(rows).sum())
    if constant:
        notes.append(f"{constant} of {len(rows)} {what} with one and the same alpha: they correlate with nothing")
    return {
        "labels": tuple(int(label) for label in by_size(labels)),
        "method": method,
        "distance": distance,
        "linkage": tree,
        "order": leaf_order(tree),
        "silhouettes": {str(n): silhouette for n, silhouette in silhouettes.items()},
        "notes": tuple(notes),
    }


def correlation_distance(rows: Float32) -> Float64:
    """Return 1 - Pearson correlation (item other) of rows (item feature), 1 with a constant row, 0 to itself.

    Distances are rounded to a millionth, so that those which differ by rounding of the arithmetic alone are equal.
    """
    distance: Float64 = np.round(1 - correlation(rows), 6)
    np.fill_diagonal(distance, 0)
    return distance


def average_tree(distance: Float64, *, ordered: bool = False) -> Float64:
    """Build the average-linkage tree (merge part) of distances (item other), if asked in optimal leaf order.

    Reference: Bar-Joseph, Gifford and Jaakkola 2001; `scipy.cluster.hierarchy.linkage`.
    """
    if len(distance) < 2:
        return np.zeros((0, 4))
    return np.asarray(linkage(squareform(distance), "average", optimal_ordering=ordered))


def relabel(rows: Float32, *, n_clusters: int, method: Clustering) -> Labels:
    """Group other rows of the same items in the same way, the number of clusters fixed where the method takes one."""
    distance = correlation_distance(rows)
    return _dense(distance) if method == "hdbscan" else _cut(average_tree(distance), [n_clusters])[:, 0]


def by_size(labels: Labels) -> Labels:
    """Number clusters from 0 by falling size, equal ones by their first item; -1 stays."""
    found, first, sizes = np.unique(labels, return_index=True, return_counts=True)
    ranked = found[np.lexsort((first, -sizes))]
    place = {int(label): place for place, label in enumerate(ranked[ranked >= 0])}
    return np.array([place.get(int(label), -1) for label in labels], dtype=np.int64)


def principal_components(rows: Float32) -> tuple[Float64, tuple[float, float]]:
    """Return the first two principal components (item coordinate) of rows and the share of variance of each.

    Coordinates and shares that the rows have no variance for are 0.
    """
    from sklearn.decomposition import PCA

    places, shares = np.zeros((len(rows), 2)), np.zeros(2)
    if len(rows) > 1 and np.ptp(rows, axis=0).max() > 0:
        n = min(2, *rows.shape)
        fitted = PCA(n, svd_solver="full")
        places[:, :n] = fitted.fit_transform(rows.astype(np.float64))
        shares[:n] = fitted.explained_variance_ratio_
    return places, (float(shares[0]), float(shares[1]))


def scaled_to_plane(distance: Float64) -> Float64:
    """Place items (item coordinate) so that their distances in the plane come near `distance` (item other).

    Metric scaling by SMACOF, which begins at the classical solution and so needs no random start.

    Reference: Torgerson 1952; de Leeuw 1977; `sklearn.manifold.smacof`.
    """
    from sklearn.manifold import smacof

    if not distance.any():
        return np.zeros((len(distance), 2))
    squared = distance**2
    inner = -(squared - squared.mean(axis=0) - squared.mean(axis=1, keepdims=True) + squared.mean()) / 2
    spread, directions = np.linalg.eigh(inner)
    start = directions[:, :-3:-1] * np.sqrt(np.clip(spread[:-3:-1], 0, None))
    start *= np.sign(start[np.abs(start).argmax(axis=0), [0, 1]])  # the sign must not depend on the order of items
    places, _ = smacof(distance, n_components=2, init=start, n_init=1)
    return np.asarray(places, dtype=np.float64)


def _best_cut(
    tree: Float64, silhouettes: dict[int, float], n_clusters: int | None, what: str
) -> tuple[Labels, list[str]]:
    """Cut the tree into some clusters, or into as many as fit best; return the label of each item, and notes."""
    n, notes = len(tree) + 1, list[str]()
    if n_clusters is None:
        n_clusters, notes = _best_number(silhouettes, n, what) if silhouettes else (n, notes)
    if 1 < n_clusters < n and tree[n - n_clusters - 1, 2] == tree[n - n_clusters, 2]:
        notes.append(f"distances tie where the tree is cut: other {n_clusters} clusters fit the {what} as well")
    return _cut(tree, [n_clusters])[:, 0], notes


def _best_number(silhouettes: dict[int, float], n_items: int, what: str) -> tuple[int, list[str]]:
    best = max(silhouettes, key=lambda n: silhouettes[n])
    highest = silhouettes[best]
    if highest <= 0:
        return 1, [f"no structure: {what} are no nearer within clusters than between them, so all are left in one"]
    notes = []
    if highest <= WEAK_SILHOUETTE:
        notes.append(
            f"no substantial structure: the best mean silhouette is {highest:.2f}, of {best} clusters "
            f"(above {WEAK_SILHOUETTE} is asked for by Kaufman and Rousseeuw 1990)"
        )
    if best == MAX_CLUSTERS < n_items - 1:
        notes.append(f"no more than {MAX_CLUSTERS} clusters were tried, and the most fit best; n_clusters sets others")
    return best, notes


def _silhouettes(distance: Float64, tree: Float64) -> dict[int, float]:
    from sklearn.metrics import silhouette_score

    tried = list(range(2, min(MAX_CLUSTERS, len(distance) - 1) + 1))
    if not tried:
        return {}
    cuts = _cut(tree, tried)
    return {n: float(silhouette_score(distance, cuts[:, i], metric="precomputed")) for i, n in enumerate(tried)}


def _cut(tree: Float64, numbers: Sequence[int]) -> Labels:
    """Cut the tree into each of some numbers of clusters: labels (item number)."""
    if not len(tree):
        return np.zeros((1, len(numbers)), dtype=np.int64)
    return np.asarray(cut_tree(tree, numbers), dtype=np.int64)


def _dense(distance: Float64) -> Labels:
    from sklearn.cluster import HDBSCAN

    found = HDBSCAN(min_cluster_size=DENSE_SIZE, metric="precomputed", copy=True).fit_predict(distance)
    return np.asarray(found, dtype=np.int64)


def leaf_order(tree: Float64) -> tuple[int, ...]:
    """Return the items of a tree (merge part) in the order of its leaves."""
    return tuple(int(item) for item in leaves_list(tree)) if len(tree) else (0,)
