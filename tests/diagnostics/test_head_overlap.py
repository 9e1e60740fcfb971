from collections.abc import Iterable
from itertools import combinations, product
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from site_lens.diagnostics.head_overlap import MEASURES, Overlap, head_overlap
from site_lens.heads.head_set import Head, HeadGrid, HeadSet
from site_lens.heads.scores import HeadGates, HeadScores
from site_lens.records.base import Float32
from site_lens.records.errors import InputError
from tests.fakes import GRID, fake_alphas
from tests.samples import laws

RAGGED = HeadGrid((4, 0, 2))
TWO_BY_FOUR = HeadGrid.full(2, 4)
BETWEEN = ("jaccard", "overlap_coefficient", "rank_biased")
"""Measures that are 1 for equal records."""


def gates_of(*heads: str, grid: HeadGrid = TWO_BY_FOUR) -> HeadGates:
    return HeadGates.of(HeadSet.of(grid, heads))


def scores_of(values: Float32, *, grid: HeadGrid = RAGGED, selector: str = "test") -> HeadScores:
    return HeadScores(grid=grid, values=values * grid.mask, selector=selector, meaning="planted")


def head_sets(grid: HeadGrid) -> st.SearchStrategy[HeadSet]:
    return st.frozensets(st.sampled_from(list(grid))).map(lambda heads: HeadSet(grid, heads))


def alphas(grid: HeadGrid) -> st.SearchStrategy[HeadGates]:
    numbers = arrays.arrays(np.float32, grid.shape, elements=st.floats(0, 1, width=32))
    return numbers.map(lambda values: HeadGates(grid=grid, values=values * grid.mask))


def matched(like: HeadSet) -> Iterable[HeadSet]:
    """Enumerate every set that has as many heads in each layer as another."""
    layers = []
    for layer, n in enumerate(like.grid.heads_per_layer):
        places = [Head(layer, head) for head in range(n)]
        layers.append(combinations(places, sum(head.layer == layer for head in like)))
    return (HeadSet.of(like.grid, [head for part in parts for head in part]) for parts in product(*layers))


