"""Base of studies over tasks: queries of each task, lookups by name, and tidy tables over named axes."""

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import model_validator

from site_lens.models.identity import ModelIdentity
from site_lens.records.base import Axes, Float32, Record
from site_lens.records.errors import unknown_name
from site_lens.stats.intervals import Interval, wilson

if TYPE_CHECKING:
    import pandas as pd


class ModelStudy(Record):
    """Record of a study that was measured on a model."""

    model: ModelIdentity
    versions: dict[str, str]
    """Versions of the libraries."""
    notes: tuple[str, ...] = ()
    """Notes for the reader: fits made on other rows or other weights, fits that failed."""


class TaskStudy(Record):
    """Record of a study that asks the test queries of several tasks; arrays of answers end in (task query)."""

    tasks: tuple[str, ...]
    asked: Annotated[Float32, Axes(("task", "query"), 0, 1)]
    """(task query): 1 where there is a query; tasks have as many as their test split, up to a cap."""

    @model_validator(mode="after")
    def _every_task_has_a_query(self) -> Self:
        if not (self.asked.sum(1) >= 1).all():
            raise ValueError(f"needs at least one query for each of {self.tasks}")
        return self

    @property
    def n_queries(self) -> Float32:
        """(task): number of queries."""
        counts: Float32 = self.asked.sum(1)
        return counts

    def task_indices(self, task: str | None) -> list[int]:
        """Return the index of one task, or those of all tasks when None.

        Raises:
            UnknownNameError: There is no such task.
        """
        return list(range(len(self.tasks))) if task is None else [index_of("task", task, self.tasks)]

    def _queries_of(self, values: Float32, task: str | None = None) -> Float32:
        """Return (... query) of (... task query): the queries of one task, or those of all tasks in a row."""
        indices = self.task_indices(task)
        selected: Float32 = values[..., indices, :][..., self.asked[indices] == 1]
        return selected

    def _weighted_queries_of(self, values: Float32, task: str | None = None) -> NDArray[np.float64]:
        """Return the same, weighted such that the mean over queries is the mean over tasks."""
        counts = self.n_queries[self.task_indices(task)].astype(int)
        weights = np.repeat(counts.sum() / (len(counts) * counts), counts)
        weighted: NDArray[np.float64] = self._queries_of(values, task).astype(np.float64) * weights
        return weighted


def index_of(kind: str, name: str, names: Sequence[str]) -> int:
    """Return the index of a name.

    Raises:
        UnknownNameError: There is no such name.
    """
    if name not in names:
        raise unknown_name(kind, name, names)
    return list(names).index(name)


def proportion(right: Float32) -> Interval:
    """Return the share of right answers, (query), with Wilson's 95% interval."""
    return wilson(int(right.sum()), len(right))


def interval_columns(name: str, estimate: Interval | None, prefix: str = "") -> dict[str, float | None]:
    """Return an estimate and the ends of its interval as columns of a table; None where there is no estimate."""
    ends = (None,) * 3 if estimate is None else (estimate.value, estimate.low, estimate.high)
    return dict(zip((name, f"{prefix}low", f"{prefix}high"), ends, strict=True))


def accuracy_columns(n_right: ArrayLike, n: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """Return accuracies, the ends of their Wilson intervals and the numbers of queries as columns of a table."""
    counts = np.stack(np.broadcast_arrays(n_right, n), axis=-1)
    intervals = [wilson(int(right), int(total)) for right, total in counts.reshape(-1, 2)]
    values = np.array([(cell.value, cell.low, cell.high, cell.n) for cell in intervals]).reshape(*counts.shape[:-1], 4)
    columns = {name: values[..., i] for i, name in enumerate(("accuracy", "low", "high"))}
    return columns | {"n": values[..., 3].astype(int)}


def tidy(axes: dict[str, Sequence[Any]], **columns: ArrayLike) -> "pd.DataFrame":
    """Return a table with a row for each combination of the axes' labels; columns broadcast over the axes."""
    import pandas as pd

    table = pd.DataFrame(product(*axes.values()), columns=list(axes))
    shape = tuple(map(len, axes.values()))
    return table.assign(**{name: np.broadcast_to(values, shape).ravel() for name, values in columns.items()})
