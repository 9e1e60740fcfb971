"""Paired tests, the false discovery rate, and the one rule by which a difference gets a verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from site_lens.records.errors import InputError
from site_lens.records.hashing import seed_stream
from site_lens.stats.intervals import Interval, cluster_error, clustered_difference, mean_interval, paired_difference

Float64 = NDArray[np.float64]

Drawn = Literal["tasks", "queries"]
"""What an interval and a test speak of: other tasks of the kind, or other queries of the same tasks."""

Verdict = Literal["above", "below", "not found", "too few"]
"""Whether a difference is above 0, below 0, or neither is shown; `too few` where no verdict is given."""

N_AT_ONCE = 256
"""Random sign flips of all differences that are held at a time."""

SIGNIFICANT = 0.05
"""p-value, or false discovery rate where there are several tests, below which a difference counts as found."""

FEWEST: dict[Drawn, int] = {"tasks": 6, "queries": 30}
"""Tasks or queries below which there is no verdict. Five tasks that all agree have a sign-flip p of .0625;
of fewer than 30 queries an accuracy of one half is known to .17 at best."""

SMALLEST_GAIN = 0.1
"""Gain in accuracy over zero-shot, as measured, below which shares of it are not computed."""

LEAST_GAIN = 0.05
"""Gain over zero-shot that must be exceeded beyond doubt, by interval or test, before a share of it gets a verdict."""

N_FLIPS = 2**14
"""Sign flips of a test: all of them up to 14 differences, so many drawn at random beyond."""

ROUNDING = 1e-9
"""Sums of differences in accuracy that are this close are the same."""

SMALLEST = float(np.finfo(np.float32).tiny)
"""No p-value is stored as 0, which no exact one is."""


def verdict(estimate: Interval, p_value: float, over: Drawn) -> Verdict:
    """Judge a difference: it is found where the exact test and the interval both say so, and there are enough of them.

    Args:
        estimate: The difference, its 95% interval, and the tasks or queries behind it.
        p_value: Of an exact paired test; the false discovery rate where there are several.
        over: What the interval and the test are taken over.
    """
    if estimate.n < FEWEST[over]:
        return "too few"
    if p_value >= SIGNIFICANT or estimate.low <= 0 <= estimate.high:
        return "not found"
    return "above" if estimate.value > 0 else "below"


NOT_RULED_OUT = "Differences within this interval are not ruled out."


@dataclass(frozen=True)
class Paired:
    """Differences between two conditions, one for each task or query: their mean, its interval, test and verdict."""

    differences: tuple[float, ...]
    over: Drawn
    clusters: tuple[int, ...] = ()
    """Cluster of each query, such as the demonstrations shown with it; empty where queries are independent."""

    @classmethod
    def of(cls, one: ArrayLike, other: ArrayLike = 0.0, *, over: Drawn, clusters: Sequence[int] = ()) -> "Paired":
        """Pair two conditions on the same tasks, or on the same queries, which may come in clusters.

        Raises:
            InputError: There is no task or query, or a difference is not finite.
        """
        found = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
        if found.ndim != 1 or not len(found) or not np.isfinite(found).all():
            raise InputError(f"a paired test needs one finite difference per {over[:-1]}, got {found!r}")
        if len(clusters):
            order = np.lexsort((np.asarray(clusters), found))
            return cls(tuple(found[order].tolist()), over, tuple(clusters[i] for i in order))
        return cls(tuple(np.sort(found).tolist()), over)  # sorted: the order of tasks plays no part

    def beyond(self, threshold: float) -> "Paired":
        """Subtract a threshold, so that the verdict says on which side of it the mean difference lies."""
        return Paired.of(self.differences, threshold, over=self.over, clusters=self.clusters)

    def turned(self) -> "Paired":
        """Exchange the two conditions."""
        return Paired.of(-np.array(self.differences), over=self.over, clusters=self.clusters)

    @property
    def n(self) -> int:
        """Number of tasks or queries."""
        return len(self.differences)

    @cached_property
    def estimate(self) -> Interval:
        """The mean difference with its 95% interval."""
        found = self.differences
        if self.clusters:
            return clustered_difference(found, self.clusters)
        return mean_interval(found) if self.over == "tasks" else paired_difference(found)

    @cached_property
    def p_value(self) -> float:
        """Of the two-sided sign-flip test; of right and wrong answers that is the exact McNemar test.

        Of clustered queries: the larger of it and of the t test over clusters.
        """
        p_value = sign_flip_test(self.differences)
        return max(p_value, cluster_t_test(self.differences, self.clusters)) if self.clusters else p_value

    @property
    def verdict(self) -> Verdict:
        """Verdict on this difference, tested alone; see the function `verdict`."""
        return verdict(self.estimate, self.p_value, self.over)

    def __str__(self) -> str:
        return f"{describe(self.estimate, self.over)}, p = {self.p_value:.2g}"

    def sentence(self, one: str, other: str, *, above: str = "", below: str = "") -> str:
        """Say in a sentence what was found; where nothing was, that differences within the interval are not ruled out.

        Where the interval leaves 0 out and the test finds nothing, or the other way round, the sentence says so.

        Args:
            one: Name of the first condition.
            other: Name of the second.
            above: What it means that the first is above the second.
            below: What it means that it is below.
        """
        found = self.verdict
        if found == "too few":
            return f"{one} minus {other}: {self}. No verdict: it takes {FEWEST[self.over]} {self.over}."
        if found == "not found":
            split = (self.p_value < SIGNIFICANT) == (self.estimate.low <= 0 <= self.estimate.high)
            why = " Interval and test disagree, and a verdict takes both." if split else ""
            return f"No difference found between {one} and {other}: {self}.{why} {NOT_RULED_OUT}"
        meaning = (above or f"{one} is above {other}") if found == "above" else (below or f"{one} is below {other}")
        return f"{meaning}: {self}."


def describe(estimate: Interval, over: Drawn) -> str:
    """Write a difference with its sign, its interval, and what it is taken over."""
    n = f"{estimate.n} {over}" if estimate.n > 1 else {"tasks": "one task", "queries": "one query"}[over]
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}] over {n}"


def sign_flip_test(differences: ArrayLike) -> float:
    """Test that differences are as likely to be up as down: flip their signs, two-sided.

    Where all differences that are not 0 have one size, as those of right and wrong answers have, this is the exact sign
    test, which on queries is McNemar's. Else it is exact up to 14 of them; beyond, 16,384 random flips are drawn, and
    what was observed counts as one of the draws, so that p is never 0 and the test is valid.

    Returns:
        The p-value: 1 where no difference differs from 0; no smaller than 2 / 2^n with n differences.

    Reference: Fisher 1935; McNemar 1947.
    """
    values = np.sort(np.asarray(differences, dtype=np.float64))
    values = values[np.abs(values) > ROUNDING]
    sizes = np.abs(values)
    n = len(values)
    if not n:
        return 1.0
    if np.ptp(sizes) <= ROUNDING:
        return mcnemar(int((values > 0).sum()), int((values < 0).sum()))
    far = abs(values.sum()) - ROUNDING
    if n <= np.log2(N_FLIPS):
        flips = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float((np.abs(flips @ values) >= far).mean())
    stream, n_far = seed_stream("sign flips", n), 0
    for start in range(0, N_FLIPS, N_AT_ONCE):  # all draws of thousands of queries at once would take gigabytes
        flips = stream.choice([-1.0, 1.0], (min(N_AT_ONCE, N_FLIPS - start), n))
        n_far += int((np.abs(flips @ values) >= far).sum())
    return (n_far + 1) / (N_FLIPS + 1)


def cluster_t_test(differences: ArrayLike, clusters: ArrayLike) -> float:
    """Test that the mean of clustered differences is 0: two-sided t test with as many degrees as clusters, less one.

    Returns:
        The p-value: 1 where no difference differs from 0.

    Reference: Student 1908; see `cluster_error`.
    """
    from scipy.stats import t

    mean = float(np.asarray(differences, dtype=np.float64).mean())
    error, freedom = cluster_error(differences, clusters)
    if not error:
        return SMALLEST if mean else 1.0
    return max(float(2 * t.sf(abs(mean) / error, freedom)), SMALLEST)


@cache  # the same few counts come back over many tasks
def mcnemar(n_one: float, n_other: float) -> float:
    """Test whether queries that only one of two conditions has right fall on either side alike; exact, two-sided.

    Args:
        n_one: Queries that the one condition alone has right.
        n_other: Queries that the other alone has right. Without any of either p is 1.

    Reference: McNemar 1947.
    """
    from scipy.stats import binomtest

    n = int(n_one + n_other)
    return max(float(binomtest(int(n_one), n).pvalue), SMALLEST) if n else 1.0


def control_false_discoveries(p_value: ArrayLike, tested: ArrayLike | None = None) -> Float64:
    """Control the false discovery rate over what was tested; 1 elsewhere.

    Args:
        p_value: p-values, of any shape.
        tested: Which of them are tests; all of them when None.

    Reference: Benjamini and Hochberg 1995; `scipy.stats.false_discovery_control`.
    """
    from scipy.stats import false_discovery_control

    found = np.asarray(p_value, dtype=np.float64)
    chosen = np.ones(found.shape, dtype=bool) if tested is None else np.asarray(tested, dtype=bool)
    q_value = np.ones(found.shape)
    if chosen.any():
        q_value[chosen] = false_discovery_control(found[chosen])
    return q_value
