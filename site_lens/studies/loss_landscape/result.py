"""Loss landscape of one task: where many fits ended, and the losses on lines and in a plane between them."""

from functools import cached_property
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from site_lens.heads.head_set import HeadSet
from site_lens.records.base import Axes, Count, Float32, Frozen, Lengths
from site_lens.records.hashing import seed_stream
from site_lens.records.lazy_pandas import pd
from site_lens.site.fit import FAILED, Status
from site_lens.stats.intervals import Interval, wilson
from site_lens.stats.similarity import jaccard, rank_correlation
from site_lens.studies.base import ModelStudy

Verdict = Literal["one basin", "several basins", "no gain", "too few"]
VERDICTS: dict[Verdict, str] = {
    "one basin": "At least 80 % of the straight lines between two fits are free of a barrier, by the whole interval.",
    "several basins": "More than 20 % of the straight lines between two fits meet a barrier, by the whole interval.",
    "no gain": "No fit improved on its start enough to call anything between them a barrier.",
    "too few": "Too few fits improved on their start, too few rows, or an interval that holds 80 %.",
}
"""Meaning of each verdict."""

N_RESAMPLES = 2000
"""Draws of fits behind the interval of the lines."""

BARRIER_SHARE = 0.1
"""A rise on a line above its higher end counts as a barrier from this share of the gain on."""
FREE_SHARE = 0.8
"""Share of lines that must be free of a barrier in one basin: 16 fits without a barrier can show so much."""
FEWEST_FITS, FEWEST_ROWS, FEWEST_LINES = 8, 16, 10
"""Fits that improved on their start, test rows, and lines, below which there is no verdict."""
LEAST_DESCENT = 0.1
"""Gain in nats below which the optimiser found nothing to descend."""
BINARY_SHARE = 0.3
"""A map is binary when at most this share of its heads has 0.1 < alpha < 0.9; the threshold of `not_binary`."""

PLANE = tuple(float(x) for x in np.round(np.linspace(-0.2, 1.2, 15), 6))
"""Coordinates u and v of the slice a + u (b - a) + v (c - a); 0 and 1 are among them."""


class LandscapeFit(Frozen):
    """Settings of one of the fits."""

    start: float | Literal["random"]
    """Alpha of every head before the first step."""
    lr: Annotated[float, Field(gt=0)]
    n_steps: Count
    seed: Count
    null: bool
    """Whether it was fitted to shuffled answers."""
    status: Status


