"""One number per head: scores of any selector, and gates, which are scores in [0, 1]."""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from site_lens.heads.head_set import Head, HeadGrid, HeadSet, TopHeads
from site_lens.records.base import Float32, LayerHead, Record, leaves_out
from site_lens.records.collections import RecordSet
from site_lens.records.display import CellMap
from site_lens.records.errors import InputError, MismatchError
from site_lens.records.lazy_pandas import pd

MixRule = Literal["convex", "additive", "norm_preserving"]
"""`convex`: (1 - alpha) z + alpha t, the paper's. `additive`: z + alpha t. `norm_preserving`: the convex mix, scaled
to the norm of z, head by head."""


class HeadScores(Record):
    """One number per head, from any way of scoring heads."""

    kind: ClassVar[str] = "head_scores"

    grid: HeadGrid
    values: LayerHead
    """(layer head): the score; 0 where the grid has no head."""
    selector: str
    """Which way of scoring heads made the numbers, such as "site"."""
    meaning: str
    """What the number means and which sign is which, in one phrase."""
    task: str | None = None
    n_forwards: int | None = Field(None, ge=0)
    """Prompts passed through the model to make it, whole or from a prefix, backward passes counted as one more each;
    None where nobody counted."""
    n_labelled: int | None = Field(None, ge=0)
    """Labelled rows of the task that it used; None where nobody counted."""
    notes: tuple[str, ...] = ()
    """What a reader should know, such as the learning rate and checkpoint that were chosen."""

    @model_validator(mode="after")
    def _fits_grid(self) -> Self:
        if np.any(self.values[~self.grid.mask]):
            raise ValueError("a score stands where the grid has no head")
        return self

    def __getitem__(self, head: Head | str) -> float:
        """Return the score of one head, `scores["L3H7"]`."""
        head = Head.parse(head) if isinstance(head, str) else head
        if head not in self.grid:
            raise InputError(f"{head} is not in a grid of {self.grid}")
        return float(self.values[head.layer, head.head])

    @property
    def is_flat(self) -> bool:
        """Whether all heads have one score, as those of a fit that kept its start: no head is above another then."""
        return bool(np.ptp(self.values[self.grid.mask]) == 0)

    def top(self, k: int) -> TopHeads:
        """Return the k heads of highest score, highest first, with their scores.

        Equal scores are taken in order of layer, then head; `TopHeads.n_tied` counts those that the cut left out. Where
        all heads have one score and `k` is less than their number, no head is returned, and `TopHeads.reason` says why.
        """
        n = len(self.grid)
        if not 0 <= k <= n:
            raise InputError(f"cannot take the top {k} of {n} heads")
        if self.is_flat and 0 < k < n:
            value = float(self.values[self.grid.mask][0])
            return TopHeads(self.grid, frozenset(), reason=f"there is no top: all {n} heads have {value:.3f}")
        values = self.values[self.grid.mask]
        order = np.argsort(-values, kind="stable")
        places = np.argwhere(self.grid.mask)[order[:k]].tolist()
        ranked = tuple((Head(*place), float(self.values[tuple(place)])) for place in places)
        n_tied = int((values[order[k:]] == values[order[k - 1]]).sum()) if k else 0
        return TopHeads(self.grid, frozenset(head for head, _ in ranked), ranked, n_tied)

    def above(self, threshold: float) -> HeadSet:
        """Return the heads whose score is greater than `threshold`."""
        return HeadSet.from_mask(self.grid, (self.values > threshold) & self.grid.mask)

    def frame(self) -> "pd.DataFrame":
        """One row per head: layer, head, value, rank (1 = highest; equal scores share the best rank of them)."""
        values, ranks = self.values[self.grid.mask].astype(np.float64), self.ranks()[self.grid.mask]
        return pd.DataFrame({**self.grid.columns(), "value": values, "rank": ranks})

    def ranks(self) -> NDArray[np.int64]:
        """Return (layer head): rank of each head, 1 = highest; equal scores share the best rank; 0 where no head is."""
        by_place = np.zeros(self.grid.shape, dtype=np.int64)
        values = self.values[self.grid.mask]
        by_place[self.grid.mask] = len(values) + 1 - np.searchsorted(np.sort(values), values, side="right")
        return by_place

    def _facts(self) -> Mapping[str, object]:
        facts = {"task": self.task, "selector": self.selector, "meaning": self.meaning, "grid": str(self.grid)}
        return {name: value for name, value in facts.items() if value} | {"highest": self._brief()}

    def _brief(self) -> str:
        """Name the highest heads, with their scores."""
        top = self.top(min(3, len(self.grid)))
        return top.reason or ", ".join(f"{head} {score:.3f}" for head, score in top.ranked)

    def _maps(self) -> Mapping[str, CellMap]:
        return {self.task or self.selector: CellMap(self.values, self.grid.mask)}


