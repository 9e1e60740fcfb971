from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import adjusted_rand_score, silhouette_score

import site_lens as sl
from site_lens.diagnostics.cluster_stability import Estimate, adjusted_rand, together
from site_lens.diagnostics.grouping import MOST_ORDERED, Clustering, correlation_distance, group
from site_lens.records.base import Record
from site_lens.records.hashing import seed_stream
from tests.fakes import GRID, fake_alphas, fake_fit, fake_identity
from tests.samples import laws

RAGGED = sl.HeadGrid((4, 0, 2))
SHORT = sl.SiteConfig(n_steps=1, eval_every=1)
ONE_SEED = "one seed a task: how stable the clusters are over seeds is not known"
METHODS: tuple[Clustering, ...] = ("agglomerative", "hdbscan")


def fits_of(
    maps: dict[str, np.ndarray], *, grid: sl.HeadGrid = GRID, seed: int = 0, **changes: Any
) -> list[sl.SiteFit]:
    model = fake_identity(grid=grid)
    return [fake_fit(task, seed, alphas, model=model, config=SHORT, **changes) for task, alphas in maps.items()]


def kin(n_families: int, n_each: int, *, seeds: Sequence[int] = (0,)) -> sl.SiteFits:
    """Plant families: those of one family open the same fifth of the heads, but for one head in twenty."""
    fits = []
    for family, seed in [(f"family {i}", seed) for i in range(n_families) for seed in seeds]:
        own = seed_stream(0, family).random(GRID.shape) < 0.2
        for task in (f"{family} task {i}" for i in range(n_each)):
            stream = seed_stream(0, task, seed)
            opened = own ^ (stream.random(GRID.shape) < 0.05)
            alphas = np.where(opened, stream.uniform(0.85, 1, GRID.shape), stream.uniform(0, 0.15, GRID.shape))
            fits += fits_of({task: alphas}, seed=seed, family=family)
    return sl.SiteFits(fits)


def chance(n_tasks: int, *, draw: int) -> sl.SiteFits:
    """Draw tasks that have nothing in common, called after three families."""
    maps = {f"task {i}": fake_alphas(f"task {i}", seed=draw) for i in range(n_tasks)}
    return sl.SiteFits(fit.replace(family=f"family {i % 3}") for i, fit in enumerate(fits_of(maps)))


def blocks(n_blocks: int, n_tasks: int) -> sl.SiteFits:
    """Plant a matrix of blocks: tasks of block b open the heads of layer b and no other."""
    maps = {}
    for i in range(n_blocks * n_tasks):
        alphas = seed_stream(i, "block").uniform(0, 0.05, GRID.shape)
        alphas[i % n_blocks] = seed_stream(i, "open").uniform(0.8, 1, GRID.n_heads)
        maps[f"task {i}"] = alphas
    return sl.SiteFits(fits_of(maps))


def estimate(found: Estimate | None) -> Estimate:
    assert found is not None
    return found


# Planted families


@pytest.mark.parametrize("method", METHODS)
def test_planted_families_are_clustered_back(method: Clustering) -> None:
    found = sl.cluster_tasks(kin(3, 4), method=method)
    assert found.n_clusters == 3
    agreement, stability = estimate(found.family_agreement), estimate(found.stability)
    assert agreement.value == 1 == agreement.low == agreement.high
    assert agreement.p_value is not None and agreement.p_value < 0.01
    assert stability.value > (0.95 if method == "agglomerative" else 0.85)
    assert found.notes == (ONE_SEED,)
    for label in range(3):
        assert len({name.split(" task")[0] for name in found.cluster(label)}) == 1


def test_without_kinship_families_agree_by_chance_and_clusters_do_not_last() -> None:
    found = [sl.cluster_tasks(chance(12, draw=draw), n_bootstrap=2) for draw in range(20)]
    agreements = [estimate(each.family_agreement) for each in found]
    assert abs(np.mean([agreement.value for agreement in agreements])) < 0.1
    assert sum((agreement.p_value or 0) <= 0.05 for agreement in agreements) <= 4
    assert np.mean([estimate(each.stability).value for each in found if each.stability is not None]) < 0.5
    assert all(any("no substantial structure" in note for note in each.notes) for each in found)


