"""Intervals of accuracies and of paired differences (scipy's, behind two small functions)."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from site_lens.core.checked import checked_methods
from site_lens.core.errors import InputError
from site_lens.core.records import Float32


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
def wilson(n_right: int, n: int, *, confidence: float = 0.95) -> Interval:
    """Estimate a proportion with Wilson's score interval.

    Reference: Wilson 1927; `scipy.stats.binomtest(...).proportion_ci(method="wilson")`.
    """
    from scipy.stats import binomtest

    _need_observations(n)
    found = binomtest(n_right, n).proportion_ci(confidence_level=confidence, method="wilson")
    return Interval(n_right / n, float(found.low), float(found.high), n)


def bootstrap_mean(values: Float32, *, confidence: float = 0.95, n_resamples: int = 2000, seed: int = 0) -> Interval:
    """Estimate a mean with the percentile bootstrap.

    Of paired observations hand in the differences: resampling them resamples the pairs. Of accuracies of several
    tasks hand in one number a task: the interval then speaks of other tasks of the kind.

    Reference: Efron 1979; `scipy.stats.bootstrap`.
    """
    from scipy.stats import bootstrap

    _need_observations(len(values))
    mean = float(np.mean(values))
    if len(values) < 2 or np.ptp(values) == 0:
        return Interval(mean, mean, mean, len(values))
    drawn = bootstrap(
        (values,),
        np.mean,
        confidence_level=confidence,
        n_resamples=n_resamples,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return Interval(mean, float(drawn.confidence_interval.low), float(drawn.confidence_interval.high), len(values))


def paired_difference(right: Float32, other: Float32, *, confidence: float = 0.95) -> Interval:
    """Estimate the difference of two proportions on the same queries with the paired percentile bootstrap.

    Where no two queries differ in their difference there is nothing to resample, and a bootstrap would claim
    certainty. The interval then says how common a query of another kind may be though none was seen among n: the exact
    (Clopper-Pearson) bound for 0 of n, about 3.7 / n, to either side.
    """
    from scipy.stats import binomtest

    differences = right - other
    found = bootstrap_mean(differences, confidence=confidence)
    if found.low < found.high:
        return found
    unseen = float(binomtest(0, found.n).proportion_ci(confidence_level=confidence, method="exact").high)
    return Interval(found.value, max(-1.0, found.value - unseen), min(1.0, found.value + unseen), found.n)


def _need_observations(n: int) -> None:
    if n < 1:
        raise InputError("an estimate needs at least one observation, got none")
