"""Agreement of alpha maps: over seeds and starts of one task, against that between tasks."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from site_lens.heads.head_set import HeadGrid
from site_lens.records.base import SLACK, Axes, Float32, Frozen, Record
from site_lens.records.display import CellMap, few
from site_lens.records.errors import unknown_name
from site_lens.records.lazy_pandas import pd
from site_lens.site.fit import SiteFit, SiteFits
from site_lens.stats.similarity import correlation, jaccard, rank_correlation

Correlation = Annotated[float | None, Field(ge=-1 - SLACK, le=1 + SLACK)]


class TaskAgreement(Frozen):
    """Agreement of the fits of one task; correlations are Pearson's over all heads, and None where no pair exists."""

    task: str
    n_fits: int = Field(ge=0)
    """Fits that have a map: those that did not keep their start."""
    sampling: Correlation
    """Mean correlation of two fits that start at the same alphas and differ in what they drew."""
    starts: Correlation
    """Mean correlation of two fits that start at different alphas, too."""
    lowest: Correlation
    """Lowest correlation of any two fits."""
    jaccard: float | None = Field(ge=0, le=1 + SLACK)
    """Mean Jaccard index of the heads above 0.5 in two fits, over the pairs of which one has such a head."""
    ranks: Correlation
    """Mean rank correlation (Spearman) of two fits."""
    elsewhere: Correlation
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
    tasks: Annotated[tuple[TaskAgreement, ...], Field(min_length=1)]
    mean: Annotated[Float32, Axes(("task", "layer", "head"))]
    """(task layer head): mean alpha over the fits of a task that have a map; over all where none has."""
    spread: Annotated[Float32, Axes(("task", "layer", "head"), 0)]
    """(task layer head): standard deviation of alpha over the same fits, at most 0.5; 0 of one."""

    def _facts(self) -> Mapping[str, object]:
        tasks, n_fits = [task.task for task in self.tasks], [task.n_fits for task in self.tasks]
        own = [task.own for task in self.tasks if task.own is not None]
        elsewhere = [task.elsewhere for task in self.tasks if task.elsewhere is not None]
        return {
            "tasks": f"{len(tasks)} ({few(tasks)})",
            "fits of a task": f"{min(n_fits)} to {max(n_fits)}",
            "correlation within tasks": float(np.mean(own)) if own else "one fit a task",
            **({"with other tasks": float(np.mean(elsewhere))} if elsewhere else {}),
        }

    def _maps(self) -> Mapping[str, CellMap]:
        return {
            f"{task.task}: mean alpha": CellMap(mean, self.grid.mask, full=1)
            for task, mean in zip(self.tasks, self.mean, strict=True)
        }

    def of(self, task: str) -> TaskAgreement:
        """Return the agreement of one task."""
        by_name = {agreement.task: agreement for agreement in self.tasks}
        if task not in by_name:
            raise unknown_name("task", task, by_name)
        return by_name[task]

    def frame(self) -> "pd.DataFrame":
        """One row per task: n_fits, sampling, starts, lowest, jaccard, ranks, elsewhere; NaN where no pair exists."""
        return pd.DataFrame([agreement.model_dump() for agreement in self.tasks])

    def heads_frame(self) -> "pd.DataFrame":
        """One row per task and head: task, layer, head, mean, spread, n_fits."""
        n = len(self.grid)
        return pd.DataFrame(
            {
                "task": np.repeat(np.array([task.task for task in self.tasks], dtype=object), n),
                **self.grid.columns(len(self.tasks)),
                "mean": self.mean[:, self.grid.mask].ravel(),
                "spread": self.spread[:, self.grid.mask].ravel(),
                "n_fits": np.repeat([task.n_fits for task in self.tasks], n),
            }
        )


SAME_START = 1e-6
"""Largest difference of any alpha before the first step at which two fits count as having started alike."""


def seed_agreement(fits: SiteFits) -> Agreement:
    """Compare every two fits, within tasks and between them.

    A map whose fits agree no more with each other than with those of other tasks says nothing about its task. A fit
    that kept its start has no map, and takes no part; of a task whose fits all did, there is no agreement.

    Args:
        fits: Fits of one grid, several a task (`fit_site(..., seeds=range(4))`, and `init="random"` for other starts).

    Raises:
        InputError: There are no fits.
        MismatchError: The fits are over different grids.
    """
    grid, every = fits.one_grid(), list(fits.values())
    maps = np.stack([fit.gates.values for fit in every])
    flat = maps[:, grid.mask]
    alike = {"correlation": correlation(flat), "ranks": rank_correlation(flat), "jaccard": jaccard(flat > 0.5)}
    names = list(dict.fromkeys(fit.task for fit in every))
    places = [[i for i, fit in enumerate(every) if fit.task == name] for name in names]
    moved = [[i for i in own if not every[i].kept_start] for own in places]
    shown = [maps[fitted or own] for fitted, own in zip(moved, places, strict=True)]
    return Agreement(
        grid=grid,
        tasks=tuple(_of_task(name, every, own, moved, alike) for name, own in zip(names, moved, strict=True)),
        mean=np.stack([each.mean(axis=0) for each in shown]),
        spread=np.stack([each.std(axis=0) for each in shown]),
    )


def _of_task(
    name: str, fits: list[SiteFit], own: list[int], moved: list[list[int]], alike: Mapping[str, NDArray[np.float64]]
) -> TaskAgreement:
    pairs = list(combinations(own, 2))
    together = [pair for pair in pairs if _start_alike(*(fits[i] for i in pair))]
    apart = [pair for pair in pairs if pair not in together]
    others = [(i, j) for i in own for each in moved for j in each if j not in own]
    correlations = alike["correlation"]
    return TaskAgreement(
        task=name,
        n_fits=len(own),
        sampling=_mean(correlations, together),
        starts=_mean(correlations, apart),
        lowest=min((float(correlations[pair]) for pair in pairs), default=None),
        jaccard=_mean(alike["jaccard"], pairs),
        ranks=_mean(alike["ranks"], pairs),
        elsewhere=_mean(correlations, others),
    )


def _start_alike(one: SiteFit, other: SiteFit) -> bool:
    if not (len(one.trace.alphas) and len(other.trace.alphas)):
        return one.config.init == other.config.init != "random"
    return bool(np.abs(one.trace.alphas[0] - other.trace.alphas[0]).max() <= SAME_START)


def _mean(values: NDArray[np.float64], pairs: Sequence[tuple[int, int]]) -> float | None:
    known = [value for value in (float(values[pair]) for pair in pairs) if not np.isnan(value)]
    return float(np.mean(known)) if known else None
