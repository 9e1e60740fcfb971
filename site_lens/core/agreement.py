"""How reproducible alpha maps are: the same task over seeds and starts, against different tasks."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, model_validator

from site_lens.core.errors import unknown_name
from site_lens.core.heads import HeadGrid
from site_lens.core.records import SLACK, Axes, Float32, Frozen, Record

if TYPE_CHECKING:
    import pandas as pd

TaskLayerHead = Annotated[Float32, Axes(("task", "layer", "head"))]


class TaskAgreement(Frozen):
    """Agreement of the fits of one task; correlations are Pearson's over all heads, and None where no pair exists."""

    task: str
    n_fits: int = Field(ge=1)
    sampling: float | None = Field(ge=-1 - SLACK, le=1 + SLACK)
    """Mean correlation of two fits that start at the same alphas and differ in what they drew."""
    starts: float | None = Field(ge=-1 - SLACK, le=1 + SLACK)
    """Mean correlation of two fits that start at different alphas, too."""
    lowest: float | None = Field(ge=-1 - SLACK, le=1 + SLACK)
    """Lowest correlation of any two fits."""
    jaccard: float | None = Field(ge=0, le=1 + SLACK)
    """Mean Jaccard index of the heads above 0.5 in two fits."""
    ranks: float | None = Field(ge=-1 - SLACK, le=1 + SLACK)
    """Mean rank correlation (Spearman) of two fits."""
    elsewhere: float | None = Field(ge=-1 - SLACK, le=1 + SLACK)
    """Mean correlation with fits of other tasks."""

    @property
    def own(self) -> float | None:
        """Lower of the two correlations within the task: what a single map can be trusted for."""
        known = [value for value in (self.sampling, self.starts) if value is not None]
        return min(known, default=None)


class Agreement(Record):
    """Agreement of several fits of several tasks, and their mean maps."""

    kind: ClassVar[str] = "agreement"

    grid: HeadGrid
    tasks: tuple[TaskAgreement, ...]
    mean: TaskLayerHead
    """(task layer head): mean alpha over the fits of a task."""
    spread: Annotated[Float32, Axes(("task", "layer", "head"), 0)]
    """(task layer head): standard deviation of alpha over the fits of a task, at most 0.5; 0 of one."""

    @model_validator(mode="after")
    def _fits_grid(self) -> Self:
        expected = (len(self.tasks), *self.grid.shape)
        if not self.tasks or self.mean.shape != expected or self.spread.shape != expected:
            raise ValueError(f"maps of shapes {self.mean.shape} and {self.spread.shape} do not fit {expected}")
        return self

    def of(self, task: str) -> TaskAgreement:
        """Return the agreement of one task."""
        found = {one.task: one for one in self.tasks}
        if task not in found:
            raise unknown_name("task", task, found)
        return found[task]

    def frame(self) -> "pd.DataFrame":
        """One row per task: n_fits, sampling, starts, lowest, jaccard, ranks, elsewhere; NaN where no pair exists."""
        import pandas as pd

        columns = list(TaskAgreement.model_fields)
        return pd.DataFrame([[getattr(one, name) for name in columns] for one in self.tasks], columns=columns)

    def heads_frame(self) -> "pd.DataFrame":
        """One row per task and head: task, layer, head, mean, spread, n_fits."""
        import pandas as pd

        rows = [
            (one.task, head.layer, head.head, self.mean[i, head.layer, head.head],
             self.spread[i, head.layer, head.head], one.n_fits)
            for i, one in enumerate(self.tasks)
            for head in self.grid
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["task", "layer", "head", "mean", "spread", "n_fits"])
