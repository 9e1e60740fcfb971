"""Alphas of fits as one row a task, averaged over seeds: what tasks and heads are grouped by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from site_lens.heads.head_set import HeadGrid
from site_lens.records.base import Float32
from site_lens.records.errors import InputError
from site_lens.site.fit import SiteFit, SiteFits
from site_lens.stats.similarity import is_constant


@dataclass(frozen=True, slots=True)
class AlphaRows:
    """Alphas of some fits, task by task."""

    grid: HeadGrid
    fitted: dict[str, Float32]
    """Alphas of each task (seed head), in order of the grid."""
    means: Float32
    """(task head): the same averaged over seeds."""
    families: tuple[str | None, ...]
    notes: tuple[str, ...]
    """What a reader of any grouping of these should know."""

    @classmethod
    def of(cls, fits: SiteFits) -> Self:
        """Read the alphas of fits over one grid; fits that kept their start, and tasks without a map, are left out.

        Raises:
            InputError: There are no fits, or no task has a map.
            MismatchError: The fits are over different grids.
        """
        grid, every = fits.one_grid(), list(fits.values())
        # by seed, so that the order in which fits came makes no difference to sums
        tasks = dict.fromkeys(fit.task for fit in every)
        by_task = {task: sorted(_with_map(fits.of(task)), key=lambda fit: fit.seed) for task in tasks}
        fitted = {task: np.stack([fit.gates.values[grid.mask] for fit in seeds]) for task, seeds in by_task.items()}
        means = np.stack([alphas.mean(axis=0, dtype=np.float64) for alphas in fitted.values()]).astype(np.float32)
        started = [all(fit.kept_start for fit in seeds) for seeds in by_task.values()]
        has_map = ~(is_constant(means) | started)
        flat = [task for task, mapped in zip(fitted, has_map, strict=True) if not mapped]
        if not has_map.any():
            raise InputError("no task has a map: the alphas of every fit are all alike, or those that it started with")
        notes = _notes(every, [len(alphas) for alphas in fitted.values()])
        n_started = sum(fit.kept_start for fit in every if fit.task not in flat)
        if n_started:
            notes += (f"{n_started} of {len(fits)} fits left out, which kept the alphas that they started with",)
        if flat:
            notes += (f"{len(flat)} of {len(fitted)} tasks left out, which have no map: {', '.join(flat)}",)
        kept = {task: alphas for task, alphas in fitted.items() if task not in flat}
        families = tuple(next((f.family for f in by_task[task] if f.family is not None), None) for task in kept)
        return cls(grid, kept, means[has_map], families, notes)

    @property
    def n_seeds(self) -> int:
        """Fewest fits of a task."""
        return min(map(len, self.fitted.values()))

    def open_heads(self, min_alpha: float) -> tuple[NDArray[np.bool_], tuple[str, ...], list[str]]:
        """Return which heads exceed `min_alpha` under some task, their names, and a note on how many do not.

        Raises:
            InputError: No head does, or `min_alpha` is not in [0, 1).
        """
        if not 0 <= min_alpha < 1:
            raise InputError(f"min_alpha lies in [0, 1), got {min_alpha}")
        is_open: NDArray[np.bool_] = self.means.max(axis=0) > min_alpha
        if not is_open.any():
            raise InputError(
                f"no head exceeds an alpha of {min_alpha:g} under any task; lower min_alpha, or look at the fits"
            )
        names = tuple(str(head) for head, kept in zip(self.grid, is_open, strict=True) if kept)
        closed, n_heads = int((~is_open).sum()), len(is_open)
        left_out = f"{closed} of {n_heads} heads left out: their alpha exceeds {min_alpha:g} under no task"
        return is_open, names, [left_out] if closed else []


def _with_map(fits: Sequence[SiteFit]) -> Sequence[SiteFit]:
    """Return the fits that did not keep their start; all where all did."""
    return [fit for fit in fits if not fit.kept_start] or fits


def _notes(fits: list[SiteFit], n_seeds: list[int]) -> tuple[str, ...]:
    notes = []
    if max(n_seeds) == 1:
        notes.append("one seed a task: how stable the clusters are over seeds is not known")
    elif min(n_seeds) == 1:
        notes.append(f"one seed only for {n_seeds.count(1)} of {len(n_seeds)} tasks")
    if any(fit.shared_with for fit in fits):
        notes.append("some tasks share one alpha map by construction; that they are alike is no finding")
    models = {fit.embedding.model.name: fit.embedding.model.short_name for fit in fits}
    if len(models) > 1:
        notes.append(
            f"fits of several models ({', '.join(models.values())}): a head of one is not the same head of another"
        )
    return tuple(notes)
