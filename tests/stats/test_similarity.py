"""Correlations of rows: those of numpy and scipy, and a number where these have none."""

import numpy as np
from scipy.stats import spearmanr

from site_lens.stats.similarity import correlation, rank_correlation


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