def test_several_seeds_are_averaged_and_make_clusters_clearer() -> None:
    one, three = (sl.cluster_tasks(kin(3, 4, seeds=seeds), n_bootstrap=2) for seeds in ((0,), (0, 1, 2)))
    assert (one.n_seeds, three.n_seeds) == (1, 3)
    assert three.silhouettes["3"] > one.silhouettes["3"]
    assert three.notes == ()
    fits = kin(3, 4, seeds=(0, 1, 2)).of(three.items[5])
    mean = np.mean([fit.gates.values[GRID.mask] for fit in fits], axis=0)
    assert np.allclose(three.alphas[5], mean, atol=1e-6)


def test_seeds_that_disagree_make_clusters_unstable() -> None:
    families = [fake_alphas(f"family {i}") for i in range(2)]
    # under the second seed every other task learned the map of the other family
    steady = {f"task {i}": families[i // 4] for i in range(8)}
    moved = {f"task {i}": families[(i // 4 + i) % 2] for i in range(8)}
    agreeing = sl.SiteFits(fits_of(steady) + fits_of(steady, seed=1))
    torn = sl.SiteFits(fits_of(steady) + fits_of(moved, seed=1))
    assert estimate(sl.cluster_tasks(agreeing, n_clusters=2).stability).low == 1
    assert estimate(sl.cluster_tasks(torn, n_clusters=2).stability).value < 0.6


# What the numbers of a record are


def test_distances_are_one_less_the_correlation_of_alphas_over_the_heads_of_the_grid() -> None:
    maps = {f"task {i}": fake_alphas(f"task {i}", grid=RAGGED) for i in range(4)}
    found = sl.cluster_tasks(sl.SiteFits(fits_of(maps, grid=RAGGED)), n_bootstrap=2)
    assert found.alphas.shape == (4, len(RAGGED))
    assert np.allclose(found.distance, 1 - np.corrcoef(found.alphas), atol=2e-6)
    assert np.array_equal(found.distance, found.distance.T)
    assert not np.diag(found.distance).any()


def test_tasks_whose_alphas_are_all_alike_are_left_out_of_all_groups() -> None:
    flat = {"flat": np.full(GRID.shape, 0.3), "closed": np.zeros(GRID.shape)}
    maps = flat | {task: fake_alphas(task) for task in ("a", "b", "c")}
    fits = sl.SiteFits(fits_of(maps))
    found = sl.cluster_tasks(fits, n_bootstrap=2)
    assert found.items == sl.cluster_heads(fits).tasks == sl.cocluster(fits).tasks == ("a", "b", "c")
    assert any("2 of 5 tasks left out" in note and "flat, closed" in note for note in found.notes)
    with pytest.raises(sl.InputError):
        sl.cluster_tasks(sl.SiteFits(fits_of(flat)))


def test_the_number_of_clusters_is_that_of_the_highest_silhouette() -> None:
    found = sl.cluster_tasks(kin(4, 3), n_bootstrap=2)
    assert list(found.silhouettes) == [str(n) for n in range(2, 12)]
    assert max(found.silhouettes, key=lambda n: found.silhouettes[n]) == "4" == str(found.n_clusters)
    again = silhouette_score(found.distance, found.labels, metric="precomputed")
    assert again == pytest.approx(found.silhouettes["4"], abs=1e-5)


def test_a_given_number_of_clusters_is_kept() -> None:
    for n_clusters in (1, 2, 11, 12):
        found = sl.cluster_tasks(kin(3, 4), n_clusters=n_clusters, n_bootstrap=2)
        assert found.n_clusters == n_clusters == len(set(found.labels))
        assert (found.stability is None) == (n_clusters in (1, 12)), n_clusters
        assert sl.cluster_heads(kin(3, 4), n_clusters=n_clusters).n_clusters == n_clusters
    for n_clusters in (1, 2, 4):
        both = sl.cocluster(blocks(4, 3), n_clusters=n_clusters)
        assert both.n_clusters == n_clusters == len(set(both.task_labels))


def test_clusters_are_numbered_by_falling_size_and_equal_ones_by_first_item() -> None:
    families = [fake_alphas(f"family {i}") for i in range(3)]
    maps = {f"task {i}": families[family] for i, family in enumerate([2, 0, 1, 1, 0, 1])}
    found = sl.cluster_tasks(sl.SiteFits(fits_of(maps)), n_clusters=3, n_bootstrap=2)
    assert found.labels == (2, 1, 0, 0, 1, 0)
    assert found.cluster(0) == ("task 2", "task 3", "task 5")


# Same fits, same answer


def test_reordered_and_renamed_tasks_give_the_same_clusters() -> None:
    fits = list(kin(3, 4).values())
    order = seed_stream("order").permutation(12)
    moved = sl.SiteFits(fits[i].replace(task=f"renamed {i}") for i in order)
    one, other = (sl.cluster_tasks(each, n_bootstrap=2) for each in (sl.SiteFits(fits), moved))
    assert np.allclose(other.distance, one.distance[np.ix_(order, order)], atol=1e-6)
    assert adjusted_rand_score([one.labels[i] for i in order], other.labels) == 1
    assert other.silhouettes == pytest.approx(one.silhouettes)
    assert np.allclose(np.abs(other.pca), np.abs(one.pca[order]), atol=1e-4)
    assert np.allclose(np.abs(other.mds), np.abs(one.mds[order]), atol=1e-3)
    neighbours = [{frozenset(each.items[i] for i in pair) for pair in pairwise(each.order)} for each in (one, other)]
    named = {frozenset(one.items[int(name.split()[1])] for name in pair) for pair in neighbours[1]}
    assert named == neighbours[0]


@pytest.mark.parametrize(
    "read",
    [*(partial(sl.cluster_tasks, method=method, n_bootstrap=20) for method in METHODS), sl.cluster_heads, sl.cocluster],
)
def test_the_same_fits_and_seed_give_the_same_record(read: Callable[[sl.SiteFits], Record], tmp_path: Path) -> None:
    fits = kin(3, 3, seeds=(0, 1))
    found = read(fits)
    assert found == read(fits)
    assert sl.load(sl.save(found, tmp_path / "clusters")) == found


# The adjusted Rand index

partitions = st.integers(2, 9).flatmap(lambda n: st.tuples(*[st.lists(st.integers(0, 3), min_size=n, max_size=n)] * 2))


@laws
@given(partitions)
def test_the_adjusted_rand_index_is_that_of_scikit_learn(labels: tuple[list[int], list[int]]) -> None:
    index = adjusted_rand(together(labels[0]), together(labels[1]))[0]
    # where both are one cluster, or both all singletons, there is nothing to compare
    assert np.isnan(index) or index == pytest.approx(adjusted_rand_score(*labels))
    n_clusters = [len(set(each)) for each in labels]
    assert np.isnan(index) == (n_clusters in ([1, 1], [len(labels[0])] * 2))


@laws
@given(partitions, st.integers(0, 100))
def test_an_item_of_weight_zero_does_not_count(labels: tuple[list[int], list[int]], seed: int) -> None:
    one, other = np.array(labels[0]), np.array(labels[1])
    kept = np.random.default_rng(seed).random(len(one)) < 0.7
    weighted = adjusted_rand(together(one), together(other), kept[None].astype(float))
    assert np.array_equal(weighted, adjusted_rand(together(one[kept]), together(other[kept])), equal_nan=True)


def test_tasks_drawn_twice_do_not_agree_with_themselves() -> None:
    one, other = together([0, 0, 1, 1]), together([0, 1, 0, 1])
    drawn = np.array([[1.0, 1, 1, 1], [3, 3, 3, 3]])
    assert adjusted_rand(one, other, drawn).tolist() == [-0.5, -0.5]


def test_tasks_of_unknown_family_do_not_count_and_families_that_cannot_agree_are_not_compared() -> None:
    def clustered(families: list[str | None]) -> sl.TaskClusters:
        fits = zip(kin(2, 3).values(), families, strict=True)
        return sl.cluster_tasks(sl.SiteFits(fit.replace(family=family) for fit, family in fits), n_bootstrap=2)

    found = clustered([None, "a", "a", "b", "b", None])
    assert estimate(found.family_agreement).value == 1
    assert found.families[:2] == (None, "a")
    none: list[list[str | None]] = [[None] * 6, ["a"] * 6, ["a", "b", None, None, None, None], list("abcdef")]
    assert [clustered(families).family_agreement for families in none] == [None] * 4


# Heads


def test_heads_that_the_same_tasks_open_are_clustered_back() -> None:
    fits = blocks(3, 4)
    found = sl.cluster_heads(fits)
    layers = [sl.Head.parse(name).layer for name in found.items]
    assert set(layers) == {0, 1, 2}
    assert adjusted_rand_score(layers, found.labels) == 1
    assert found.alphas.shape == (24, 12)
    assert found.tasks == tuple(fits)
    assert "24 of 48 heads left out: their alpha exceeds 0.1 under no task" in found.notes


def test_heads_at_the_floor_are_left_out_and_those_above_are_kept() -> None:
    maps = {f"task {i}": np.array([[0.1, 0.11, 0.5, 0.9]]) * (1 if i else 0.5) for i in range(3)}
    fits = sl.SiteFits(fits_of(maps, grid=sl.HeadGrid((4,))))
    assert sl.cluster_heads(fits).items == ("L0H1", "L0H2", "L0H3")
    assert sl.cluster_heads(fits, min_alpha=0.05).items == ("L0H0", "L0H1", "L0H2", "L0H3")
    assert sl.cluster_heads(fits, min_alpha=0.6).items == ("L0H3",)


# Both at once


def test_blocks_of_tasks_and_heads_are_found_together() -> None:
    found = sl.cocluster(blocks(3, 4))
    assert found.n_clusters == 3
    assert found.task_labels == (0, 1, 2) * 4
    assert found.head_labels == tuple(sl.Head.parse(name).layer for name in found.heads)
    inside = np.equal.outer(found.task_labels, found.head_labels)
    assert found.alphas[inside].min() > found.alphas[~inside].max()


# Little or nothing to group


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_tasks", [1, 2])
def test_one_or_two_tasks_stand_for_themselves(n_tasks: int, method: Clustering) -> None:
    found = sl.cluster_tasks(chance(n_tasks, draw=0), method=method)
    assert found.labels == tuple(range(n_tasks))
    assert found.order == tuple(range(n_tasks)) or found.order == (1, 0)
    assert found.silhouettes == {}
    assert found.stability is None and found.family_agreement is None
    assert not found.pca[:, 1].astype(np.float16).any()
    assert found.linkage.shape == (n_tasks - 1, 4)
    assert "fewer than three tasks: nothing can be grouped" in found.notes
    assert sl.cocluster(chance(n_tasks, draw=0)).n_clusters == n_tasks


def test_tasks_that_do_not_differ_are_left_in_one_cluster_and_a_forced_split_does_not_last() -> None:
    same = sl.SiteFits(fits_of({f"task {i}": fake_alphas("task") for i in range(6)}))
    found, split = sl.cluster_tasks(same), sl.cluster_tasks(same, n_clusters=2)
    assert found.labels == (0,) * 6
    assert found.stability is None
    assert sum(found.explained) == 0 and not found.pca.any()
    assert any(note.startswith("no structure") for note in found.notes)
    assert "distances tie where the tree is cut: other 2 clusters fit the tasks as well" in split.notes
    assert estimate(split.stability).value < 0.2


# Chance and size


def test_stability_stands_beside_that_of_maps_shuffled_within_layers() -> None:
    clear = sl.cluster_tasks(kin(3, 4), n_bootstrap=20)
    assert estimate(clear.stability).value > estimate(clear.stability_by_chance).value
    assert estimate(clear.stability_by_chance).p_value == 1 / 40
    by_chance = [sl.cluster_tasks(chance(8, draw=draw), n_bootstrap=2).stability_by_chance for draw in range(4)]
    assert max(one.p_value or 0 for one in by_chance if one is not None) > 0.05


def test_leaves_are_put_in_optimal_order_up_to_1500_items_and_beyond_a_note_says_that_they_are_not() -> None:
    stream = seed_stream("many heads")
    for n, is_ordered in ((60, True), (MOST_ORDERED + 1, False)):
        rows = stream.random((n, 6)).astype(np.float32)
        found = group(rows, n_clusters=3, method="agglomerative", what="heads")
        best = linkage(squareform(correlation_distance(rows)), "average", optimal_ordering=is_ordered)
        assert list(found["order"]) == leaves_list(best).tolist()
        assert any("leaf order" in note for note in found["notes"]) == (not is_ordered)
