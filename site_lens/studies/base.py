"""Base of studies over tasks: queries of each task, lookups by name, and tidy tables over named axes."""

from collections.abc import Sequence
from dataclasses import astuple
from itertools import product
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from site_lens.models.identity import ModelIdentity
from site_lens.records.base import Axes, Float32, Record
from site_lens.records.errors import unknown_name
from site_lens.records.lazy_pandas import pd
from site_lens.stats.intervals import Interval, wilson


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

    @property
    def n_queries(self) -> Float32:
        """(task): number of queries."""
        return self.asked.sum(1)

    def task_indices(self, task: str | None) -> list[int]:
        """Return the index of one task, or those of all tasks when None.

        Raises:
            UnknownNameError: There is no such task.
        """
        return list(range(len(self.tasks))) if task is None else [index_of("task", task, self.tasks)]

    def _queries_of(self, values: Float32, task: str | None = None) -> Float32:
        """Return (... query) of (... task query): the queries of one task, or those of all tasks in a row."""
        indices = self.task_indices(task)
        return values[..., indices, :][..., self.asked[indices] == 1]

    def _weighted_queries_of(self, values: Float32, task: str | None = None) -> NDArray[np.float64]:
        """Return the same, weighted such that the mean over queries is the mean over tasks."""
        counts = self.n_queries[self.task_indices(task)].astype(int)
        weights = np.repeat(counts.sum() / (len(counts) * counts), counts)
        return self._queries_of(values, task).astype(np.float64) * weights


class AskedStudy(TaskStudy, ModelStudy):
    """Record of a study that asks a model the test queries of several tasks."""


def index_of(kind: str, name: str, names: Sequence[str]) -> int:
    """Return the index of a name.

    Raises:
        UnknownNameError: There is no such name.
    """
    if name not in names:
        raise unknown_name(kind, name, names)
    return list(names).index(name)


def stack(arrays: Sequence[Float32], axis: int) -> Float32:
    """Stack arrays along a new axis; last axes (queries) that are shorter than others are filled up with 0."""
    arrays = [np.asarray(array) for array in arrays]
    widest = max((array.shape[-1] for array in arrays if array.ndim), default=0)
    padded = [np.pad(a, [*[(0, 0)] * (a.ndim - 1), (0, widest - a.shape[-1])]) if a.ndim else a for a in arrays]
    return np.stack(padded, axis=axis).astype(np.float32)


def asked_queries(n_queries: Sequence[int]) -> np.ndarray:
    """Return where there is a query, (task query)."""
    return np.arange(max(n_queries)) < np.array(n_queries)[:, None]


def interval_columns(name: str, estimate: Interval | None, prefix: str = "") -> dict[str, float | None]:
    """Return an estimate and the ends of its interval as columns of a table; None where there is no estimate."""
    ends = (None,) * 3 if estimate is None else (estimate.value, estimate.low, estimate.high)
    return dict(zip((name, f"{prefix}low", f"{prefix}high"), ends, strict=True))


def accuracy_columns(n_right: ArrayLike, n: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """Return accuracies, the ends of their Wilson intervals and the numbers of queries as columns of a table."""
    n_right, n = np.broadcast_arrays(n_right, n)
    cells = [astuple(wilson(int(right), int(total))) for right, total in zip(n_right.flat, n.flat, strict=True)]
    accuracy, low, high, _ = np.array(cells).T.reshape(4, *n.shape)
    return {"accuracy": accuracy, "low": low, "high": high, "n": n.astype(int)}


def tidy(axes: dict[str, Sequence[Any]], **columns: ArrayLike) -> "pd.DataFrame":
    """Return a table with a row for each combination of the axes' labels; columns broadcast over the axes."""
    shape = tuple(map(len, axes.values()))
    broadcast = {name: np.broadcast_to(values, shape).ravel() for name, values in columns.items()}
    return pd.DataFrame(product(*axes.values()), columns=list(axes)).assign(**broadcast)
