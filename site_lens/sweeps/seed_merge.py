"""Taking one task's results of several seeds apart, and putting them together again."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from site_lens.methods.evaluation import MATCHES, Evaluation, Evaluations
from site_lens.methods.registry import SITE_METHODS
from site_lens.runs.run import Run
from site_lens.site.fit import SiteFits


def select(evaluation: Evaluation, rows: Sequence[int]) -> Evaluation:
    """Keep some methods of an evaluation, those of these rows."""
    rows = list(rows)
    arrays = {
        name: getattr(evaluation, name)[rows]
        for name in (*MATCHES, "rank", "log_prob")
        if getattr(evaluation, name) is not None
    }
    return evaluation.replace(
        evaluated=tuple(evaluation.evaluated[row] for row in rows),
        labelled_rows=tuple(evaluation.labelled_rows[row] for row in rows),
        costs=tuple(evaluation.costs[row] for row in rows) if evaluation.costs else (),
        **arrays,
    )


def part_of(run: Run, task: str, seed: int) -> Run:
    """Take the fit, controls and evaluation of one task and seed out of a run of several."""
    fits = SiteFits([fit for fit in run.fits.of(task) if fit.seed == seed])
    controls = {
        name: SiteFits([fit for fit in every.of(task) if fit.seed == seed]) for name, every in run.controls.items()
    }
    if run.evaluations is None:
        return Run(fits, controls)
    measured = _with_seed(run.evaluations[task], {*SITE_METHODS, *controls}, min(f.seed for f in run.fits.of(task)))
    rows = [row for row, one in enumerate(measured.evaluated) if one.seed in (None, seed)]
    return Run(fits, controls, Evaluations([select(measured, rows)]))


def merge_seeds(runs: Mapping[int, Run]) -> Run:
    """Put the runs of one task together, by seed."""
    first = runs[min(runs)]
    controls = {
        name: SiteFits([fit for seed in sorted(runs) for fit in runs[seed].controls[name].values()])
        for name in first.controls
    }
    fits = SiteFits([fit for seed in sorted(runs) for fit in runs[seed].fits.values()])
    if first.evaluations is None:
        return Run(fits, controls)
    parts: list[Evaluation] = []
    for seed in sorted(runs):
        (measured,) = (runs[seed].evaluations or {}).values()
        measured = _with_seed(measured, {*SITE_METHODS, *controls}, seed)
        fitted = [row for row, one in enumerate(measured.evaluated) if one.seed is not None]
        parts.append(select(measured, fitted) if parts else measured)
    return Run(fits, controls, Evaluations([_stacked(parts)]))


def _with_seed(evaluation: Evaluation, fitted: Collection[str], seed: int) -> Evaluation:
    """Give the fits of an evaluation this seed where none is recorded, as in files of site_lens 0.1."""
    return evaluation.replace(
        evaluated=tuple(
            one.replace(seed=seed) if one.seed is None and one.kind in fitted else one for one in evaluation.evaluated
        )
    )


def _stacked(parts: list[Evaluation]) -> Evaluation:
    first = parts[0]
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in (*MATCHES, "rank", "log_prob")
        if getattr(first, name) is not None
    }
    return first.replace(
        evaluated=tuple(one for part in parts for one in part.evaluated),
        labelled_rows=tuple(rows for part in parts for rows in part.labelled_rows),
        costs=tuple(cost for part in parts for cost in part.costs) if all(part.costs for part in parts) else (),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        **arrays,
    )