def chance_sets(n: int, *, seed: int, grid: HeadGrid = GRID) -> dict[str, HeadGates]:
    """Draw sets that have as many heads in each layer as one another and nothing else in common."""
    pattern = HeadSet.random(grid, len(grid) // 3, seed=seed)
    return {f"r{i}": HeadGates.of(HeadSet.random_like(pattern, seed=1000 * seed + i)) for i in range(n)}


def named(records: list[HeadGates]) -> dict[str, HeadGates]:
    return {f"r{i}": record for i, record in enumerate(records)}


def pairs(found: Overlap, measure: str) -> Float32:
    matrix: Float32 = getattr(found, measure)
    return matrix[np.triu_indices(len(found.names), k=1)]


def textbook_rank_biased(first: HeadScores, second: HeadScores, p: float = 0.9) -> float:
    """Compute RBO_ext as it is defined, depth by depth."""
    n = len(first.grid)
    if first.is_flat or second.is_flat:
        return float("nan")
    agreement = [len(first.top(d) & second.top(d)) / d for d in range(1, n + 1)]
    return (1 - p) / p * sum(p**d * agreement[d - 1] for d in range(1, n + 1)) + p**n * agreement[-1]


# Laws


@laws
@given(alphas(RAGGED))
def test_two_identical_records_overlap_wholly(found: HeadGates) -> None:
    both = head_overlap({"one": found, "other": found})
    unknown = {measure: found.is_flat for measure in ("rank_biased", "jaccard_top")}
    for measure in (*BETWEEN, "jaccard_top"):
        expected = np.nan if unknown.get(measure, not found.above(0.5)) else 1
        assert getattr(both, measure) == pytest.approx(np.full((2, 2), expected), nan_ok=True)
    varies = len(np.unique(found.values[RAGGED.mask])) > 1
    assert both.spearman == pytest.approx(np.full((2, 2), float(varies)))
    assert not both.specificity.any()


@laws
@given(st.lists(alphas(RAGGED), min_size=1, max_size=5), st.floats(0, 0.99))
def test_every_measure_is_symmetric_and_in_its_range(records: list[HeadGates], threshold: float) -> None:
    found = head_overlap(named(records), threshold=threshold)
    for measure in MEASURES:
        matrix = getattr(found, measure)
        assert np.array_equal(matrix, matrix.T, equal_nan=True)
        known = matrix[np.isfinite(matrix)]
        assert known.max(initial=0) <= 1 and known.min(initial=0) >= (-1 if measure == "spearman" else 0)
    assert np.all(np.diag(found.p_value) == 1) and np.all(np.diag(found.q_value) == 1)
    assert np.all(found.q_value >= found.p_value)
    assert np.all(found.p_value > 0)


@laws
@given(st.lists(alphas(RAGGED), min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_relabelling_the_records_permutes_every_matrix(records: list[HeadGates], random: Random) -> None:
    mapping = named(records)
    order = random.sample(list(mapping), len(mapping))
    found, moved = head_overlap(mapping), head_overlap({name: mapping[name] for name in order})
    places = [found.names.index(name) for name in moved.names]
    for measure in MEASURES:
        assert getattr(moved, measure) == pytest.approx(
            getattr(found, measure)[np.ix_(places, places)], abs=1e-6, nan_ok=True
        )
    assert moved.specificity == pytest.approx(found.specificity[places], abs=1e-6)
    assert moved.k == found.k


@laws
@given(head_sets(RAGGED), head_sets(RAGGED))
def test_the_p_value_is_the_share_of_all_layer_matched_sets_that_share_as_many_heads(
    first: HeadSet, second: HeadSet
) -> None:
    found = head_overlap(HeadGates.of(first), HeadGates.of(second))
    as_many = [len(first & other) >= len(first & second) for other in matched(second)]
    assert found.p_value[0, 1] == pytest.approx(np.mean(as_many), rel=1e-6)


@laws
@given(head_sets(RAGGED), head_sets(RAGGED))
def test_set_measures_are_those_of_set_algebra(first: HeadSet, second: HeadSet) -> None:
    found = head_overlap({"first": HeadGates.of(first), "second": HeadGates.of(second)})
    either, smaller = len(first | second), min(len(first), len(second))
    assert found.jaccard[0, 1] == pytest.approx(len(first & second) / either if either else np.nan, nan_ok=True)
    assert found.overlap_coefficient[0, 1] == pytest.approx(
        len(first & second) / smaller if smaller else np.nan, nan_ok=True
    )
    assert found.heads_of("first") == first
    assert found.shared() == found.shared("first", "second") == first & second
    assert found.only("second") == second - first


@laws
@given(alphas(RAGGED), alphas(RAGGED))
def test_rank_biased_overlap_is_that_of_the_textbook(first: HeadGates, second: HeadGates) -> None:
    found = head_overlap({"first": first, "second": second}).rank_biased[0, 1]
    assert found == pytest.approx(textbook_rank_biased(first, second), rel=1e-5, nan_ok=True)


@laws
@given(st.lists(alphas(RAGGED), min_size=2, max_size=5))
def test_specificity_sums_to_nothing_over_records(records: list[HeadGates]) -> None:
    found = head_overlap(named(records))
    assert found.specificity.sum(axis=0) == pytest.approx(np.zeros(RAGGED.shape), abs=1e-5)
    assert not found.specificity[:, ~RAGGED.mask].any()


# Planted truths


def test_the_head_that_one_task_alone_opens_is_specific_to_it() -> None:
    found = head_overlap(
        {"a": gates_of("L0H0", "L0H1"), "b": gates_of("L0H0", "L1H2"), "c": gates_of("L0H0"), "d": gates_of("L0H0")}
    )
    assert found.specificity[1, 1, 2] == 1
    assert found.specificity[0, 1, 2] == pytest.approx(-1 / 3)
    assert not found.specificity[:, 0, 0].any()


def test_a_planted_overlap_has_the_p_value_worked_out_by_hand() -> None:
    planted = [
        # layer 0: 2 and 2 of 4 share 2, 1, 0 with 1/6, 4/6, 1/6; layer 1: 1 and 1 of 4 share 1 with 1/4
        (["L0H0", "L0H1", "L1H0"], ["L0H0", "L0H1", "L1H0"], 1 / 6 * 1 / 4),
        (["L0H0", "L0H1", "L1H0"], ["L0H0", "L0H1", "L1H3"], 1 / 6 + 4 / 6 * 1 / 4),
        (["L0H0", "L0H1", "L1H0"], ["L0H2", "L0H3", "L1H1"], 1),
        (["L0H0"], ["L1H0"], 1),  # never in the same layer: nothing to share
        (["L0H0", "L0H1", "L0H2", "L0H3"], ["L0H0", "L0H1", "L0H2", "L0H3"], 1),  # a whole layer is shared anyway
        (["L0H0", "L0H1", "L0H2"], ["L0H0", "L0H1", "L0H3"], 1),  # 3 and 3 of 4 share at least 2
    ]
    for first, second, p_value in planted:
        found = head_overlap(gates_of(*first), gates_of(*second))
        assert found.p_value[0, 1] == found.q_value[0, 1] == pytest.approx(p_value), (first, second)


def test_heads_in_the_same_layers_are_no_evidence_but_the_same_heads_in_them_are() -> None:
    grid = HeadGrid.full(8, 8)
    late = HeadSet.of(grid, [Head(layer, head) for layer in (6, 7) for head in range(4)])
    records = {"late": HeadGates.of(late), "again": HeadGates.of(late)}
    records |= {f"r{i}": HeadGates.of(HeadSet.random_like(late, seed=i)) for i in range(4)}
    found = head_overlap(records)
    assert found.p_value[0, 1] == pytest.approx(1 / 70**2)  # one of (8 choose 4) sets in either layer
    assert found.p_value[0, 2:].min() > 0.05


def test_p_values_of_chance_are_exact_at_every_level_that_they_take() -> None:
    chance = pairs(head_overlap(chance_sets(120, seed=1)), "p_value")
    levels = np.unique(chance)
    assert len(levels) > 8
    for level in levels:
        assert np.mean(chance <= level) == pytest.approx(level, abs=4 * float(np.sqrt(level / len(chance))))


def test_p_values_of_chance_are_valid_at_levels_between() -> None:
    records = {f"r{i}": HeadGates(grid=GRID, values=fake_alphas(f"r{i}")) for i in range(60)}  # layer counts differ
    chance = pairs(head_overlap(records), "p_value")
    for level in (0.001, 0.01, 0.05, 0.1, 0.3):
        assert np.mean(chance <= level) <= level + 4 * np.sqrt(level / len(chance)), level


def test_among_records_of_chance_the_false_discovery_rate_lets_hardly_any_pair_through() -> None:
    rejecting = [bool((pairs(head_overlap(chance_sets(15, seed=s)), "q_value") <= 0.05).any()) for s in range(60)]
    assert np.mean(rejecting) <= 0.05


def test_a_pair_that_shares_its_heads_is_found_among_records_of_chance() -> None:
    records = chance_sets(20, seed=3)
    found = head_overlap(records | {"twin": records["r7"]}).frame()
    hit = found[found["q_value"] <= 0.01]
    assert hit[["record", "other"]].to_numpy().tolist() == [["r7", "twin"]]


# Edges


def test_scores_that_are_no_gates_are_compared_by_their_top_k() -> None:
    values = np.linspace(-40, 40, 40).reshape(4, 10).astype(np.float32)
    grid = HeadGrid.full(4, 10)
    found = head_overlap({"cie": scores_of(values, grid=grid), "gates": HeadGates.constant(grid, 0.9)})
    assert not found.gates and found.threshold is None
    assert found.k == 4
    assert str(found.heads_of("cie")) == "{L3H9, L3H8, L3H7, L3H6}"
    assert not found.heads_of("gates") and np.isnan(found.jaccard_top[0, 1])
    assert head_overlap(gates_of("L0H0", "L0H1"), threshold=None).k == 1
    with pytest.raises(InputError, match="cie"):  # nothing that was asked for is left out in silence
        head_overlap({"cie": scores_of(values, grid=grid), "gates": HeadGates.constant(grid, 0.9)}, threshold=0.5)


def test_the_top_sets_have_the_median_size_of_the_sets_unless_k_is_given() -> None:
    records = [gates_of("L0H0"), gates_of("L0H0", "L0H1", "L1H0"), gates_of(*map(str, TWO_BY_FOUR))]
    assert head_overlap(records).k == 3
    assert head_overlap(records).jaccard_top[0, 1] == pytest.approx(2 / 4)  # L0H2 fills the first up
    assert head_overlap(records, k=1).jaccard_top[0, 1] == 1


# What comes in and goes out


def test_the_frame_has_one_row_a_pair_with_every_measure() -> None:
    found = head_overlap({"a": gates_of("L0H0", "L0H1"), "b": gates_of("L0H0"), "c": gates_of("L1H0", "L1H1")})
    table = found.frame()
    assert list(table.columns) == ["record", "other", "n_shared", "n_record", "n_other", "findable", *MEASURES]
    counts = table[["record", "other", "n_shared", "n_record", "n_other"]].to_numpy().tolist()
    assert counts == [["a", "b", 1, 2, 1], ["a", "c", 0, 2, 2], ["b", "c", 0, 1, 2]]
    assert table["jaccard"].tolist() == [0.5, 0, 0]
    assert table["p_value"].tolist() == [0.5, 1, 1]
    assert table["q_value"].tolist() == [1, 1, 1]


def test_the_frame_of_heads_has_one_row_for_each_head_that_a_record_has() -> None:
    rising = HeadGates(grid=RAGGED, values=np.arange(12).reshape(3, 4) / 16 * RAGGED.mask)
    table = head_overlap({"a": gates_of("L0H0", grid=RAGGED), "b": rising}).heads_frame()
    assert list(table.columns) == ["record", "layer", "head", "score", "in_set", "specificity"]
    assert len(table) == 2 * len(RAGGED)
    assert table.iloc[-1].tolist() == ["b", 2, 1, 9 / 16, True, 9 / 16]
    assert not table["in_set"].iloc[-2]  # 8 / 16 is not above the threshold
