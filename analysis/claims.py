"""Claims, and what was measured for and against them: a verdict is computed from an interval, never written down."""

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from site_lens.records.base import Frozen
from site_lens.records.errors import InputError
from site_lens.stats.intervals import Interval
from site_lens.stats.paired_tests import FEWEST, SIGNIFICANT, Paired

Verdict = Literal["seen here, too", "not seen here", "holds", "does not hold", "not testable at this size"]
"""The first two of what the paper reports, the next two of an open question. A model that was trained on the tasks it
is asked replicates nothing: what the paper reports is seen on it, or not."""

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

ClaimDrawn = Literal["queries", "tasks", "fits"]
"""What an interval speaks of: other queries of these tasks, other tasks of the kind, or other fits of the task."""


class Claim(Frozen):
    """A statement about one number, what was found, and the verdict that follows."""

    statement: str
    reported: str = ""
    """What the paper reports; empty where this is an open question."""
    side: Literal["above", "at most"]
    threshold: float
    """The statement says that the number lies on this side of the threshold."""
    value: float | None
    low: float | None
    high: float | None
    """Estimate and 95 % interval; None where there is nothing to estimate."""
    p_value: float | None = None
    """Of the exact paired test of the distance from the threshold; None of an interval over fits, which has no test."""
    drawn: ClaimDrawn
    n_queries: int = Field(ge=0)
    n_tasks: int = Field(ge=0)
    """How many queries and tasks stand behind it."""
    missing: str = ""
    """Why there is nothing to estimate."""

    @property
    def open_because(self) -> str:
        """Why it cannot be told here; empty where it can."""
        if self.value is None or self.low is None or self.high is None:
            return self.missing or "nothing to estimate"
        if self.drawn == "tasks" and self.n_tasks < FEWEST["tasks"]:
            return f"{self.n_tasks} tasks, {FEWEST['tasks']} needed"
        if self.drawn == "queries" and self.n_queries < FEWEST["queries"]:
            return f"{self.n_queries} queries, {FEWEST['queries']} needed"
        if self.low <= self.threshold <= self.high:
            return f"the interval reaches to both sides of {self.threshold:g}"
        if self.p_value is not None and self.p_value >= SIGNIFICANT:
            return f"the exact test does not tell it from {self.threshold:g} (p = {self.p_value:.2g})"
        return ""

    @property
    def verdict(self) -> Verdict:
        """What test and interval say; `open_because` tells why they may say nothing."""
        if self.open_because:
            return "not testable at this size"
        is_above = self.low is not None and self.low > self.threshold
        if is_above == (self.side == "above"):
            return "seen here, too" if self.reported else "holds"
        return "not seen here" if self.reported else "does not hold"


def over_queries(
    statement: str,
    found: Paired | Interval | None,
    *,
    above: float | None = None,
    at_most: float | None = None,
    p_value: float | None = None,
    reported: str = "",
    n_tasks: int = 1,
    missing: str = "",
) -> Claim:
    """State something about certain tasks and fits, on a test and an interval over their queries.

    Args:
        statement: What is claimed.
        found: Differences of the queries; or an estimate with its interval, and `p_value` of its test. None where there
            is nothing to estimate, and `missing` says why.
        above: The claim is that the number is larger than this.
        at_most: The claim is that it is not; one of the two is given.
        p_value: Of the exact test against the threshold, where `found` is an interval.
        reported: What the paper reports, if it does.
        n_tasks: Tasks that the queries belong to.
        missing: Why there is no estimate.
    """
    if isinstance(found, Interval) and p_value is None:
        raise InputError(f"{statement!r} needs the p-value of the test that goes with its interval")
    n = 0 if found is None else found.n
    return _claim(
        statement, found, above, at_most, reported, drawn="queries", n_queries=n, n_tasks=n_tasks, p_value=p_value,
        missing=missing,
    )  # fmt: skip


def over_tasks(
    statement: str,
    values: Iterable[float],
    *,
    n_queries: ArrayLike,
    above: float | None = None,
    at_most: float | None = None,
    reported: str = "",
    missing: str = "",
) -> Claim:
    """State something about the mean over tasks, each of which counts once, on a test and an interval over tasks.

    Args:
        statement: What is claimed.
        values: One number a task; NaN where a task has none, which leaves it out.
        n_queries: Queries behind the number of each task, or of all of them.
        above: The claim is that the mean is larger than this.
        at_most: The claim is that it is not; one of the two is given.
        reported: What the paper reports, if it does.
        missing: What it means when no task has a number.
    """
    numbers, asked = np.array(list(values), dtype=np.float32), np.asarray(n_queries)
    known = np.isfinite(numbers)
    found = Paired.of(numbers[known], over="tasks") if known.any() else None
    n = int(asked[known].sum() if asked.ndim else asked)
    return _claim(
        statement, found, above, at_most, reported, drawn="tasks", n_queries=n, n_tasks=int(known.sum()),
        missing=missing,
    )  # fmt: skip


def over_fits(
    statement: str,
    found: Interval | None,
    *,
    n_queries: int,
    above: float | None = None,
    at_most: float | None = None,
    missing: str = "",
) -> Claim:
    """State something about the fits of one task, on an interval over fits; an open question always."""
    return _claim(
        statement, found, above, at_most, "", drawn="fits", n_queries=n_queries, n_tasks=1, missing=missing,
    )  # fmt: skip


def correlation_above_zero(
    statement: str, whole: float | None, without_one: Sequence[float], *, p_value: float | None, n_queries: int,
    missing: str = "",
) -> Claim:  # fmt: skip
    """State that a correlation over all tasks is positive, on a jackknife and a permutation test over tasks."""
    found = None if whole is None else jackknife(whole, without_one)
    return _claim(
        statement, found, 0, None, "", drawn="tasks", n_queries=n_queries, n_tasks=len(without_one), p_value=p_value,
        missing=missing,
    )  # fmt: skip


def jackknife(whole: float, without_one: Sequence[float]) -> Interval:
    """Put an interval around a statistic of all tasks, from its values with one task left out at a time.

    Reference: Tukey 1958; Efron and Stein 1981. Normal approximation, 95 %.
    """
    left, n = np.asarray(without_one, dtype=np.float64), len(without_one)
    if n < 2:
        raise InputError(f"leaving one task out needs two at least, got {n}")
    error = float(np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum()))
    return Interval(whole, whole - 1.96 * error, whole + 1.96 * error, n)


def _claim(
    statement: str,
    found: Paired | Interval | None,
    above: float | None,
    at_most: float | None,
    reported: str,
    *,
    drawn: ClaimDrawn,
    n_queries: int,
    n_tasks: int,
    p_value: float | None = None,
    missing: str = "",
) -> Claim:
    given = [(side, limit) for side, limit in (("above", above), ("at most", at_most)) if limit is not None]
    if len(given) != 1:
        raise InputError(f"{statement!r} needs one of above and at_most, got {above} and {at_most}")
    ((side, threshold),) = given
    if isinstance(found, Paired):
        p_value, found = found.beyond(threshold).p_value, found.estimate
    value, low, high = (None, None, None) if found is None else (found.value, found.low, found.high)
    return Claim(
        statement=statement,
        reported=reported,
        side=side,
        threshold=threshold,
        value=value,
        low=low,
        high=high,
        drawn=drawn,
        n_queries=n_queries,
        n_tasks=n_tasks,
        p_value=p_value,
        missing=missing,
    )
