"""Two tasks put together: what heads and embeddings of both do when they are injected at once."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import model_validator

from site_lens.heads.head_set import HeadSet
from site_lens.heads.scores import MixRule
from site_lens.models.identity import ModelIdentity
from site_lens.records.base import Axes, Float32, Record
from site_lens.records.errors import InputError, unknown_name
from site_lens.stats.intervals import Interval, wilson
from site_lens.stats.paired_tests import FEWEST, Paired, Verdict

if TYPE_CHECKING:
    import pandas as pd

CombineKind = Literal["union", "embeddings", "alphas_and_embeddings"]
KINDS: dict[CombineKind, str] = {
    "union": "Rounded alphas of both; each task's heads hold its own embedding, shared heads (1 - w) a + w b.",
    "embeddings": "Rounded alphas of both; every head holds (1 - w) a + w b.",
    "alphas_and_embeddings": "Alphas as fitted and embeddings both (1 - w) a + w b; w = 0 is a's fit, w = 1 is b's.",
}
"""How two tasks a and b are put together under a weight w."""

REFERENCES = ("zero_shot", "own", "own_hard")
"""What a combination is judged by: each task without injection, under its own fit, and under that with rounded
alphas."""

ArithmeticVerdict = Literal["both", "only the first", "only the second", "neither", "not found", "too few"]

VERDICTS: dict[ArithmeticVerdict, str] = {
    "both": "Both tasks keep at least 80 % of what their own fits gain.",
    "only the first": "The first task keeps 80 % of its gain, the second does not.",
    "only the second": "The second task keeps 80 % of its gain, the first does not.",
    "neither": "No task keeps 80 % of its gain.",
    "not found": "Whether a task keeps 80 % of its gain is not found; its interval holds 80 %.",
    "too few": f"Fewer than {FEWEST['queries']} queries of a task, or its own fit gains less than 0.1.",
}
"""What each verdict says; it stands on exact paired tests and intervals over queries."""

KEPT, SMALLEST_GAIN = 0.8, 0.1
"""Share of the gain that counts as doing a task; gain of its own fit below which nothing is said."""

Cells = Annotated[Float32, Axes(("kind", "weight", "task", "query"))]
ReferenceTaskQuery = Annotated[Float32, Axes(("reference", "task", "query"))]
Queries = Annotated[Float32, Axes(("task", "query"))]


class TaskArithmetic(Record):
    """Answers to the queries of two tasks under combinations of both."""

    kind: ClassVar[str] = "task_arithmetic"

    tasks: tuple[str, str]
    """The first task, a, and the second, b."""
    families: tuple[str | None, str | None]
    weights: tuple[float, ...]
    """Weights w of the second task, in rising order."""
    alphas: Annotated[Float32, Axes(("task", "layer", "head"), 0, 1)]
    """(task layer head): gates of both fits."""
    right: Annotated[Float32, Axes(("kind", "weight", "task", "query"), 0, 1)]
    """(kind weight task query): 1 where the first token was right; 0 also where nothing was asked."""
    log_prob: Annotated[Float32, Axes(("kind", "weight", "task", "query"), most=0)]
    """(kind weight task query): log-probability of the target's first token, in nats; 0 where nothing was asked."""
    references: Annotated[Float32, Axes(("reference", "task", "query"), 0, 1)]
    """(reference task query): 1 where right; see `REFERENCES`."""
    asked: Annotated[Float32, Axes(("task", "query"), 0, 1)]
    """(task query): 1 where there is a query."""
    rule: MixRule
    fit_digests: tuple[str, str]
    model: ModelIdentity
    versions: dict[str, str]
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        cells = (len(KINDS), len(self.weights), 2, self.asked.shape[1])
        wanted = {"right": cells, "log_prob": cells, "references": (len(REFERENCES), *cells[2:]), "asked": cells[2:]}
        wanted["alphas"] = (2, *self.model.grid.shape)
        found = {name: getattr(self, name).shape for name in wanted}
        wrong = {name: shape for name, shape in found.items() if shape != wanted[name]}
        if wrong or not (self.asked.sum(1) >= 1).all():
            raise ValueError(f"needs {wanted} and a query a task, got {wrong or 'none'}")
        if not self.weights or list(self.weights) != sorted(set(self.weights)):
            raise ValueError(f"needs rising weights, got {self.weights}")
        return self

    def heads(self) -> tuple[HeadSet, HeadSet]:
        """Return the heads of both tasks: those with alpha above 0.5."""
        first, second = (HeadSet.from_mask(self.model.grid, alphas > 0.5) for alphas in self.alphas)
        return first, second

    def accuracy(self, kind: CombineKind, weight: float, task: str) -> Interval:
        """Share of a task's queries right under a combination, with Wilson's 95% interval."""
        row = self._row(kind, weight, task)
        return wilson(int(row.sum()), len(row))

    def reference(self, name: str, task: str) -> Interval:
        """Share of a task's queries right under a reference, see `REFERENCES`, with Wilson's 95% interval."""
        row = self._reference_row(name, task)
        return wilson(int(row.sum()), len(row))

    def difference(self, kind: CombineKind, weight: float, task: str, over: str = "own") -> Interval:
        """Accuracy under a combination less that under a reference, on the same queries, with its 95% interval."""
        return self.compare(kind, weight, task, over).estimate

    def compare(self, kind: CombineKind, weight: float, task: str, over: str = "own") -> Paired:
        """Pair a combination with a reference query by query."""
        return Paired.of(self._row(kind, weight, task), self._reference_row(over, task), over="queries")

    def verdict(self, kind: CombineKind, weight: float) -> ArithmeticVerdict:
        """Say which of the two tasks a combination does; see `VERDICTS`."""
        first, second = (self._above_threshold(kind, weight, task) for task in self.tasks)
        for open_ in ("too few", "not found"):
            if open_ in (first, second):
                return open_
        if first == "above":
            return "both" if second == "above" else "only the first"
        return "only the second" if second == "above" else "neither"

    def _above_threshold(self, kind: CombineKind, weight: float, task: str) -> Verdict:
        """Compare with the accuracy from which on the task is done: zero-shot and a share of the own fit's gain.

        The threshold is measured on the same queries, so that the comparison is paired.
        """
        zero, own = (self._reference_row(name, task) for name in ("zero_shot", "own"))
        if own.mean() - zero.mean() < SMALLEST_GAIN:
            return "too few"
        least = (1 - KEPT) * zero + KEPT * own
        return Paired.of(self._row(kind, weight, task), least, over="queries").verdict

    def _row(self, kind: CombineKind, weight: float, task: str) -> Float32:
        if kind not in KINDS:
            raise unknown_name("kind", kind, KINDS)
        if weight not in self.weights:
            raise InputError(f"weight {weight} was not measured; there are {', '.join(map(str, self.weights))}")
        j = self._task(task)
        row: Float32 = self.right[list(KINDS).index(kind), self.weights.index(weight), j][self.asked[j] == 1]
        return row

    def _reference_row(self, name: str, task: str) -> Float32:
        if name not in REFERENCES:
            raise unknown_name("reference", name, REFERENCES)
        j = self._task(task)
        row: Float32 = self.references[REFERENCES.index(name), j][self.asked[j] == 1]
        return row

    def _task(self, task: str) -> int:
        if task not in self.tasks:
            raise unknown_name("task", task, self.tasks)
        return self.tasks.index(task)

    def frame(self) -> "pd.DataFrame":
        """One row per kind, weight and task: accuracy, difference to the own fit, intervals, verdict, references."""
        import pandas as pd

        rows = []
        for kind in KINDS:
            for weight in self.weights:
                verdict = self.verdict(kind, weight)
                for j, task in enumerate(self.tasks):
                    cell, less = self.accuracy(kind, weight, task), self.difference(kind, weight, task)
                    certain = self.log_prob[list(KINDS).index(kind), self.weights.index(weight), j]
                    rows.append(
                        {"kind": kind, "weight": weight, "task": task, "accuracy": cell.value, "low": cell.low,
                         "high": cell.high, "difference": less.value, "difference_low": less.low,
                         "difference_high": less.high, "log_prob": float(np.mean(certain[self.asked[j] == 1])),
                         **{name: self.reference(name, task).value for name in REFERENCES}, "verdict": verdict,
                         "n": cell.n}
                    )  # fmt: skip
        return pd.DataFrame(rows)
