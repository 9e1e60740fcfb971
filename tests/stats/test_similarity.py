"""Similarities of rows: those of numpy, scipy and set algebra, and a number where these have none."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from site_lens.stats.similarity import correlation, jaccard, overlap_coefficient, rank_correlation


def test_correlations_are_those_of_numpy_and_scipy_and_0_with_a_constant_row() -> None:
    rows = np.random.default_rng(0).normal(size=(4, 30)).round(1)  # with ties
    rows[3] = 0.25
    for found, expected in (
        (correlation(rows), np.corrcoef(rows[:3])),
        (rank_correlation(rows), spearmanr(rows[:3], axis=1).statistic),
    ):
        np.testing.assert_allclose(found[:3, :3], expected, atol=1e-12)
        np.testing.assert_array_equal(found[3], 0)
        np.testing.assert_array_equal(found, found.T)


def test_shares_of_sets_are_those_of_set_algebra_and_unknown_where_nothing_can_be_shared() -> None:
    sets = np.array([[1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]], dtype=bool)
    assert jaccard(sets)[0, 1] == pytest.approx(1 / 4)
    assert overlap_coefficient(sets)[0, 1] == pytest.approx(1 / 2)
    np.testing.assert_array_equal(jaccard(sets)[2], [0, 0, np.nan])
    np.testing.assert_array_equal(overlap_coefficient(sets)[2], [np.nan] * 3)
