"""Task arithmetic: what heads and embeddings of two tasks do when they are injected at once."""

from typing import Annotated, ClassVar, Literal

from site_lens.heads.head_set import HeadSet
from site_lens.heads.scores import MixRule
from site_lens.records.base import Axes, Float32, Lengths
from site_lens.records.errors import InputError
from site_lens.records.lazy_pandas import pd
from site_lens.stats.intervals import Interval, share_interval
from site_lens.stats.paired_tests import FEWEST, SMALLEST_GAIN, Paired, Verdict
from site_lens.studies.base import AskedStudy, index_of, interval_columns

CombineKind = Literal["union", "embeddings", "alphas_and_embeddings"]
KINDS: dict[CombineKind, str] = {
    "union": "Rounded alphas of both; each task's heads hold its own embedding, shared heads (1 - w) a + w b.",
    "embeddings": "Rounded alphas of both; every head holds (1 - w) a + w b.",
    "alphas_and_embeddings": "Alphas as fitted and embeddings both (1 - w) a + w b; w = 0 is a's fit, w = 1 is b's.",
}
"""Combinations of two tasks a and b under a weight w."""

REFERENCES = ("zero_shot", "own", "own_hard")
"""Accuracies that a combination is compared with: each task without injection, under its own fit, and under that with
rounded alphas."""

ArithmeticVerdict = Literal["both", "only the first", "only the second", "neither", "not found", "too few"]

VERDICTS: dict[ArithmeticVerdict, str] = {
    "both": "Both tasks keep at least 80 % of what their own fits gain.",
    "only the first": "The first task keeps 80 % of its gain, the second does not.",
    "only the second": "The second task keeps 80 % of its gain, the first does not.",
    "neither": "No task keeps 80 % of its gain.",
    "not found": "Whether a task keeps 80 % of its gain is not found; its interval holds 80 %.",
    "too few": f"Fewer than {FEWEST['queries']} queries of a task, or its own fit gains less than 0.1.",
}
"""Meaning of each verdict, which stands on exact paired tests and intervals over queries."""

BY_TASK: dict[tuple[Verdict, Verdict], ArithmeticVerdict] = {
    ("above", "above"): "both",
    ("above", "below"): "only the first",
    ("below", "above"): "only the second",
    ("below", "below"): "neither",
}

KEPT = 0.8
"""Share of the gain of its own fit from which on a task counts as done."""


class TaskArithmetic(AskedStudy):
    """Answers to the queries of two tasks under combinations of both."""

    kind: ClassVar[str] = "task_arithmetic"
    lengths: ClassVar[Lengths] = {
        "task": 2, "kind": len(KINDS), "reference": len(REFERENCES), "families": "task", "fit_digests": "task",
    }  # fmt: skip

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
    rule: MixRule
    fit_digests: tuple[str, str]

    def heads(self) -> tuple[HeadSet, HeadSet]:
        """Return the heads of both tasks: those with alpha above 0.5."""
        first, second = (HeadSet.from_mask(self.model.grid, alphas > 0.5) for alphas in self.alphas)
        return first, second

    def _facts(self) -> dict[str, object]:
        shares = {f"heads of {task}": len(heads) for task, heads in zip(self.tasks, self.heads(), strict=True)}
        both = {"shared heads": len(self.heads()[0] & self.heads()[1]), "weights": self.weights}
        return {"model": self.model.name, "tasks": " and ".join(self.tasks)} | shares | both

    def accuracy(self, kind: CombineKind, weight: float, task: str) -> Interval:
        """Share of a task's queries right under a combination, with Wilson's 95% interval."""
        return share_interval(self._under(self.right, kind, weight, task))

    def reference(self, name: str, task: str) -> Interval:
        """Share of a task's queries right under a reference, see `REFERENCES`, with Wilson's 95% interval."""
        return share_interval(self._reference(name, task))

    def difference(self, kind: CombineKind, weight: float, task: str, over: str = "own") -> Interval:
        """Accuracy under a combination less that under a reference, on the same queries, with its 95% interval."""
        return self.compare(kind, weight, task, over).estimate

    def compare(self, kind: CombineKind, weight: float, task: str, over: str = "own") -> Paired:
        """Pair a combination with a reference query by query."""
        right = self._under(self.right, kind, weight, task)
        return Paired.of(right, self._reference(over, task), over="queries")

    def verdict(self, kind: CombineKind, weight: float) -> ArithmeticVerdict:
        """Say which of the two tasks a combination does; see `VERDICTS`."""
        first, second = (self._keeps_gain(kind, weight, task) for task in self.tasks)
        if "too few" in (first, second):
            return "too few"
        return BY_TASK.get((first, second), "not found")

    def _keeps_gain(self, kind: CombineKind, weight: float, task: str) -> Verdict:
        """Compare with zero-shot plus a share of the own fit's gain, on the same queries."""
        zero, own = (self._reference(name, task) for name in ("zero_shot", "own"))
        if own.mean() - zero.mean() < SMALLEST_GAIN:
            return "too few"
        right = self._under(self.right, kind, weight, task)
        return Paired.of(right, (1 - KEPT) * zero + KEPT * own, over="queries").verdict

    def _under(self, values: Float32, kind: CombineKind, weight: float, task: str) -> Float32:
        """(query)."""
        if weight not in self.weights:
            raise InputError(f"weight {weight} was not measured; there are {', '.join(map(str, self.weights))}")
        cells = values[index_of("kind", kind, list(KINDS)), self.weights.index(weight)]
        return self._queries_of(cells, task)

    def _reference(self, name: str, task: str) -> Float32:
        """(query)."""
        return self._queries_of(self.references[index_of("reference", name, REFERENCES)], task)

    def frame(self) -> "pd.DataFrame":
        """One row per kind, weight and task: accuracy, difference to the own fit, intervals, verdict, references."""
        return pd.DataFrame(
            {
                "kind": kind,
                "weight": weight,
                "task": task,
                **interval_columns("accuracy", self.accuracy(kind, weight, task)),
                **interval_columns("difference", self.difference(kind, weight, task), "difference_"),
                "log_prob": float(self._under(self.log_prob, kind, weight, task).mean()),
                **{name: self.reference(name, task).value for name in REFERENCES},
                "verdict": self.verdict(kind, weight),
                "n": int(self.n_queries[j]),
            }
            for kind in KINDS
            for weight in self.weights
            for j, task in enumerate(self.tasks)
        )
