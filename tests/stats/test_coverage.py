"""Coverage of the intervals, simulated: they cover what they say, or more."""

from collections.abc import Callable, Iterable

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from site_lens.stats.intervals import (
    Interval,
    clustered_difference,
    clustered_proportion,
    mean_interval,
    median_range,
    paired_difference,
    range_confidence,
    wilson,
)
from site_lens.stats.paired_tests import Drawn, Paired

N_RUNS = 2000
LEAST = 0.93
"""Least coverage at a nominal 95 %. A coverage of 95 % is measured to .005 (one standard error) in 2,000 runs."""

Situations = Iterable[tuple[str, NDArray[np.float64], float]]
"""Each with its name, the values (run task), and their true mean."""


def coverage(intervals: Iterable[Interval], truth: ArrayLike, times: NDArray[np.int64] | None = None) -> float:
    """Return how often intervals hold the truth, one of all or one each; they count as often as `times` says."""
    low, high = np.array([(one.low, one.high) for one in intervals]).T
    return float(np.average((low <= truth) & (truth <= high), weights=times))


def tasks_that_tie() -> Situations:
    """Accuracies of tasks: Beta(4, 1.5), and 1.0 for a share of the tasks."""
    stream = np.random.default_rng(0)
    for tied in (0.0, 0.5, 0.8, 0.9):
        for n in (2, 3, 5, 8, 16):
            found = stream.beta(4, 1.5, (N_RUNS, n))
            found[stream.random((N_RUNS, n)) < tied] = 1.0
            yield f"{n} tasks, {tied:.0%} of them at 1.0", found, tied + (1 - tied) * 4 / 5.5


def tasks_of_few_queries() -> Situations:
    """Accuracies that are shares of few queries."""
    stream = np.random.default_rng(1)
    for n_queries in (11, 42):
        for n in (3, 5, 8, 16):
            skill = stream.beta(4, 1.5, (N_RUNS, n))
            yield f"{n} tasks of {n_queries} queries", stream.binomial(n_queries, skill) / n_queries, 4 / 5.5


def gains_of_nothing() -> Situations:
    """Gains, most of which are none."""
    stream = np.random.default_rng(2)
    for nothing in (0.0, 0.5, 0.8):
        for n in (3, 5, 8, 16):
            gains = stream.normal(0.1, 0.1, (N_RUNS, n))
            gains[stream.random((N_RUNS, n)) < nothing] = 0.0
            yield f"{n} tasks, {nothing:.0%} without a gain", gains, 0.1 * (1 - nothing)


@pytest.mark.parametrize("situations", [tasks_that_tie, tasks_of_few_queries, gains_of_nothing])
def test_intervals_of_a_mean_over_tasks_cover_also_where_tasks_tie(situations: Callable[[], Situations]) -> None:
    for name, runs, truth in situations():
        found = [mean_interval(one) for one in runs]
        assert coverage(found, truth) >= LEAST, name
        assert all(one.high > one.low for one in found), name


def test_the_range_of_a_few_set_sizes_holds_their_median_as_often_as_it_says_ties_and_jumps_included() -> None:
    stream = np.random.default_rng(0)
    jumping = np.array([5] * 6 + [9] * 4)  # the median is 5, the mean 6.6
    for n in (2, 3, 6):
        for draws, median in (
            (stream.poisson(6.0, (N_RUNS, n)), 6),
            (stream.choice(jumping, (N_RUNS, n)), 5),
            (stream.normal(0, 1, (N_RUNS, n)), 0),
        ):
            assert coverage(map(median_range, draws), median) >= range_confidence(n) - 0.03, f"{n} fits"
    continuous = map(median_range, stream.normal(0, 1, (N_RUNS, 3)))
    assert abs(coverage(continuous, 0) - 0.75) < 0.03  # and is no wider than that