class FitLandscape(ModelStudy):
    """Many fits of one task that mix in one embedding; losses are first-token cross-entropies on held-out rows."""

    kind: ClassVar[str] = "fit_landscape"
    schema_version: ClassVar[int] = 2
    lengths: ClassVar[Lengths] = {"u": len(PLANE), "v": len(PLANE)}

    task: str
    fits: tuple[LandscapeFit, ...]
    """Fits of the task first, null fits last."""
    alphas: Annotated[Float32, Axes(("fit", "layer", "head"), 0, 1)]
    """(fit layer head): alphas that each fit ended at."""
    start_losses: Annotated[Float32, Axes(("fit",), 0)]
    """(fit): loss at the start of each fit."""
    losses: Annotated[Float32, Axes(("fit",), 0)]
    """(fit): loss at its end; of null fits, too, with the right answers."""
    right: Annotated[Float32, Axes(("fit", "query"), 0, 1)]
    """(fit query): 1 where the first token was right."""
    lines: tuple[tuple[Count, Count], ...]
    """Pairs of fits between which the loss was taken; none of them null, and all of them better than their start."""
    profiles: Annotated[Float32, Axes(("line", "point"))]
    """(line point): loss at equal steps along the straight line in alpha from the first to the second."""
    plane: tuple[Count, Count, Count]
    """Three fits a, b, c that span the slice: the best, that furthest from it, and that furthest from both."""
    slice: Annotated[Float32, Axes(("v", "u"))]
    """(v u): loss in the plane at `PLANE`; alphas are cut at 0 and 1 where the plane leaves what gates can be."""
    seed: Count
    embedding_digest: str
    task_digest: str

    @property
    def n_rows(self) -> int:
        """Held-out rows behind every loss."""
        return int(self.right.shape[1])

    @property
    def null(self) -> np.ndarray:
        """(fit): whether it was fitted to shuffled answers."""
        return np.array([fit.null for fit in self.fits])

    def _facts(self) -> dict[str, object]:
        return {
            "task": self.task,
            "model": self.model.name,
            "fits": f"{int((~self.null).sum())}, {int(self.null.sum())} null fits",
            "gain in nats": self.gain,
            "verdict": self.verdict,
        }

    @property
    def improved(self) -> np.ndarray:
        """(fit): whether it is a fit of the task that is better than its start, on the rows that chose it."""
        return np.array([not fit.null and fit.status not in FAILED for fit in self.fits])

    @property
    def gain(self) -> float:
        """Median loss of the starts less the lowest loss of a fit, in nats; 0 where no fit improved."""
        chosen = self.improved
        return float(np.median(self.start_losses[chosen]) - self.losses[chosen].min()) if chosen.any() else 0.0

    @property
    def barriers(self) -> Float32:
        """(line): highest loss on the line less that of its higher end, in nats; 0 where an end is the highest."""
        return self.profiles.max(1) - np.maximum(self.profiles[:, 0], self.profiles[:, -1])

    @property
    def is_free(self) -> np.ndarray:
        """(line): whether its barrier is below a tenth of the gain."""
        return self.barriers <= BARRIER_SHARE * self.gain

    @property
    def free(self) -> Interval | None:
        """Share of the lines whose barrier is below a tenth of the gain; None without lines or gain.

        Lines share their ends, so that the 95% interval is a bootstrap over fits: a line counts as often as both of its
        ends are drawn. It is widened to Wilson's interval of as many lines as fits, which has a width also where no
        line meets a barrier.
        """
        if self.gain < LEAST_DESCENT or not self.lines:
            return None
        joined, ends = np.unique(np.array(self.lines), return_inverse=True)
        ends, n = ends.reshape(-1, 2), len(joined)
        drawn = seed_stream("landscape lines", self.seed).multinomial(n, np.full(n, 1 / n), N_RESAMPLES)
        weights = drawn[:, ends[:, 0]] * drawn[:, ends[:, 1]]
        weights = weights[weights.sum(1) > 0]
        low, high = np.percentile((weights @ self.is_free) / weights.sum(1), [2.5, 97.5])
        share = float(self.is_free.mean())
        least = wilson(round(share * n), n)
        return Interval(share, min(float(low), least.low), max(float(high), least.high), len(self.lines))

    @property
    def verdict(self) -> Verdict:
        """Whether the fits lie in one basin; see `VERDICTS`."""
        free, n_own = self.free, int((~self.null).sum())
        if n_own < FEWEST_FITS or self.n_rows < FEWEST_ROWS or len(self.lines) < FEWEST_LINES:
            return "too few"
        if self.gain < LEAST_DESCENT:
            return "no gain"
        if free is None or self.improved.sum() < FEWEST_FITS:
            return "too few"
        return "one basin" if free.low >= FREE_SHARE else "several basins" if free.high < FREE_SHARE else "too few"

    @property
    def undecided(self) -> Float32:
        """(fit): share of the heads with 0.1 < alpha < 0.9."""
        return ((self._flat > 0.1) & (self._flat < 0.9)).mean(1, dtype=np.float32)

    @cached_property
    def _flat(self) -> Float32:
        """(fit head)."""
        return self.alphas[:, self.model.grid.mask]

    def binary(self, *, null: bool = False) -> Interval | None:
        """Share of the fits, or of the null fits, that turned binary, with Wilson's interval; None without any."""
        undecided = self.undecided[self.null == null]
        return wilson(int((undecided <= BINARY_SHARE).sum()), len(undecided)) if len(undecided) else None

    def jaccard(self) -> Float32:
        """(fit fit): Jaccard index of the heads above 0.5; NaN where both have none."""
        return jaccard(self._flat > 0.5).astype(np.float32)

    def ranks(self) -> Float32:
        """(fit fit): Spearman's rank correlation of alphas; 0 with a map of equal alphas, which has no order."""
        return rank_correlation(self._flat).astype(np.float32)

    def always_open(self) -> HeadSet:
        """Heads above 0.5 in every fit that improved on its start; no head where none did."""
        return HeadSet.from_mask(self.model.grid, (self.alphas[self.improved] > 0.5).all(0) & self.improved.any())

    def frame(self) -> "pd.DataFrame":
        """One row per fit: its settings, losses, accuracy, undecided heads, and agreement with the other fits.

        `jaccard` and `ranks` are means over the other fits of the task, null fits left out.
        """
        others = np.where(self.null[None, :] | np.eye(len(self.fits), dtype=bool), np.nan, 1)
        measured = {"jaccard": self.jaccard() * others, "ranks": self.ranks() * others}
        return pd.DataFrame([fit.model_dump() for fit in self.fits]).assign(
            start_loss=self.start_losses,
            loss=self.losses,
            accuracy=self.right.mean(1),
            n_open=(self._flat > 0.5).sum(1),
            undecided=self.undecided,
            **{name: np.ma.masked_invalid(v).mean(axis=1).filled(np.nan) for name, v in measured.items()},
        )

    def lines_frame(self) -> "pd.DataFrame":
        """One row per line: both fits, loss at both ends, highest loss, barrier, and its share of the gain."""
        first, second = np.array(self.lines, dtype=int).reshape(-1, 2).T
        share = self.barriers / self.gain if self.gain >= LEAST_DESCENT else np.full(len(first), np.nan)
        return pd.DataFrame(
            {
                "first": first,
                "second": second,
                "first_loss": self.profiles[:, 0],
                "second_loss": self.profiles[:, -1],
                "highest": self.profiles.max(1),
                "barrier": self.barriers,
                "share": share,
            }
        )
