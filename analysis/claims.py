"""Claims, and what was measured for and against them: a verdict is computed from an interval, never written down."""

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from site_lens.core.errors import InputError
from site_lens.core.records import Frozen
from site_lens.core.statistics import Interval, paired_difference

Verdict = Literal["replicated", "not replicated", "holds", "does not hold", "not testable at this size"]
"""The first two of what the paper reports, the next two of an open question."""

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

FEWEST_QUERIES = 50
"""Queries below which nothing is said: a 95 % interval is then wider than 0.14 to either side of one half."""

FEWEST_TASKS = 8
"""Tasks below which nothing is said of tasks in general: a bootstrap over fewer is too narrow."""

Drawn = Literal["queries", "tasks", "fits"]
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
    drawn: Drawn
    n_queries: int = Field(ge=0)
    n_tasks: int = Field(ge=0)
    """How many queries and tasks stand behind it."""
    fewest_queries: int = Field(FEWEST_QUERIES, ge=1)
    missing: str = ""
    """Why there is nothing to estimate."""

    @property
    def open_because(self) -> str:
        """Why it cannot be told here; empty where it can."""
        if self.value is None or self.low is None or self.high is None:
            return self.missing or "nothing to estimate"
        if self.n_queries < self.fewest_queries:
            return f"{self.n_queries} queries, {self.fewest_queries} needed"
        if self.drawn == "tasks" and self.n_tasks < FEWEST_TASKS:
            return f"{self.n_tasks} tasks, {FEWEST_TASKS} needed"
        if self.low == self.high:
            return "an interval without width knows of no spread"
        if self.low <= self.threshold < self.high:
            return f"the interval reaches to both sides of {self.threshold:g}"
        return ""

    @property
    def verdict(self) -> Verdict:
        """What the whole interval says; `open_because` tells why it may say nothing."""
        if self.open_because:
            return "not testable at this size"
        is_above = self.low is not None and self.low > self.threshold
        if is_above == (self.side == "above"):
            return "replicated" if self.reported else "holds"
        return "not replicated" if self.reported else "does not hold"


def over_queries(
    statement: str,
    found: Interval | None,
    *,
    above: float | None = None,
    at_most: float | None = None,
    reported: str = "",
    n_tasks: int = 1,
    fewest: int = FEWEST_QUERIES,
    missing: str = "",
) -> Claim:
    """State something about certain tasks and fits, on an interval over their queries.

    Args:
        statement: What is claimed.
        found: Estimate and interval; None where there is none, and `missing` says why.
        above: The claim is that the number is larger than this.
        at_most: The claim is that it is not; one of the two is given.
        reported: What the paper reports, if it does.
        n_tasks: Tasks that the queries belong to.
        fewest: Queries below which there is no verdict.
        missing: Why there is no estimate.
    """
    return _claim(
        statement, found, above, at_most, reported, drawn="queries", n_queries=0 if found is None else found.n,
        n_tasks=n_tasks, fewest_queries=fewest, missing=missing,
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
    """State something about the mean over tasks, each of which counts once, on a bootstrap over tasks.

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
    found = mean_over_tasks(numbers[known]) if known.any() else None
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
        statement, found, above, at_most, "", drawn="fits", n_queries=n_queries, n_tasks=1,
        fewest_queries=1, missing=missing,
    )  # fmt: skip


def correlation_above_zero(
    statement: str, whole: float | None, without_one: Sequence[float], *, n_queries: int, missing: str = ""
) -> Claim:
    """State that a correlation over all tasks is positive, on a jackknife over tasks; an open question always."""
    found = None if whole is None else jackknife(whole, without_one)
    return _claim(
        statement, found, 0, None, "", drawn="tasks", n_queries=n_queries, n_tasks=len(without_one), missing=missing
    )


def mean_over_tasks(values: ArrayLike) -> Interval:
    """Average one number a task, with a 95 % bootstrap over tasks; tasks that all agree leave room for one unseen."""
    numbers = np.asarray(values, dtype=np.float32)
    return paired_difference(numbers, np.zeros_like(numbers))


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
    found: Interval | None,
    above: float | None,
    at_most: float | None,
    reported: str,
    *,
    drawn: Drawn,
    n_queries: int,
    n_tasks: int,
    fewest_queries: int = FEWEST_QUERIES,
    missing: str = "",
) -> Claim:
    given = [(side, limit) for side, limit in (("above", above), ("at most", at_most)) if limit is not None]
    if len(given) != 1:
        raise InputError(f"{statement!r} needs one of above and at_most, got {above} and {at_most}")
    ((side, threshold),) = given
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
        fewest_queries=fewest_queries,
        missing=missing,
    )
