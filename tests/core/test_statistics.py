from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from site_lens.core.errors import InputError
from site_lens.core.records import Float32
from site_lens.core.statistics import Interval, bootstrap_mean, paired_difference, wilson
from tests.core.conftest import laws

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


@laws
@given(counts)
def test_wilsons_interval_lies_in_0_to_1_holds_the_share_and_mirrors(count: tuple[int, int]) -> None:
    right, n = count
    found, mirrored = wilson(right, n), wilson(n - right, n)
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1
    assert found.low == pytest.approx(1 - mirrored.high, abs=1e-12)


def test_wilsons_interval_of_7_in_10_is_that_of_the_textbooks() -> None:
    assert str(wilson(7, 10)) == "0.700 [0.397, 0.892]"


def test_more_observations_and_less_confidence_narrow_the_interval() -> None:
    def width(interval: Interval) -> float:
        return interval.high - interval.low

    assert width(wilson(50, 100)) < width(wilson(5, 10))
    assert width(wilson(5, 10, confidence=0.5)) < width(wilson(5, 10))


@laws
@given(observations)
def test_a_bootstrap_is_the_same_every_time_and_holds_the_mean(values: Float32) -> None:
    found = bootstrap_mean(values, n_resamples=500)
    assert found == bootstrap_mean(values.copy(), n_resamples=500)
    assert found.value == pytest.approx(float(values.mean()))
    assert found.n == len(values)
    assert values.min() - 1e-6 <= found.low <= found.value + 1e-6
    assert found.value - 1e-6 <= found.high <= values.max() + 1e-6


@pytest.mark.parametrize("values", [[0.25], [0.25, 0.25, 0.25]])
def test_values_that_do_not_vary_have_an_interval_of_no_width(values: list[float]) -> None:
    found = bootstrap_mean(np.array(values, dtype=np.float32))
    assert (found.value, found.low, found.high, found.n) == (0.25, 0.25, 0.25, len(values))


def test_a_bootstrap_of_many_normal_numbers_agrees_with_their_standard_error() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400).astype(np.float32)
    found = bootstrap_mean(values)
    error = float(values.std()) / sqrt(len(values))
    assert found.low == pytest.approx(float(values.mean()) - Z * error, abs=0.2 * error)
    assert found.high == pytest.approx(float(values.mean()) + Z * error, abs=0.2 * error)


def test_another_seed_draws_other_resamples_of_the_same_mean() -> None:
    values = np.arange(20, dtype=np.float32)
    a, b = bootstrap_mean(values, seed=0), bootstrap_mean(values, seed=1)
    assert a.value == b.value
    assert (a.low, a.high) != (b.low, b.high)


def test_an_estimate_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="an estimate needs at least one observation, got none"):
        wilson(0, 0)
    with pytest.raises(InputError, match="an estimate needs at least one observation, got none"):
        bootstrap_mean(np.zeros(0, dtype=np.float32))


def test_a_paired_difference_without_discordant_queries_does_not_claim_certainty() -> None:
    same = np.ones(20, dtype=np.float32)
    found = paired_difference(same, same)
    assert found.value == 0
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 20))  # the exact bound for 0 of 20
    assert found.low == -found.high
    one = paired_difference(np.ones(1, dtype=np.float32), np.zeros(1, dtype=np.float32))
    assert one.high == 1
    assert one.low < 0.1


def test_a_paired_difference_is_the_bootstrap_of_the_differences() -> None:
    right = np.array([1, 1, 1, 0, 1, 0, 1, 1], dtype=np.float32)
    other = np.array([0, 1, 0, 0, 1, 1, 0, 1], dtype=np.float32)
    assert paired_difference(right, other) == bootstrap_mean(right - other)
