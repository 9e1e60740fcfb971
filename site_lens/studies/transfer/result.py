"""Transfer matrix: what alphas and embeddings of one task do for another, query by query."""

from typing import Annotated, ClassVar, Literal

import numpy as np

from site_lens.records.base import Axes, Count, Float32, Lengths
from site_lens.records.display import few
from site_lens.records.lazy_pandas import pd
from site_lens.stats.intervals import Interval, paired_difference, share_interval
from site_lens.stats.paired_tests import SMALLEST_GAIN
from site_lens.studies.base import AskedStudy, accuracy_columns, index_of, tidy

TransferKind = Literal["alphas", "embedding", "both"]
KINDS: tuple[TransferKind, ...] = ("alphas", "embedding", "both")
"""Parts that come from the source; the rest is the target's own."""

REFERENCES = ("zero_shot", "few_shot", "own")
"""Accuracies that a cell is compared with: the target without and with demonstrations, and under its own fit."""

NULLS = ("shuffled_heads", "random_heads", "random_embedding")
"""Nulls that a source must beat: the target's alphas shuffled among the heads of each layer, as many open heads as the
target has in each layer drawn at random, and a random embedding with the norms of the target's."""

NULL_OF: dict[TransferKind, str] = {
    "alphas": "shuffled_heads",
    "embedding": "random_embedding",
    "both": "random_embedding",
}
"""Null that a kind of transfer must beat: the right layers with drawn heads, or an embedding of the right lengths."""


class TransferMatrix(AskedStudy):
    """Accuracy of every task under alphas, embeddings, or both of every task; each target answers the same queries."""

    kind: ClassVar[str] = "transfer_matrix"
    lengths: ClassVar[Lengths] = {
        "kind": len(KINDS), "source": "task", "target": "task", "reference": len(REFERENCES), "null": len(NULLS),
        "families": "task", "fit_digests": "task",
    }  # fmt: skip

    families: tuple[str | None, ...]
    alphas: Annotated[Float32, Axes(("task", "layer", "head"), 0, 1)]
    """(task layer head): gates of every fit, as they were used."""
    right: Annotated[Float32, Axes(("kind", "source", "target", "query"), 0, 1)]
    """(kind source target query): 1 where the first token was right; 0 also where nothing was asked."""
    log_prob: Annotated[Float32, Axes(("kind", "source", "target", "query"), most=0)]
    """(kind source target query): log-probability of the target's first token, in nats; 0 where nothing was asked."""
    references: Annotated[Float32, Axes(("reference", "target", "query"), 0, 1)]
    """(reference target query): 1 where right; see `REFERENCES`."""
    nulls: Annotated[Float32, Axes(("null", "draw", "target", "query"), 0, 1)]
    """(null draw target query): 1 where right; see `NULLS`."""
    n_shots: Count
    hard: bool
    """Whether the gates were rounded at 0.5."""
    seed: Count
    fit_digests: tuple[str, ...]

    def _facts(self) -> dict[str, object]:
        means = {name: float(self.reference(name).mean()) for name in ("zero_shot", "own")}
        others = ~np.eye(len(self.tasks), dtype=bool)
        moved = {f"other's {kind}": float(self.accuracies(kind)[others].mean()) for kind in KINDS if others.any()}
        return {"model": self.model.name, "tasks": f"{len(self.tasks)} ({few(self.tasks)})", **means, **moved}

    def accuracies(self, kind: TransferKind) -> Float32:
        """(source target): accuracy of every target under every source."""
        return self.right[index_of("kind", kind, KINDS)].sum(-1) / self.n_queries

    def reference(self, name: str) -> Float32:
        """(target): accuracy of every target under a reference, see `REFERENCES`, or the mean of a null; `NULLS`."""
        right = self.nulls[NULLS.index(name)].mean(0) if name in NULLS else self._reference(name)
        return right.sum(-1) / self.n_queries

    def normalised(self, kind: TransferKind) -> Float32:
        """(source target): 0 where a source leaves the target at zero-shot, 1 where it does as well as its own fit.

        Targets whose own fit gains less than 0.1 over zero-shot hold NaN: there is nothing to divide by.
        """
        zero, own = self.reference("zero_shot"), self.reference("own")
        gain = np.where(own - zero >= SMALLEST_GAIN, own - zero, np.nan)
        return ((self.accuracies(kind) - zero) / gain).astype(np.float32)

    def cell(self, kind: TransferKind, source: str, target: str) -> Interval:
        """Accuracy of one cell with Wilson's 95% interval."""
        return share_interval(self._queries_of(self._under(kind, source), target))

    def difference(self, kind: TransferKind, source: str, target: str, over: str = "own") -> Interval:
        """Accuracy of one cell less that of a reference, or of another source's cell, on the same queries."""
        other = self._reference(over) if over in REFERENCES else self._under(kind, over)
        return paired_difference(self._queries_of(self._under(kind, source) - other, target))

    def asymmetry(self, kind: TransferKind) -> float:
        """Mean absolute difference between a cell and its mirror image, normalised; NaN where none can be compared."""
        values = self.normalised(kind)
        above = np.abs(values - values.T)[np.triu_indices(len(self.tasks), 1)]
        return float(np.nanmean(above)) if np.isfinite(above).any() else float("nan")

    def frame(self) -> "pd.DataFrame":
        """One row per kind, source and target: accuracy, its interval, queries, normalised score, references, nulls."""
        return tidy(
            {"kind": KINDS, "source": self.tasks, "target": self.tasks},
            **accuracy_columns(self.right.sum(-1), self.n_queries),
            normalised=np.stack([self.normalised(kind) for kind in KINDS]),
            **{name: self.reference(name) for name in (*REFERENCES, *NULLS)},
        )

    def _reference(self, name: str) -> Float32:
        """(target query)."""
        return self.references[index_of("reference", name, REFERENCES)]

    def _under(self, kind: TransferKind, source: str) -> Float32:
        """(target query)."""
        return self.right[index_of("kind", kind, KINDS), index_of("task", source, self.tasks)]