def test_intervals_over_sets_of_demonstrations_cover_and_those_of_independent_queries_do_not() -> None:
    stream = np.random.default_rng(6)
    for n_sets, n, middle, spread in (
        (5, 100, 0.0, 1.0),
        (10, 200, 2.0, 1.0),
        (10, 30, -2.0, 0.5),
        (10, 200, 4.0, 0.0),
    ):
        sets = np.arange(n) % n_sets
        truth = float(expit(middle + spread * stream.normal(size=10**5)).mean())
        chances = expit(middle + spread * stream.normal(size=(1000, n_sets)))[:, sets]
        right, other = (stream.random((1000, n)) < chances).astype(float), stream.random((1000, n)) < 0.6
        shares = [clustered_proportion(one, sets) for one in right]
        assert coverage(shares, truth) >= LEAST, f"{n_sets} sets of {n} queries"
        gains = [clustered_difference(one - two, sets) for one, two in zip(right, other, strict=True)]
        assert coverage(gains, truth - 0.6) >= LEAST
        if spread == 1.0:
            independent = [wilson(int(one.sum()), n) for one in right]
            assert coverage(independent, truth) < 0.8


def test_a_difference_over_sets_is_found_by_chance_in_one_of_twenty_at_most() -> None:
    stream, sets = np.random.default_rng(7), np.arange(100) % 10
    chances = expit(stream.normal(size=(1000, 10)))[:, sets]
    right, other = (stream.random((1000, 100)) < chances).astype(float), stream.random((1000, 100)) < 0.5
    pairs = list(zip(right, other, strict=True))
    verdicts = [Paired.of(one, two, over="queries", clusters=sets.tolist()).verdict for one, two in pairs]
    unclustered = [Paired.of(one, two, over="queries").verdict for one, two in pairs]
    assert np.mean([found != "not found" for found in verdicts]) <= 0.06
    assert np.mean([found != "not found" for found in unclustered]) > 0.1


def test_paired_intervals_cover_over_queries() -> None:
    stream = np.random.default_rng(3)
    for up, down in ((0.0, 0.0), (0.02, 0.0), (0.1, 0.02), (0.3, 0.3), (0.6, 0.05), (0.9, 0.0), (1.0, 0.0)):
        for n in (10, 20, 42, 100, 500):
            kinds = stream.choice([1.0, -1.0, 0.0], (N_RUNS, n), p=[up, down, 1 - up - down])
            counts = np.stack([(kinds == 1).sum(1), (kinds == -1).sum(1)], axis=1)
            distinct, times = np.unique(counts, axis=0, return_counts=True)  # runs with the same counts are the same
            found = [paired_difference(np.repeat([1.0, -1, 0], [a, b, n - a - b])) for a, b in distinct]
            assert coverage(found, up - down, times) >= LEAST, f"{n} queries, {up} for and {down} against"


def test_wilsons_interval_covers_on_average_over_accuracies() -> None:
    stream = np.random.default_rng(4)
    for n in (20, 42, 100):
        skill = stream.uniform(0, 1, N_RUNS)
        found = [wilson(int(right), n) for right in stream.binomial(n, skill)]
        assert coverage(found, skill) >= LEAST, f"{n} queries"


def test_a_verdict_without_a_difference_is_given_to_at_most_5_percent() -> None:
    stream = np.random.default_rng(5)
    drawn: list[tuple[Drawn, int, NDArray[np.float64]]] = [
        ("tasks", n, stream.beta(4, 1.5, (400, n)) - stream.beta(4, 1.5, (400, n))) for n in (6, 8, 16)
    ]
    drawn += [("queries", n, stream.choice([1.0, -1.0, 0.0], (400, n), p=[0.2, 0.2, 0.6])) for n in (30, 100)]
    for over, n, runs in drawn:
        wrong = np.mean([Paired.of(one, over=over).verdict != "not found" for one in runs])
        assert wrong <= 0.06, f"{n} {over}: {wrong:.3f}"
