import pytest
from hypothesis import given
from hypothesis import strategies as st

from site_lens.heads.head_set import Head, HeadGrid, HeadSet
from site_lens.records.errors import MismatchError
from tests.samples import laws

grids = st.lists(st.integers(0, 5), min_size=1, max_size=6).filter(any).map(lambda heads: HeadGrid(tuple(heads)))


def subsets(grid: HeadGrid) -> st.SearchStrategy[HeadSet]:
    return st.frozensets(st.sampled_from(list(grid))).map(lambda heads: HeadSet(grid, heads))


one_set = grids.flatmap(subsets)
three_sets = grids.flatmap(lambda grid: st.tuples(subsets(grid), subsets(grid), subsets(grid)))


def empty(grid: HeadGrid) -> HeadSet:
    return HeadSet(grid, frozenset())


@laws
@given(three_sets)
def test_the_algebra_of_sets_holds(sets: tuple[HeadSet, HeadSet, HeadSet]) -> None:
    a, b, c = sets
    assert (a | b, a & b, a ^ b) == (b | a, b & a, b ^ a)
    assert ((a | b) | c, (a & b) & c) == (a | (b | c), a & (b & c))
    assert (a & (b | c), a | (b & c)) == ((a & b) | (a & c), (a | b) & (a | c))
    assert (~(a | b), ~(a & b)) == (~a & ~b, ~a | ~b)
    assert (a - b, a ^ b) == (a & ~b, (a - b) | (b - a))
    assert (a <= b) == (a & b == a) == (len(a - b) == 0)
    assert (a >= b) == (b <= a)
    assert (~~a, a & ~a, len(a) + len(~a)) == (a, empty(a.grid), len(a.grid))


@laws
@given(one_set)
def test_a_set_survives_the_way_through_its_mask_and_through_its_names(heads: HeadSet) -> None:
    assert HeadSet.from_mask(heads.grid, heads.mask()) == heads
    assert HeadSet.of(heads.grid, [str(head) for head in heads]) == heads
    assert list(heads) == sorted(heads.heads)
    assert all(head in heads and str(head) in heads for head in heads)


@laws
@given(one_set, st.integers(0, 2**32))
def test_a_random_set_has_the_size_asked_for_in_all_or_in_every_layer_and_hangs_on_the_seed_alone(
    heads: HeadSet, seed: int
) -> None:
    drawn, matched = HeadSet.random(heads.grid, len(heads), seed=seed), HeadSet.random_like(heads, seed=seed)
    assert len(drawn) == len(heads)
    assert matched.mask().sum(axis=1).tolist() == heads.mask().sum(axis=1).tolist()
    assert drawn == HeadSet.random(heads.grid, len(heads), seed=seed)
    assert matched == HeadSet.random_like(heads, seed=seed)


@laws
@given(grids)
def test_a_grid_counts_lists_and_masks_the_same_heads(grid: HeadGrid) -> None:
    assert len(list(grid)) == len(grid) == int(grid.mask.sum())
    assert grid.mask.shape == grid.shape
    assert all(head in grid and grid.mask[head.layer, head.head] for head in grid)


@laws
@given(st.integers(0, 999), st.integers(0, 999))
def test_a_head_is_read_back_from_its_name_and_from_dots(layer: int, head: int) -> None:
    assert Head.parse(str(Head(layer, head))) == Head.parse(f" {layer}.{head} ") == Head(layer, head)


def test_a_ragged_grid_has_no_heads_beyond_the_width_of_a_layer() -> None:
    grid = HeadGrid((2, 0, 3))
    assert grid.shape == (3, 3)
    assert [name in grid for name in ("L0H2", "L1H0", "L2H2", "L3H0")] == [False, False, True, False]
    assert "L0H0" in grid
    assert str(grid) == "3 layers x up to 3 heads"
    assert str(HeadGrid.full(3, 2)) == "3 layers x 2 heads"


def test_sets_of_different_grids_do_not_mix() -> None:
    a, b = empty(HeadGrid.full(2, 2)), empty(HeadGrid.full(2, 3))
    for mixed in (lambda: a | b, lambda: a & b, lambda: a - b, lambda: a ^ b, lambda: a <= b):
        with pytest.raises(MismatchError, match=r"different grids: 2 layers x 2 heads and 2 layers x 3 heads"):
            mixed()
