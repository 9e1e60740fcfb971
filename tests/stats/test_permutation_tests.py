"""Permutation tests between tasks: exact where few, uniform under nothing, sure where all is planted."""

import numpy as np
import pytest

import site_lens as sl
from site_lens.records.hashing import seed_stream
from site_lens.stats.permutation_tests import family_gap, mantel


def test_a_matrix_goes_along_with_itself() -> None:
    values = seed_stream("matrix").random((6, 6))
    found = mantel(values, values)
    assert found.value == pytest.approx(1)
    assert found.p_value == pytest.approx(1 / 720)  # of all orders of six tasks the identity alone reaches 1


def test_p_values_of_unrelated_matrices_are_uniform() -> None:
    stream = seed_stream("unrelated")
    found = [mantel(stream.random((5, 5)), stream.random((5, 5))).p_value for _ in range(200)]
    assert np.mean(np.array(found) <= 0.05) < 0.1
    assert 0.4 < np.mean(found) < 0.6


def test_unknown_cells_are_left_out() -> None:
    values = seed_stream("unknown").random((6, 6))
    holes = values.copy()
    holes[:, 2] = np.nan
    assert mantel(holes, values).value > 0.99


def test_a_block_within_families_is_found() -> None:
    families = ["x", "x", "x", "y", "y", "y"]
    same = np.array(families)[:, None] == np.array(families)[None, :]
    found = family_gap(np.where(same, 0.9, 0.2), families)
    assert found.value == pytest.approx(0.7)
    assert found.p_value == pytest.approx(72 / 720)  # permutations that keep the two families, or swap them


def test_more_tasks_are_permuted_at_random_with_the_same_seed() -> None:
    values = seed_stream("many").random((9, 9))
    assert mantel(values, values) == mantel(values, values)
    assert mantel(values, values).p_value == pytest.approx(1 / 2000)


def test_too_few_tasks_and_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(sl.InputError, match="at least 4"):
        mantel(np.eye(3), np.eye(3))
    with pytest.raises(sl.InputError, match="square"):
        mantel(np.eye(4), np.eye(5))
    with pytest.raises(sl.InputError, match="two of different ones"):
        family_gap(np.eye(4), ["x"] * 4)


def test_permutations_that_leave_nothing_to_compare_are_no_draws() -> None:
    values = np.full((8, 8), np.nan)
    values[:, 0] = [np.nan, 0.9, 0.8, 0.6, 0.5, 0.4, 0.2, 0.1]  # a single target gained anything
    found = family_gap(values, ["x", "x", *[None] * 6])
    assert found.p_value == pytest.approx(1 / 7, abs=0.04)  # the one pair of a family is the best of seven cells
    assert found.p_value > 0.05
    nothing_varies = mantel(np.ones((5, 5)), seed_stream("any").random((5, 5)))
    assert (nothing_varies.value, nothing_varies.p_value) == (0, 1)
