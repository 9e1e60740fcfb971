import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from site_lens.heads.head_set import Head, HeadGrid, HeadSet
from site_lens.heads.scores import HeadGates, HeadScores
from site_lens.records.base import Float32
from site_lens.records.errors import InputError, MismatchError
from tests.samples import laws

GRID = HeadGrid((3, 0, 4, 2))


def scores_of(values: Float32) -> HeadScores:
    return HeadScores(grid=GRID, values=values * GRID.mask, selector="test", meaning="planted")


def numbers(low: float, high: float) -> st.SearchStrategy[Float32]:
    return arrays.arrays(np.float32, GRID.shape, elements=st.floats(low, high, width=32))


scores = numbers(-10, 10).map(scores_of)
gates = numbers(0, 1).map(lambda values: HeadGates(grid=GRID, values=values * GRID.mask))


@laws
@given(scores, st.integers(0, len(GRID)))
def test_the_top_k_heads_are_k_and_none_outside_scores_higher(found: HeadScores, k: int) -> None:
    top = found.top(k)
    assert len(top) == (0 if found.is_flat and k < len(GRID) else k)
    assert [head for head, _ in top.ranked] == list(top) == sorted(top, key=lambda head: (-found[head], head))
    assert top == HeadSet.of(GRID, list(top)) and top | ~top == HeadSet(GRID, frozenset(GRID))
    assert all(found[inside] >= found[outside] for inside in top for outside in ~top)


@laws
@given(scores, st.integers(0, len(GRID) - 1))
def test_top_sets_grow_by_one_head_at_a_time_in_order_of_rank(found: HeadScores, k: int) -> None:
    top = found.top(k)
    assert top <= found.top(k + 1)
    table = found.frame()
    ranked = {Head(int(row["layer"]), int(row["head"])) for _, row in table[table["rank"] <= k].iterrows()}
    assert top.heads <= ranked
    assert found.is_flat or len(ranked) == (k + top.n_tied if k else 0)


@laws
@given(scores, st.floats(-10, 10, width=32), st.floats(-10, 10, width=32))
def test_heads_above_a_threshold_score_higher_and_shrink_as_it_rises(found: HeadScores, a: float, b: float) -> None:
    assert all((found[head] > a) == (head in found.above(a)) for head in GRID)
    assert found.above(max(a, b)) <= found.above(min(a, b))


@laws
@given(gates)
def test_hard_gates_are_0_or_1_and_stay_so(soft: HeadGates) -> None:
    hard = soft.hard()
    assert set(np.unique(hard.values)) <= {0, 1}
    assert hard.hard() == hard
    assert hard.above(0.5) == soft.above(0.5)
    assert hard.mass() == len(soft.above(0.5))
    assert hard.undecided() == 0


@laws
@given(gates, st.frozensets(st.sampled_from(list(GRID))))
def test_gates_fall_into_those_of_a_head_set_and_those_of_its_complement(
    soft: HeadGates, heads: frozenset[Head]
) -> None:
    chosen = HeadSet(GRID, heads)
    kept, closed, opened = soft.only(chosen), soft.only(~chosen), HeadGates.of(chosen, task="antonym")
    assert np.array_equal(kept.values + closed.values, soft.values)
    assert not np.any(kept.values[closed.values > 0])
    assert soft.only(chosen).only(chosen) == kept
    assert (opened.above(0.5), opened.mass(), opened.task) == (chosen, len(chosen), "antonym")


def test_a_score_at_the_threshold_is_not_above_it() -> None:
    assert len(HeadGates.constant(GRID, 0.5).above(0.5)) == 0
    assert HeadGates.constant(GRID, 0.5).hard().mass() == 0
    assert HeadGates.constant(GRID, 0.5).hard(0.25).mass() == len(GRID)
    assert HeadGates.constant(GRID, 0.9).undecided(0.1, 0.9) == HeadGates.constant(GRID, 0.95).undecided() == 0


def test_heads_that_tie_at_the_cut_are_taken_in_order_and_counted() -> None:
    values = np.ones(GRID.shape, dtype=np.float32)
    values[3, 1] = 2
    top = scores_of(values).top(4)
    assert str(top) == "{L3H1, L0H0, L0H1, L0H2}"
    assert top.n_tied == 5
    assert "L3H1 2.000" in repr(top) and "5 others" in repr(top)


def test_scores_that_are_all_alike_have_no_top_and_say_why() -> None:
    flat = HeadGates.constant(GRID, 0.5)
    top = flat.top(3)
    assert not top and top.reason and top.reason in repr(top) and top.reason in top._repr_html_()
    assert set(flat.frame()["rank"]) == {1}
    assert flat.top(len(GRID)) == HeadSet(GRID, frozenset(GRID))


@pytest.mark.parametrize("alpha", [-0.25, 1.5])
def test_gates_outside_the_unit_interval_are_refused_with_their_range(alpha: float) -> None:
    with pytest.raises(InputError, match=rf"gates lie in \[0, 1\], got .*{alpha}"):
        HeadGates.constant(GRID, alpha)


def test_gates_cannot_be_kept_by_a_head_set_of_another_grid() -> None:
    one_layer = HeadSet.of(HeadGrid.full(1, 4), ["L0H0"])  # its mask would broadcast
    with pytest.raises(MismatchError, match=r"4 layers x up to 4 heads cannot be kept by a head set over 1 layers x 4"):
        HeadGates.constant(GRID, 0.5).only(one_layer)


def test_a_rank_is_one_more_than_the_number_of_higher_heads() -> None:
    values = np.array([[0.5, 0.9, 0, 0], [0, 0, 0, 0], [0.9, 0.1, 0.5, 0.5], [1, 0.1, 0, 0]])
    scores = HeadScores(grid=GRID, values=values, selector="mask", meaning="effect")
    expected = [[4, 2, 9, 0], [0, 0, 0, 0], [2, 7, 4, 4], [1, 7, 0, 0]]  # 0 where the grid has no head
    np.testing.assert_array_equal(scores.ranks(), expected)
    assert list(scores.frame()["rank"]) == [4, 2, 9, 2, 7, 4, 4, 1, 7]
