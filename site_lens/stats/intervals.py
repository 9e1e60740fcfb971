"""Confidence intervals of accuracies, of means over tasks or queries, and of paired differences."""

from dataclasses import dataclass
from functools import cache
from math import ceil, sqrt

import numpy as np
from numpy.typing import ArrayLike

from site_lens.records.errors import InputError
from site_lens.records.type_checks import checked_methods

CONFIDENCE = 0.95
"""Nominal coverage of every interval but `median_range`."""

Z = 1.959963984540054
"""Quantile of the standard normal distribution at (1 + CONFIDENCE) / 2, written out because scipy takes long to import:
change both together."""

PRIOR_SD = sqrt(1 / 8)
"""Standard deviation that one prior observation adds to an interval of a mean: that of a proportion under Jeffreys'
prior, Beta(1/2, 1/2). Without it tasks that tie at 1.0 would have an interval of no width."""


@checked_methods
@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate, the interval around it, and how many observations stand behind it."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def __repr__(self) -> str:
        return f"Interval({self}, n={self.n})"


@cache  # a report asks for the same few hundred over and over, and scipy takes half a millisecond for each
def wilson(n_right: int, n: int) -> Interval:
    """Estimate a proportion with Wilson's score interval.

    Reference: Wilson 1927; `scipy.stats.binomtest(...).proportion_ci(method="wilson")`.
    """
    from scipy.stats import binomtest

    _need_observations(n)
    found = binomtest(n_right, n).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
    return Interval(n_right / n, float(found.low), float(found.high), n)


