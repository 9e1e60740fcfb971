"""How much of SITE's gain is reached without the task's own embedding, alphas retrained each time."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from site_lens.methods.evaluation import Evaluations
from site_lens.methods.registry import CONTENTS
from site_lens.records.base import Axes, Count, Float32, Record
from site_lens.records.errors import InputError, unknown_name
from site_lens.stats.intervals import Interval, paired_difference, paired_share, wilson
from site_lens.stats.paired_tests import FEWEST, Paired

if TYPE_CHECKING:
    import pandas as pd

METHODS = ("zero_shot", "few_shot", "site", *CONTENTS)

SMALLEST_GAIN = 0.05
"""Gain of SITE over zero-shot below which, at the lower end of its interval, shares of it say nothing."""
HALF = 0.5

ContentVerdict = Literal["most of the gain", "less than half", "not found", "nothing to share", "too few"]
VERDICTS: dict[ContentVerdict, str] = {
    "most of the gain": "The control reaches more than half of SITE's gain, by test and interval.",
    "less than half": "The control reaches less than half of SITE's gain, by test and interval.",
    "not found": "Whether the control reaches half of SITE's gain is not found; the interval holds one half.",
    "nothing to share": "SITE gains too little over zero-shot to be shared out.",
    "too few": f"Fewer than {FEWEST['queries']} queries.",
}
"""What each verdict on a control says. What no embedding or a random one reaches is the gates' doing; the mean of all
tasks' holds the task's own in part."""


class ContentControls(Record):
    """Right answers of SITE and of the same fit with other contents, on the same test queries."""

    kind: ClassVar[str] = "content_controls"

    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    """`zero_shot`, `few_shot`, `site`, and the controls that were fitted."""
    right: Annotated[Float32, Axes(("method", "task", "query"), 0, 1)]
    """(method task query): 1 where the first token was right; 0 also where nothing was asked."""
    asked: Annotated[Float32, Axes(("task", "query"), 0, 1)]
    """(task query): 1 where there is a query."""
    n_shots: Count
    evaluation_digests: tuple[str, ...]

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        shape = (len(self.methods), *self.asked.shape)
        if self.right.shape != shape or self.asked.shape[0] != len(self.tasks) or not (self.asked.sum(1) >= 1).all():
            raise ValueError(f"needs (method task query) = {shape} with a query a task, got {self.right.shape}")
        if not set(self.methods) >= {"zero_shot", "few_shot", "site"} or not self.controls:
            raise ValueError(f"needs zero_shot, few_shot, site and a control, got {self.methods}")
        return self

    @classmethod
    def of(cls, evaluations: Evaluations) -> "ContentControls":
        """Read off the evaluations of a study that fitted such controls (`methods.registry.CONTENTS`).

        Raises:
            InputError: A task lacks SITE, or no control was evaluated on all tasks.
        """
        controls = [name for name in CONTENTS if all(name in one.methods for one in evaluations.values())]
        if not evaluations or not controls or any("site" not in one.methods for one in evaluations.values()):
            raise InputError(
                f"needs evaluations of SITE with at least one of {', '.join(CONTENTS)}; got {evaluations.methods}"
            )
        every = list(evaluations.values())
        reference = evaluations.reference
        if reference is None:
            raise InputError("needs few-shot prompting with equally many demonstrations; evaluate all tasks alike")
        prompting = ("zero_shot", reference)
        lacking = [one.task for one in every if not set(prompting) <= set(one.methods)]
        if lacking:
            raise InputError(f"{lacking[0]!r} was not evaluated with {' and '.join(prompting)}")
        n_queries = max(len(one.queries) for one in every)
        right = np.zeros((3 + len(controls), len(every), n_queries), dtype=np.float32)
        for i, one in enumerate(every):
            rows = [one.methods.index(name) for name in (*prompting, "site", *controls)]
            right[:, i, : len(one.queries)] = one.first_token[rows]
        return cls(
            tasks=tuple(evaluations),
            methods=("zero_shot", "few_shot", "site", *controls),
            right=right,
            asked=[np.arange(n_queries) < len(one.queries) for one in every],
            n_shots=every[0].n_shots,
            evaluation_digests=tuple(one.digest for one in every),
        )

    @property
    def controls(self) -> tuple[str, ...]:
        """The methods that mix in something else than the task's embedding."""
        return tuple(name for name in self.methods if name in CONTENTS)

    def accuracy(self, method: str, task: str | None = None) -> Interval:
        """Accuracy of a method, mean over tasks or of one; interval as in `share`, and of one task Wilson's."""
        right = self._answers(method, task)
        if task is not None:
            return wilson(int(right.sum()), len(right))
        return paired_difference(right)

    def gain(self, method: str, task: str | None = None) -> Interval:
        """Accuracy of a method less that of zero-shot on the same queries; interval as in `share`."""
        return paired_difference(self._answers(method, task), self._answers("zero_shot", task))

    def share(self, method: str, task: str | None = None) -> Interval | None:
        """Share of SITE's gain over zero-shot that a method reaches; None where SITE gains too little to share.

        Mean accuracies over tasks, each of which counts once, or of one. The 95% interval is Fieller's over queries: it
        speaks of other queries of these tasks, not of other tasks, fits or draws.
        """
        if self.gain("site", task).low < SMALLEST_GAIN:
            return None
        zero = self._answers("zero_shot", task)
        return paired_share(self._answers(method, task) - zero, self._answers("site", task) - zero)

    def beyond(self, share: float, method: str, task: str | None = None) -> Paired:
        """Compare a method query by query with a share of SITE's gain over zero-shot."""
        least = share * self._answers("site", task) + (1 - share) * self._answers("zero_shot", task)
        return Paired.of(self._answers(method, task), least, over="queries")

    def verdict(self, control: str, task: str | None = None) -> ContentVerdict:
        """Whether a control reaches half of what SITE gains; see `VERDICTS`."""
        if self.share(control, task) is None:
            return "nothing to share"
        found = self.beyond(HALF, control, task).verdict
        return {"above": "most of the gain", "below": "less than half"}.get(found, found)  # type: ignore[return-value]

    def frame(self) -> "pd.DataFrame":
        """One row per task and method, the mean over tasks first: accuracy, gain over zero-shot, share of SITE's."""
        import pandas as pd

        rows = []
        for task in (None, *self.tasks):
            for method in self.methods:
                accuracy, share = self.accuracy(method, task), self.share(method, task)
                shared = (np.nan,) * 3 if share is None else (share.value, share.low, share.high)
                rows.append((task or "mean", method, accuracy.value, accuracy.low, accuracy.high,
                             self.gain(method, task).value, *shared,
                             self.verdict(method, task) if method in self.controls else "", accuracy.n))  # fmt: skip
        columns = ["task", "method", "accuracy", "low", "high", "gain", "share", "share_low", "share_high",
                   "verdict", "n"]  # fmt: skip
        return pd.DataFrame(rows, columns=columns)

    def _place(self, method: str) -> int:
        if method not in self.methods:
            raise unknown_name("method", method, self.methods)
        return self.methods.index(method)

    def _answers(self, method: str, task: str | None) -> NDArray[np.float64]:
        """(query): right answers of one task, or of all tasks in a row, so weighted that each task counts once."""
        if task is not None and task not in self.tasks:
            raise unknown_name("task", task, self.tasks)
        chosen = range(len(self.tasks)) if task is None else [self.tasks.index(task)]
        rows = [self.right[self._place(method), i, self.asked[i] == 1].astype(np.float64) for i in chosen]
        n = sum(map(len, rows))
        return np.concatenate([row * (n / (len(rows) * len(row))) for row in rows])
