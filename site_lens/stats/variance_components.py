"""Variance components of a balanced two-way design with one observation a cell."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from site_lens.records.errors import InputError


@dataclass(frozen=True, slots=True)
class Components:
    """Variance components of a crossed design: the part of each factor, in the square of the unit."""

    first: float
    second: float
    rest: float
    """Interaction of both and all else that differs from cell to cell."""
    negative: tuple[str, ...] = ()
    """Factors whose estimate was below zero and is given as 0: less than the design can see."""

    @property
    def total(self) -> float:
        """Variance of a single run that draws both factors anew."""
        return self.first + self.second + self.rest


def two_way(values: NDArray[np.float32]) -> Components:
    """Split the variance of (first second ...) into both factors and the rest; further axes are averaged over.

    With A rows and B columns, row means r, column means c and grand mean m, the mean squares are
    MS1 = B sum (r - m)^2 / (A - 1), MS2 = A sum (c - m)^2 / (B - 1) and
    MSE = sum (y - r - c + m)^2 / ((A - 1)(B - 1)); the parts are (MS1 - MSE) / B, (MS2 - MSE) / A and MSE. Estimates
    below zero are reported as 0 and named.

    Raises:
        InputError: A factor has fewer than two levels.

    Reference: Searle, Casella and McCulloch, Variance Components, 1992, section 4.3 (ANOVA estimators).
    """
    a, b = values.shape[:2]
    if a < 2 or b < 2:
        raise InputError(f"variance parts need at least two levels of either factor, got {a} and {b}")
    y = values.astype(np.float64).reshape(a, b, -1)
    rows, columns, grand = y.mean(1, keepdims=True), y.mean(0, keepdims=True), y.mean((0, 1), keepdims=True)
    n = y.shape[2]
    first = b * ((rows - grand) ** 2).sum() / (a - 1) / n
    second = a * ((columns - grand) ** 2).sum() / (b - 1) / n
    rest = ((y - rows - columns + grand) ** 2).sum() / ((a - 1) * (b - 1)) / n
    parts = {"first": (first - rest) / b, "second": (second - rest) / a}
    return Components(
        first=float(max(parts["first"], 0)),
        second=float(max(parts["second"], 0)),
        rest=float(rest),
        negative=tuple(name for name, part in parts.items() if part < 0),
    )
