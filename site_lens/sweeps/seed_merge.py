"""Seeds of a task: split a run into one for each seed, and merge them again."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from site_lens.methods.evaluation import Evaluation, Evaluations
from site_lens.methods.registry import SITE_METHODS
from site_lens.records.base import array_axes
from site_lens.runs.run import Run
from site_lens.site.fit import SiteFits

PER_METHOD = (
    *(name for name, axis in Evaluation.lengths.items() if axis == "method"),
    *(name for name, axes in array_axes(Evaluation).items() if axes[0] == "method"),
)
"""Fields of an evaluation that have an entry for each method, unless they were not measured."""


def select(evaluation: Evaluation, rows: Sequence[int]) -> Evaluation:
    """Keep some methods of an evaluation, those of these rows."""
    return evaluation.replace(**{
        name: values[list(rows)] if isinstance(values, np.ndarray) else tuple(values[row] for row in rows)
        for name in PER_METHOD if (values := getattr(evaluation, name)) is not None and len(values)
    })  # fmt: skip


def part_of(run: Run, task: str, seed: int) -> Run:
    """Return the fit, controls and evaluation of one task and seed of a run of several."""

    def of_seed(fits: SiteFits) -> SiteFits:
        return SiteFits([fit for fit in fits.of(task) if fit.seed == seed])

    controls = {name: of_seed(fits) for name, fits in run.controls.items()}
    if run.evaluations is None:
        return Run(of_seed(run.fits), controls)
    lowest = min(fit.seed for fit in run.fits.of(task))
    evaluation = _with_seed(run.evaluations[task], {*SITE_METHODS, *controls}, lowest)
    rows = [row for row, method in enumerate(evaluation.evaluated) if method.seed in (None, seed)]
    return Run(of_seed(run.fits), controls, Evaluations([select(evaluation, rows)]))


def merge_seeds(runs: Mapping[int, Run]) -> Run:
    """Merge the runs of one task, given by seed."""
    merged = Run.join([replace(runs[seed], evaluations=None) for seed in sorted(runs)])
    parts: list[Evaluation] = []
    for seed, run in sorted(runs.items()):
        if run.evaluations is None:
            return merged
        evaluation = run.evaluations[next(iter(run.fits.values())).task]
        evaluation = _with_seed(evaluation, {*SITE_METHODS, *merged.controls}, seed)
        fitted = [row for row, method in enumerate(evaluation.evaluated) if method.seed is not None]
        parts.append(select(evaluation, fitted) if parts else evaluation)
    return replace(merged, evaluations=Evaluations([_concatenated(parts)]))


def _with_seed(evaluation: Evaluation, fitted: Collection[str], seed: int) -> Evaluation:
    """Give the fits of an evaluation this seed where none is recorded, as in files of site_lens 0.1."""
    return evaluation.replace(
        evaluated=tuple(
            method.replace(seed=seed) if method.seed is None and method.kind in fitted else method
            for method in evaluation.evaluated
        )
    )


def _concatenated(parts: Sequence[Evaluation]) -> Evaluation:
    """Concatenate the methods of evaluations on the same queries."""
    fields: dict[str, Any] = {}
    for name in PER_METHOD:
        values = [getattr(part, name) for part in parts]
        if any(value is None or not len(value) for value in values):  # not measured in every part
            fields[name] = Evaluation.model_fields[name].default
        else:
            fields[name] = np.concatenate(values) if isinstance(values[0], np.ndarray) else sum(values, ())
    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    return parts[0].replace(**fields, notes=notes)
