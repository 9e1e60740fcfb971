"""What a comparison of head maps found: how much they agree, pair by pair, and which heads they share."""

from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from site_lens.heads.head_set import HeadGrid, HeadSet
from site_lens.heads.scores import HeadScores
from site_lens.records.base import Axes, Float32, Record
from site_lens.records.errors import unknown_name

if TYPE_CHECKING:
    import pandas as pd

MEASURES = ("jaccard", "jaccard_top", "overlap_coefficient", "spearman", "rank_biased", "p_value", "q_value")
"""Every number that a comparison holds of a pair."""

RecordLayerHead = Annotated[Float32, Axes(("record", "layer", "head"))]
Pairs = Annotated[Float32, Axes(("record", "other"))]
"""(record other): one number a pair, symmetric."""


def chosen(scores: HeadScores, threshold: float | None, k: int) -> HeadSet:
    """Return the set that stands for a record: its heads above the threshold, or its top k where there is none."""
    return scores.top(k) if threshold is None else scores.above(threshold)


class Overlap(Record):
    """Head maps of tasks, seeds or selectors compared pair by pair."""

    kind: ClassVar[str] = "overlap"
    schema_version: ClassVar[int] = 2

    names: tuple[str, ...]
    grid: HeadGrid
    scores: RecordLayerHead
    """(record layer head): what was compared."""
    gates: bool
    """Whether all of them are gates in [0, 1]."""
    threshold: float | None = Field(ge=0, lt=1)
    """A head is in a record's set when its score is above it; None where the sets are the top k."""
    k: int = Field(ge=1)
    """Size of the top sets; equal scores are taken in order of layer, then head, in every record, so that a `k` beyond
    the heads that differ makes sets agree."""
    jaccard: Annotated[Float32, Axes(("record", "other"), 0, 1)]
    """Heads in both sets over heads in either; 1 where both sets are empty."""
    jaccard_top: Annotated[Float32, Axes(("record", "other"), 0, 1)]
    """The same of the top-k sets."""
    overlap_coefficient: Annotated[Float32, Axes(("record", "other"), 0, 1)]
    """Heads in both sets over the size of the smaller; 1 where the smaller is empty."""
    spearman: Annotated[Float32, Axes(("record", "other"), -1, 1)]
    """Rank correlation over all heads; 0 where a record is constant."""
    rank_biased: Pairs
    """Rank-biased overlap of the rankings (Webber, Moffat and Zobel 2010, extrapolated, p = 0.9), in [0, 1].
    Equal scores rank in order of layer, then head, here too: what is tied in both counts as agreement."""
    p_value: Annotated[Float32, Axes(("record", "other"), 0, 1)]
    """Chance that two random sets, each with as many heads in every layer as its record's, share as many heads or
    more: exact, no smaller than 1e-38 (the end of float32), and 1 on the diagonal."""
    q_value: Annotated[Float32, Axes(("record", "other"), 0, 1)]
    """p-values with the false discovery rate controlled over all pairs (Benjamini and Hochberg); 1 on the diagonal."""
    findable: Pairs | None = None
    """Fewest shared heads that would have been found, alone among all pairs, at q < 0.05; where that is more than the
    smaller set has, no overlap could be found. None in files of version 0.1.0."""
    specificity: RecordLayerHead
    """(record layer head): the record's score less the mean of the others', 0 with a single record."""
    notes: tuple[str, ...] = ()
    """What makes the comparison hard to read: records of several models, or of other rows under one name."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        n = len(self.names)
        if n < 1 or len(set(self.names)) < n:
            raise ValueError(f"needs each record once, got {self.names}")
        for name in ("scores", "specificity"):
            if getattr(self, name).shape != (n, *self.grid.shape):
                raise ValueError(f"{name} of shape {getattr(self, name).shape} does not fit {n} records, {self.grid}")
        for name in (*MEASURES, "findable"):
            if getattr(self, name) is not None and getattr(self, name).shape != (n, n):
                raise ValueError(f"{name} of shape {getattr(self, name).shape} does not fit {n} records")
        return self

    def heads_of(self, name: str) -> HeadSet:
        """Return the set of a record: its heads above the threshold, or its top k."""
        if name not in self.names:
            raise unknown_name("record", name, self.names)
        values = self.scores[self.names.index(name)]
        compared = HeadScores(grid=self.grid, values=values, selector=name, meaning="what was compared")
        return chosen(compared, self.threshold, self.k)

    def shared(self, *names: str) -> HeadSet:
        """Return the heads that lie in the sets of all of these records; of all records when none is named."""
        return reduce(and_, map(self.heads_of, names or self.names))

    def only(self, name: str) -> HeadSet:
        """Return the heads that lie in the set of one record and in no other's."""
        others = (self.heads_of(other) for other in self.names if other != name)
        return reduce(lambda left, taken: left - taken, others, self.heads_of(name))

    def frame(self) -> "pd.DataFrame":
        """One row per pair of records: record, other, n_shared, n_record, n_other, findable, and every measure."""
        import pandas as pd

        first, second = np.triu_indices(len(self.names), k=1)
        names = np.array(self.names, dtype=object)
        sets = self._sets()[:, self.grid.mask]
        sizes = sets.sum(axis=1)
        return pd.DataFrame(
            {
                "record": names[first],
                "other": names[second],
                "n_shared": (sets[first] & sets[second]).sum(axis=1),
                "n_record": sizes[first],
                "n_other": sizes[second],
                "findable": np.nan if self.findable is None else self.findable[first, second],
                **{measure: getattr(self, measure)[first, second] for measure in MEASURES},
            }
        )

    def heads_frame(self) -> "pd.DataFrame":
        """One row per record and head: record, layer, head, score, in_set, specificity."""
        import pandas as pd

        mask, n = self.grid.mask, len(self.names)
        layer, head = np.nonzero(mask)
        return pd.DataFrame(
            {
                "record": np.repeat(np.array(self.names, dtype=object), len(self.grid)),
                "layer": np.tile(layer, n),
                "head": np.tile(head, n),
                "score": self.scores[:, mask].ravel(),
                "in_set": self._sets()[:, mask].ravel(),
                "specificity": self.specificity[:, mask].ravel(),
            }
        )

    def layer_frame(self) -> "pd.DataFrame":
        """One row per record and layer that has heads: record, layer, mean_score over its heads, n_in_set."""
        by_layer = self.heads_frame().groupby(["record", "layer"], sort=False)
        return by_layer.agg(mean_score=("score", "mean"), n_in_set=("in_set", "sum")).reset_index()

    def _sets(self) -> NDArray[np.bool_]:
        return np.stack([self.heads_of(name).mask() for name in self.names])
