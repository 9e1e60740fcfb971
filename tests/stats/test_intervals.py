from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from site_lens.records.base import Float32
from site_lens.records.errors import InputError
from site_lens.stats.intervals import (
    correlation_interval,
    mean_interval,
    paired_difference,
    paired_share,
    rounded_up,
    share_interval,
    wilson,
)
from tests.samples import laws

Z = 1.959963984540054
"""The 97.5% point of the standard normal distribution."""

counts = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
observations = arrays.arrays(np.float32, st.integers(1, 40), elements=st.sampled_from([-1.0, 0.0, 0.25, 1.0]))


@laws
@given(counts)
def test_wilsons_interval_is_the_formula_worked_by_hand(count: tuple[int, int]) -> None:
    right, n = count
    p = right / n
    middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    reach = Z / (1 + Z**2 / n) * sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    found = wilson(right, n)
    assert (found.value, found.n) == (p, n)
    assert found.low == pytest.approx(middle - reach, abs=1e-12)
    assert found.high == pytest.approx(middle + reach, abs=1e-12)
    assert str(wilson(7, 10)) == "0.700 [0.397, 0.892]"  # as textbooks have it


@laws
@given(observations)
def test_intervals_hold_their_mean_have_a_width_and_do_not_hang_on_the_order(values: Float32) -> None:
    for estimate in (mean_interval, paired_difference):
        found = estimate(values)
        assert found == estimate(values[::-1].copy())
        assert found.value == pytest.approx(float(values.mean(dtype=np.float64)))
        assert found.n == len(values)
        assert found.low <= found.value <= found.high
        assert found.low < found.high


def test_a_mean_has_the_t_interval_of_the_textbooks_over_many_tasks_and_a_width_where_all_tie() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = mean_interval(values)
    error = float(values.std(ddof=1)) / sqrt(len(values))
    assert (found.high - found.low) / 2 == pytest.approx(1.96593 * error, rel=1e-2)
    ones = mean_interval(np.ones(5))
    assert ones.value == 1 and ones.low == pytest.approx(1 - 2.776445 * sqrt(1 / 8) / 5, abs=1e-5)


def test_a_paired_interval_is_that_of_agresti_and_min() -> None:
    found = paired_difference(np.repeat([1.0, 0.0], [12, 88]), np.repeat([0.0, 1.0, 0.0], [12, 2, 86]))
    for_, against, n = 13 / 102, 3 / 102, 102
    reach = Z * sqrt((for_ + against - (for_ - against) ** 2) / n)
    assert (found.low, found.high) == pytest.approx((for_ - against - reach, for_ - against + reach))
    assert found.value == pytest.approx(0.1)


def test_a_paired_interval_grows_with_every_query_that_differs() -> None:
    found = [paired_difference(np.arange(42) < n_differing) for n_differing in (0, 1, 2, 3, 5, 8)]
    assert (np.diff([one.high - one.low for one in found]) > 0).all()


def test_a_share_holds_one_half_as_long_as_the_paired_interval_of_its_distance_holds_0() -> None:
    stream = np.random.default_rng(0)
    for _ in range(200):
        n = int(stream.integers(30, 80))
        whole = (stream.random(n) < 0.7).astype(float)
        part = whole * (stream.random(n) < stream.random())
        found, distance = paired_share(part, whole), paired_difference(part, whole / 2)
        assert found is not None
        assert (found.low <= 0.5 <= found.high) == (distance.low <= 0 <= distance.high)


def test_a_share_of_a_difference_that_may_be_0_is_unbounded() -> None:
    assert paired_share(np.array([1.0, 0, -1, 0]), np.array([0, 1.0, -1, 0])) is None


def test_a_correlation_over_few_pairs_may_be_anything() -> None:
    assert (correlation_interval(0.9, 3).low, correlation_interval(0.9, 3).high) == (-1, 1)
    found = correlation_interval(0.5, 48)
    assert str(found) == "0.500 [0.252, 0.687]"  # Fisher's z by hand: .549 and 1.96 / sqrt(45)


def test_an_estimate_of_nothing_is_refused() -> None:
    for estimate in (mean_interval, paired_difference):
        with pytest.raises(InputError):
            estimate(np.zeros(0))
    with pytest.raises(InputError):
        wilson(0, 0)


@laws
@given(size=st.floats(0, 10), decimals=st.integers(1, 4))
def test_the_smallest_effect_that_would_be_found_is_never_rounded_below_itself(size: float, decimals: int) -> None:
    assert size <= float(rounded_up(size, decimals)) < size + 1.01 * 10**-decimals
    assert rounded_up(0.1134, 3) == "0.114" and rounded_up(0.5, 3) == "0.500"


def test_the_interval_of_an_accuracy_stays_between_0_and_1() -> None:
    assert share_interval([0.0] * 10) == wilson(0, 10)
    assert share_interval([1.0, 0.0, 1.0]) == wilson(2, 3)
    for shares in ([0.0, 0.5], [1.0] * 9 + [0.5], [0.3] * 20):
        found = share_interval(shares)
        assert 0 <= found.low <= found.value <= found.high <= 1
        assert found.value == pytest.approx(np.mean(shares))