def mean_interval(values: ArrayLike, *, bounds: tuple[float, float] = (float("-inf"), float("inf"))) -> Interval:
    """Estimate a mean with a t interval whose variance is moderated by one prior observation.

    Of accuracies of several tasks hand in one number a task: the interval then speaks of other tasks of the kind. The
    squared deviations are joined by one of variance 1/8 (`PRIOR_SD`), and t keeps its n - 1 degrees of freedom, so
    that few tasks, and tasks that tie, have no interval that is too narrow: simulated coverage is 93 % or more for
    2 to 16 tasks, also where most of them tie at 1.0 (`tests/stats/test_coverage.py`). Percentile bootstraps of so few
    cover 49 to 94 %. The order of the values does not matter.

    Args:
        values: Accuracies, differences of accuracies, or other numbers of that scale. Of a single one the
            interval is wider than the scale: it says nothing of others.
        bounds: Least and most that the mean can be, at which the interval ends; 0 and 1 of accuracies.

    Reference: Student 1908; Smyth 2004, section 4 (moderated variances).
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    _need_observations(n)
    mean = float(ordered.mean())
    variance = (((ordered - mean) ** 2).sum() + PRIOR_SD**2) / n
    reach = float(_student(max(n - 1, 1)) * sqrt(variance / n))
    return Interval(mean, max(mean - reach, bounds[0]), min(mean + reach, bounds[1]), n)


def median_range(values: ArrayLike) -> Interval:
    """Estimate a median by the range of the values, which holds it with a confidence of `range_confidence(n)`.

    It needs independent draws of one distribution, whichever, ties included: the range misses the median only where
    all values lie above it, or all below.

    Reference: Thompson 1936 (intervals from order statistics).
    """
    found = np.asarray(values, dtype=np.float64)
    _need_observations(len(found))
    return Interval(float(np.median(found)), float(found.min()), float(found.max()), len(found))


def range_confidence(n: int) -> float:
    """Return how often the range of n draws holds their median, at least: 1 - 2^(1 - n), 75 % of three."""
    return 1 - 2.0 ** (1 - n)


def paired_difference(right: ArrayLike, other: ArrayLike = 0.0) -> Interval:
    """Estimate the mean difference of two conditions on the same queries, with the adjusted Wald interval for pairs.

    Two queries are added, one that speaks for either side. The interval is therefore never without width, grows with
    every query that the two conditions differ in, and covers what it says for few queries, too.

    Args:
        right: 1 where a query was right under the one condition, or its share of right answers.
        other: The same under the other; 0 where `right` has differences already.

    Reference: Agresti and Min 2005; Bonett and Price 2012.
    """
    differences = np.sort(np.asarray(right, dtype=np.float64) - np.asarray(other, dtype=np.float64))
    n = len(differences)
    _need_observations(n)
    middle = differences.sum() / (n + 2)
    variance = ((differences**2).sum() + 2) / (n + 2) - middle**2
    reach = Z * sqrt(variance / (n + 2))
    value, most = float(differences.mean()), max(1.0, float(np.abs(differences).max()))
    low, high = max(-most, float(middle) - reach), min(most, float(middle) + reach)
    return Interval(value, min(low, value), max(high, value), n)


def share_interval(shares: ArrayLike) -> Interval:
    """Estimate a mean of shares, one a query: Wilson's interval of right and wrong answers, else that of pairs.

    It ends at 0 and 1.

    Args:
        shares: From 0 to 1: 1 where a query is right and 0 where it is wrong, or the share of its draws that are right.
    """
    found = np.asarray(shares, dtype=np.float64)
    if np.isin(found, (0, 1)).all():
        return wilson(int(found.sum()), len(found))
    estimate = paired_difference(found)
    return Interval(estimate.value, max(0.0, estimate.low), min(1.0, estimate.high), estimate.n)


def cluster_error(values: ArrayLike, clusters: ArrayLike) -> tuple[float, int]:
    """Return the standard error of a mean of clustered values, and its degrees of freedom.

    Queries that are asked behind the same demonstrations are right or wrong together: they are a sample of clusters.

    Args:
        values: One number a query.
        clusters: Cluster of each, any labels; two clusters at least.

    Reference: Liang and Zeger 1986 (sums of residuals by cluster), with the factor G / (G - 1) of G clusters.
    """
    found, (_, place) = np.asarray(values, dtype=np.float64), np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.bincount(place, found - found.mean())
    n_clusters = len(sums)
    if n_clusters < 2:
        raise InputError("an interval over clusters needs two clusters at least, got one")
    return sqrt(n_clusters / (n_clusters - 1) * float(sums @ sums)) / len(found), n_clusters - 1


def clustered_proportion(right: ArrayLike, clusters: ArrayLike) -> Interval:
    """Estimate a proportion over clustered queries with Wilson's interval of the effective number of queries.

    Never narrower than `wilson` of as many independent queries.

    Args:
        right: 1 where a query was right, else 0.
        clusters: Cluster of each query, such as the demonstrations that were shown with it.

    Reference: Korn and Graubard 1998 (effective size, with t for the few clusters); Dean and Pagano 2015 (Wilson's).
    """
    found = np.asarray(right, dtype=np.float64)
    n, share = len(found), float(found.mean())
    independent = wilson(int(found.sum()), n)
    error, freedom = cluster_error(found, clusters)
    if not error:
        return independent
    effective = share * (1 - share) * (Z / (_student(freedom) * error)) ** 2
    if effective >= n:
        return independent
    middle = (share + Z**2 / (2 * effective)) / (1 + Z**2 / effective)
    reach = Z * sqrt(share * (1 - share) / effective + (Z / (2 * effective)) ** 2) / (1 + Z**2 / effective)
    return Interval(share, max(0.0, middle - reach), min(1.0, middle + reach), n)


def clustered_difference(differences: ArrayLike, clusters: ArrayLike) -> Interval:
    """Estimate a mean difference over clustered queries: the wider, at each end, of a t interval and that of pairs.

    Args:
        differences: One number a query, from -1 to 1.
        clusters: Cluster of each query.

    Reference: Student 1908 over clusters; see `cluster_error` and `paired_difference`.
    """
    pairs = paired_difference(differences)
    error, freedom = cluster_error(differences, clusters)
    reach = _student(freedom) * error
    low, high = max(-1.0, pairs.value - reach), min(1.0, pairs.value + reach)
    return Interval(pairs.value, min(low, pairs.low), max(high, pairs.high), pairs.n)


def paired_share(part: ArrayLike, whole: ArrayLike) -> Interval | None:
    """Estimate which share of one mean difference another makes up, on the same queries, with Fieller's interval.

    The interval holds every share s for which `paired_difference` of `part` and s times `whole` does not leave 0 out.

    Args:
        part: Difference that one condition makes to each query.
        whole: Difference that the other makes, the denominator.

    Returns:
        The share; None where the interval is unbounded, since `whole` cannot be told from 0.

    Reference: Fieller 1954.
    """
    order = np.lexsort((np.asarray(part), np.asarray(whole)))
    one, other = np.asarray(part, dtype=np.float64)[order], np.asarray(whole, dtype=np.float64)[order]
    n = len(one)
    _need_observations(n)
    grown = 1 + Z**2 / (n + 2)
    # a s^2 - 2 b s + c <= 0, from (sum of d)^2 grown <= Z^2 (sum of d^2 + 2) with d = part - s whole
    a = other.sum() ** 2 * grown - Z**2 * (other @ other)
    b = one.sum() * other.sum() * grown - Z**2 * (one @ other)
    c = one.sum() ** 2 * grown - Z**2 * (one @ one + 2)
    if a <= 0 or b * b < a * c:
        return None
    reach = sqrt(b * b - a * c)
    return Interval(float(one.sum() / other.sum()), float((b - reach) / a), float((b + reach) / a), n)


def correlation_interval(value: float, n: int) -> Interval:
    """Put Fisher's interval around a correlation over n pairs; over three or fewer it may be anything.

    Reference: Fisher 1921.
    """
    if n < 4:
        return Interval(value, -1.0, 1.0, n)
    middle = np.arctanh(np.clip(value, -1 + 1e-9, 1 - 1e-9))
    reach = Z / sqrt(n - 3)
    return Interval(value, float(np.tanh(middle - reach)), float(np.tanh(middle + reach)), n)


def rounded_up(size: float, decimals: int) -> str:
    """Write the smallest effect that would be found, rounded up: rounded down it would name one that was not found."""
    return f"{ceil(size * 10**decimals) / 10**decimals:.{decimals}f}"


@cache  # the same few degrees of freedom come back over many tasks
def _student(freedom: int) -> float:
    """Return the quantile of Student's t that stands where `Z` does of the normal distribution."""
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, freedom))


def _need_observations(n: int) -> None:
    if n < 1:
        raise InputError("an estimate needs at least one observation, got none")
