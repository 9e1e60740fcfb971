"""Variance components recover what was planted."""

import numpy as np
import pytest

import site_lens as sl
from site_lens.records.hashing import seed_stream
from site_lens.stats.variance_components import two_way


def test_planted_components_are_recovered() -> None:
    stream = seed_stream("variance")
    rows, columns = stream.normal(0, 2, (40, 1, 500)), stream.normal(0, 1, (1, 40, 500))
    found = two_way((rows + columns + stream.normal(0, 0.5, (40, 40, 500))).astype(np.float32))
    assert found.first == pytest.approx(4, rel=0.05)
    assert found.second == pytest.approx(1, rel=0.05)
    assert found.rest == pytest.approx(0.25, rel=0.02)
    assert found.total == found.first + found.second + found.rest


def test_the_formulas_are_those_of_the_analysis_of_variance() -> None:
    y = np.array([[1, 2, 6], [3, 4, 5]], dtype=np.float32)
    found = two_way(y)
    between = 3 * ((y.mean(1) - y.mean()) ** 2).sum()
    columns = 2 * ((y.mean(0) - y.mean()) ** 2).sum() / 2
    rest = (((y - y.mean()) ** 2).sum() - between - 2 * columns) / 2
    assert found.rest == pytest.approx(rest)
    assert found.second == pytest.approx((columns - rest) / 2)


def test_an_estimate_below_zero_is_given_as_0_and_named() -> None:
    found = two_way(np.array([[0, 1], [1, 0]], dtype=np.float32))
    assert (found.first, found.second, found.negative) == (0, 0, ("first", "second"))
    assert found.rest == 1


def test_a_factor_of_one_level_is_refused() -> None:
    with pytest.raises(sl.InputError, match="at least two levels"):
        two_way(np.zeros((1, 3), dtype=np.float32))
