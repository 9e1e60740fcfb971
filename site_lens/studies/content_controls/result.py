"""Content controls: how much of SITE's gain is reached without the task's own embedding, alphas retrained each time."""

from typing import Annotated, ClassVar, Literal

import numpy as np

from site_lens.methods.evaluation import Evaluations
from site_lens.methods.registry import CONTENTS
from site_lens.records.base import Axes, Count, Float32, Lengths
from site_lens.records.display import few
from site_lens.records.errors import InputError
from site_lens.records.lazy_pandas import pd
from site_lens.stats.intervals import Interval, paired_difference, paired_share, share_interval
from site_lens.stats.paired_tests import FEWEST, LEAST_GAIN, Paired
from site_lens.studies.base import TaskStudy, asked_queries, index_of, interval_columns, stack

PROMPTING = ("zero_shot", "few_shot")
METHODS = (*PROMPTING, "site", *CONTENTS)

ContentVerdict = Literal["most of the gain", "less than half", "not found", "nothing to share", "too few"]
VERDICTS: dict[ContentVerdict, str] = {
    "most of the gain": "The control reaches more than half of SITE's gain, by test and interval.",
    "less than half": "The control reaches less than half of SITE's gain, by test and interval.",
    "not found": "Whether the control reaches half of SITE's gain is not found; the interval holds one half.",
    "nothing to share": "SITE gains too little over zero-shot to be shared out.",
    "too few": f"Fewer than {FEWEST['queries']} queries.",
}
"""Meaning of each verdict on a control. What no embedding or a random one reaches is the gates' doing; the mean of all
tasks' holds the task's own in part."""


class ContentControls(TaskStudy):
    """Right answers of SITE and of the same fit with other contents, on the same test queries."""

    kind: ClassVar[str] = "content_controls"
    lengths: ClassVar[Lengths] = {"evaluation_digests": "task"}

    methods: tuple[str, ...]
    """`zero_shot`, `few_shot`, `site`, and the controls that were fitted."""
    right: Annotated[Float32, Axes(("method", "task", "query"), 0, 1)]
    """(method task query): 1 where the first token was right; 0 also where nothing was asked."""
    n_shots: Count
    evaluation_digests: tuple[str, ...]

    @classmethod
    def of(cls, evaluations: Evaluations) -> "ContentControls":
        """Read the evaluations of a run that fitted such controls (`methods.registry.CONTENTS`).

        Raises:
            InputError: A task lacks SITE or prompting, or no control was evaluated on all tasks.
        """
        tasks = list(evaluations.values())
        in_all = set.intersection(*(set(task.methods) for task in tasks)) if tasks else set()
        controls = [name for name in CONTENTS if name in in_all]
        needed = ("zero_shot", evaluations.reference or "few-shot prompting", "site")
        lacking = [name for name in needed if name not in in_all]
        if lacking or not controls:
            raise InputError(
                f"needs all tasks evaluated alike with {', '.join(needed)} and at least one of {', '.join(CONTENTS)}; "
                f"got {evaluations.methods}"
            )
        rows = [[task.methods.index(name) for name in (*needed, *controls)] for task in tasks]
        return cls(
            tasks=tuple(evaluations),
            methods=(*PROMPTING, "site", *controls),
            right=stack([task.first_token[chosen] for task, chosen in zip(tasks, rows, strict=True)], axis=1),
            asked=asked_queries([len(task.queries) for task in tasks]),
            n_shots=tasks[0].n_shots,
            evaluation_digests=tuple(task.digest for task in tasks),
        )

    @property
    def controls(self) -> tuple[str, ...]:
        """The methods that mix in something else than the task's embedding."""
        return tuple(name for name in self.methods if name in CONTENTS)

    def _facts(self) -> dict[str, object]:
        means = {method: self.accuracy(method).value for method in self.methods}
        return {"tasks": f"{len(self.tasks)} ({few(self.tasks)})", **means}

    def accuracy(self, method: str, task: str | None = None) -> Interval:
        """Accuracy of a method, mean over tasks or of one; interval as in `share`, and of one task Wilson's."""
        return share_interval(self._right(method, task))

    def gain(self, method: str, task: str | None = None) -> Interval:
        """Accuracy of a method less that of zero-shot on the same queries; interval as in `share`."""
        return paired_difference(self._right(method, task), self._right("zero_shot", task))

    def share(self, method: str, task: str | None = None) -> Interval | None:
        """Share of SITE's gain over zero-shot that a method reaches; None where SITE gains too little to share.

        Mean accuracies over tasks, each of which counts once, or of one. The 95% interval is Fieller's over queries: it
        speaks of other queries of these tasks, not of other tasks, fits or draws.
        """
        if self.gain("site", task).low < LEAST_GAIN:
            return None
        zero = self._right("zero_shot", task)
        return paired_share(self._right(method, task) - zero, self._right("site", task) - zero)

    def beyond(self, share: float, method: str, task: str | None = None) -> Paired:
        """Compare a method query by query with a share of SITE's gain over zero-shot."""
        least = share * self._right("site", task) + (1 - share) * self._right("zero_shot", task)
        return Paired.of(self._right(method, task), least, over="queries")

    def verdict(self, control: str, task: str | None = None) -> ContentVerdict:
        """Whether a control reaches half of what SITE gains; see `VERDICTS`."""
        if self.share(control, task) is None:
            return "nothing to share"
        verdict = self.beyond(0.5, control, task).verdict
        return {"above": "most of the gain", "below": "less than half"}.get(verdict, verdict)  # type: ignore[return-value]

    def frame(self) -> "pd.DataFrame":
        """One row per task and method, the mean over tasks first: accuracy, gain over zero-shot, share of SITE's."""
        return pd.DataFrame(
            {
                "task": task or "mean",
                "method": method,
                **interval_columns("accuracy", self.accuracy(method, task)),
                "gain": self.gain(method, task).value,
                **interval_columns("share", self.share(method, task), "share_"),
                "verdict": self.verdict(method, task) if method in self.controls else "",
                "n": int(self.n_queries[self.task_indices(task)].sum()),
            }
            for task in (None, *self.tasks)
            for method in self.methods
        ).astype({"share": float, "share_low": float, "share_high": float})

    def _right(self, method: str, task: str | None) -> np.ndarray:
        """(query): right answers of one task, or of all tasks, so weighted that each task counts once."""
        return self._weighted_queries_of(self.right[index_of("method", method, self.methods)], task)