class ScoresByTask(RecordSet[HeadScores]):
    """Scores of one selector by task."""

    record_class: ClassVar[type[Record]] = HeadScores

    def _keyed(self, records: list[HeadScores]) -> Iterator[tuple[str, HeadScores]]:
        nameless = [scores.selector for scores in records if scores.task is None]
        if nameless:
            raise InputError(f"scores of {nameless[0]!r} name no task; only scores of tasks can be kept by task")
        return ((str(scores.task), scores) for scores in records)


class HeadGates(HeadScores):
    """Alpha: one gate in [0, 1] per head; 0 leaves the head as it is, 1 puts the task embedding in its place."""

    kind: ClassVar[str] = "head_gates"

    selector: str = "site"
    meaning: str = "alpha: share of the head's output replaced by the task embedding"
    mix: MixRule = "convex"
    """How they mix an embedding in, wherever they are used: as the fit did that they come from."""

    _serializer = leaves_out(mix="convex")

    @model_validator(mode="after")
    def _within_unit(self) -> Self:
        if self.values.min() < 0 or self.values.max() > 1:
            raise ValueError(f"gates lie in [0, 1], got {self.values.min():g} to {self.values.max():g}")
        return self

    @classmethod
    def constant(cls, grid: HeadGrid, alpha: float, *, task: str | None = None, mix: MixRule = "convex") -> Self:
        """Build gates with the same alpha at every head."""
        return cls(grid=grid, values=np.where(grid.mask, alpha, 0.0), selector="constant", task=task, mix=mix)

    @classmethod
    def of(cls, heads: HeadSet, *, task: str | None = None, mix: MixRule = "convex") -> Self:
        """Build hard gates: alpha 1 for the heads of the set, 0 for the others."""
        return cls(grid=heads.grid, values=heads.mask(), selector="head_set", task=task, mix=mix)

    def hard(self, threshold: float = 0.5) -> Self:
        """Round: alpha 1 above the threshold, 0 at or below it."""
        return self.replace(values=(self.values > threshold).astype(np.float32))

    def only(self, heads: HeadSet) -> Self:
        """Keep the gates of some heads and close the others."""
        if heads.grid != self.grid:
            raise MismatchError(f"gates over {self.grid} cannot be kept by a head set over {heads.grid}")
        return self.replace(values=np.where(heads.mask(), self.values, 0.0))

    def _facts(self) -> Mapping[str, object]:
        return {
            **({"task": self.task} if self.task else {}),
            "open": f"{len(self.above(0.5))} of {len(self.grid)} heads above 0.5",
            "highest": self._brief(),
            "mass": self.mass(),
            "undecided": self.undecided(),
            "mix": self.mix,
            "grid": str(self.grid),
        }

    def _maps(self) -> Mapping[str, CellMap]:
        return {self.task or self.selector: CellMap(self.values, self.grid.mask, full=1)}

    def mass(self) -> float:
        """Sum of all gates: the effective number of heads that carry the task."""
        return float(self.values.sum())

    def undecided(self, low: float = 0.1, high: float = 0.9) -> float:
        """Share of the heads whose alpha lies strictly between `low` and `high`."""
        inside: Float32 = self.values[self.grid.mask]
        return float(np.mean((inside > low) & (inside < high)))
