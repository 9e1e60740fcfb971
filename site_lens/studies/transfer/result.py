"""What alphas and embeddings of one task do for another, query by query."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import model_validator

from site_lens.models.identity import ModelIdentity
from site_lens.records.base import Axes, Count, Float32, Record
from site_lens.records.errors import InputError, unknown_name
from site_lens.stats.intervals import Interval, paired_difference, wilson

if TYPE_CHECKING:
    import pandas as pd

TransferKind = Literal["alphas", "embedding", "both"]
KINDS: tuple[TransferKind, ...] = ("alphas", "embedding", "both")
"""What comes from the source; the rest is the target's own."""

REFERENCES = ("zero_shot", "few_shot", "own")
"""What a cell is judged by: the target without and with demonstrations, and under its own fit."""

NULLS = ("shuffled_heads", "random_heads", "random_embedding")
"""What a source must beat: the target's alphas shuffled among the heads of each layer, as many open heads as the target
has in each layer drawn at random, and a random embedding with the norms of the target's."""

Cells = Annotated[Float32, Axes(("kind", "source", "target", "query"))]
TargetQuery = Annotated[Float32, Axes(("reference", "target", "query"))]
NullQuery = Annotated[Float32, Axes(("null", "draw", "target", "query"))]
Queries = Annotated[Float32, Axes(("target", "query"))]

SMALLEST_GAIN = 0.1
"""A target whose own fit gains less than this over zero-shot has nothing to normalise by."""


class TransferMatrix(Record):
    """Accuracy of every task under alphas, embeddings, or both of every task; each target answers the same queries."""

    kind: ClassVar[str] = "transfer_matrix"

    tasks: tuple[str, ...]
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
    asked: Annotated[Float32, Axes(("target", "query"), 0, 1)]
    """(target query): 1 where there is a query; targets have as many as their test split, up to a cap."""
    n_shots: Count
    hard: bool
    """Whether the gates were rounded at 0.5."""
    seed: Count
    fit_digests: tuple[str, ...]
    model: ModelIdentity
    versions: dict[str, str]
    notes: tuple[str, ...] = ()
    """What a reader should know of the fits: made on other rows, other weights, and the like."""

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        n, n_queries = len(self.tasks), self.asked.shape[1]
        wanted = {
            "right": (len(KINDS), n, n, n_queries),
            "log_prob": (len(KINDS), n, n, n_queries),
            "references": (len(REFERENCES), n, n_queries),
            "nulls": (len(NULLS), self.nulls.shape[1], n, n_queries),
            "asked": (n, n_queries),
        }
        found = {name: getattr(self, name).shape for name in wanted}
        wrong = {name: shape for name, shape in found.items() if shape != wanted[name]}
        if wrong or len(set(self.tasks)) < n or len(self.families) != n or len(self.fit_digests) != n:
            raise ValueError(f"{n} tasks, {self.tasks}, do not fit arrays of shape {wrong or 'right'}, or repeat")
        if not (self.asked.sum(1) >= 1).all() or not self.nulls.shape[1]:
            raise ValueError("needs a query a target and a draw of each null at least")
        return self

    def _index(self, task: str) -> int:
        if task not in self.tasks:
            raise unknown_name("task", task, self.tasks)
        return self.tasks.index(task)

    @property
    def n_queries(self) -> Float32:
        """(target): queries that stand behind every number of a target."""
        found: Float32 = self.asked.sum(1)
        return found

    def accuracies(self, kind: TransferKind) -> Float32:
        """(source target): accuracy of every target under every source."""
        found: Float32 = self.right[_place(kind, KINDS)].sum(-1) / self.n_queries
        return found

    def reference(self, name: str) -> Float32:
        """(target): accuracy of every target as it is, see `REFERENCES`, or the mean of a null, see `NULLS`."""
        values = self.nulls[NULLS.index(name)].mean(0) if name in NULLS else self.references[_place(name, REFERENCES)]
        found: Float32 = values.sum(-1) / self.n_queries
        return found

    def normalised(self, kind: TransferKind) -> Float32:
        """(source target): 0 where a source leaves the target at zero-shot, 1 where it does as well as its own fit.

        Targets whose own fit gains less than 0.1 over zero-shot hold NaN: there is nothing to divide by.
        """
        zero, own = self.reference("zero_shot"), self.reference("own")
        gain = np.where(own - zero >= SMALLEST_GAIN, own - zero, np.nan)
        found: Float32 = ((self.accuracies(kind) - zero) / gain).astype(np.float32)
        return found

    def cell(self, kind: TransferKind, source: str, target: str) -> Interval:
        """Accuracy of one cell with Wilson's 95% interval."""
        j = self._index(target)
        row = self.right[_place(kind, KINDS), self._index(source), j][self.asked[j] == 1]
        return wilson(int(row.sum()), len(row))

    def difference(self, kind: TransferKind, source: str, target: str, over: str = "own") -> Interval:
        """Accuracy of one cell less that of a reference, or of another source's cell, on the same queries."""
        j = self._index(target)
        asked = self.asked[j] == 1
        other = (
            self.references[REFERENCES.index(over), j]
            if over in REFERENCES
            else self.right[_place(kind, KINDS), self._index(over), j]
        )
        return paired_difference(self.right[_place(kind, KINDS), self._index(source), j][asked], other[asked])

    def asymmetry(self, kind: TransferKind) -> float:
        """Mean absolute difference between a cell and its mirror image, normalised; NaN where none can be compared."""
        values = self.normalised(kind)
        above = np.abs(values - values.T)[np.triu_indices(len(self.tasks), 1)]
        return float(np.nanmean(above)) if np.isfinite(above).any() else float("nan")

    def frame(self) -> "pd.DataFrame":
        """One row per kind, source and target: accuracy, its interval, normalised score, references, queries."""
        import pandas as pd

        references = {name: self.reference(name) for name in (*REFERENCES, *NULLS)}
        rows = []
        for kind in KINDS:
            normalised = self.normalised(kind)
            for i, source in enumerate(self.tasks):
                for j, target in enumerate(self.tasks):
                    cell = self.cell(kind, source, target)
                    own = {name: float(values[j]) for name, values in references.items()}
                    rows.append(
                        {"kind": kind, "source": source, "target": target, "accuracy": cell.value, "low": cell.low,
                         "high": cell.high, "normalised": float(normalised[i, j]), **own, "n": cell.n}
                    )  # fmt: skip
        return pd.DataFrame(rows)


def _place(name: str, names: tuple[str, ...]) -> int:
    if name not in names:
        raise InputError(f"no {name!r} here; there are {', '.join(names)}")
    return names.index(name)
