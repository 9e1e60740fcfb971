"""What a test could have found is stated where nothing was found."""

import numpy as np
import pytest

import site_lens as sl
from site_lens.report.selectors import _power
from site_lens.stats.permutation_tests import mantel
from site_lens.stats.set_overlap import pair_by_chance


def test_sharing_the_findable_number_of_heads_is_found_and_one_head_fewer_is_not() -> None:
    heads, one, other = (8, 8, 8), (3, 2, 1), (3, 1, 2)
    at_least = np.cumsum(pair_by_chance(heads, one, other)[::-1])[::-1]
    assert at_least[0] == pytest.approx(1)
    grid = sl.HeadGrid((8, 8, 8))
    first, second = np.zeros((3, 8)), np.zeros((3, 8))
    for layer, (a, b) in enumerate(zip(one, other, strict=True)):
        first[layer, :a], second[layer, :b] = 1, 1
    scores = [sl.HeadScores(grid=grid, values=v, selector=n, meaning="x") for n, v in (("a", first), ("b", second))]
    found = sl.head_overlap(*scores, threshold=None, k=6)
    assert found.findable is not None
    fewest = int(found.findable[0, 1])
    assert at_least[fewest] <= 0.05 < at_least[fewest - 1]


def test_equal_top_sets_that_no_test_tells_from_chance_are_said_to_be_so() -> None:
    grid = sl.HeadGrid((2, 2))
    stream = np.random.default_rng(0)
    scores = {
        name: sl.ScoresByTask(
            sl.HeadScores(grid=grid, values=stream.random((2, 2)), selector=name, task=f"t{i}", meaning="x")
            for i in range(4)
        )
        for name in ("site", "other")
    }
    found = sl.compare_selectors(scores, k=1)
    assert (found.testable() == 0)[0, 1]  # type: ignore[index]
    assert _power(found).startswith("Among so many tests no sets")


def test_a_correlation_above_the_findable_one_is_significant() -> None:
    stream = np.random.default_rng(0)
    for n in (5, 9):
        one, other = stream.random((n, n)), stream.random((n, n))
        found = mantel(one, other)
        assert (found.p_value < 0.05) == (found.value > found.findable)
        same = mantel(one, one)
        assert same.value > same.findable or n < 5
