"""Taking one task's results of several seeds apart, and putting them together again."""

from collections.abc import Mapping

import numpy as np

from site_lens.core.evaluation import MATCHES, SITE_METHODS, Evaluation, Evaluations, split_seed
from site_lens.core.fits import SiteFits
from site_lens.core.runs import Run


def with_seed(method: str, seed: int) -> str:
    """Put a seed into the name of a method of the lowest seed: `site_hard` becomes `site#1_hard`."""
    if method in SITE_METHODS:
        return f"site#{seed}{method.removeprefix('site')}"
    return f"{method}#{seed}"


def select(evaluation: Evaluation, names: Mapping[str, str]) -> Evaluation:
    """Keep some methods of an evaluation, under new names.

    Args:
        evaluation: The evaluation.
        names: New name by old name.
    """
    rows = [evaluation.methods.index(old) for old in names]
    arrays = {
        name: getattr(evaluation, name)[rows]
        for name in (*MATCHES, "rank", "log_prob")
        if getattr(evaluation, name) is not None
    }
    return evaluation.replace(
        methods=tuple(names.values()),
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
    measured = run.evaluations[task]
    lowest = min(fit.seed for fit in run.fits.of(task))
    fitted = {*SITE_METHODS, *controls}
    split = {method: split_seed(method) for method in measured.methods}
    if seed == lowest:
        names = {method: method for method, (_, own) in split.items() if own is None}
    else:
        names = {
            method: name for method, (name, own) in split.items() if own == seed or method not in fitted and own is None
        }
    return Run(fits, controls, Evaluations([select(measured, names)]))


def merge_seeds(runs: Mapping[int, Run]) -> Run:
    """Put the runs of one task together, by seed: the lowest seed is called `site`, the others `site#<seed>`."""
    lowest, *others = sorted(runs)
    first = runs[lowest]
    controls = {
        name: SiteFits([fit for seed in sorted(runs) for fit in runs[seed].controls[name].values()])
        for name in first.controls
    }
    fits = SiteFits([fit for seed in sorted(runs) for fit in runs[seed].fits.values()])
    if first.evaluations is None:
        return Run(fits, controls)
    (measured,) = first.evaluations.values()
    parts = [measured]
    for seed in others:
        (other,) = (runs[seed].evaluations or {}).values()
        fitted = [method for method in other.methods if method in {*SITE_METHODS, *controls}]
        parts.append(select(other, {method: with_seed(method, seed) for method in fitted}))
    return Run(fits, controls, Evaluations([_stacked(parts)]))


def _stacked(parts: list[Evaluation]) -> Evaluation:
    first = parts[0]
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in (*MATCHES, "rank", "log_prob")
        if getattr(first, name) is not None
    }
    return first.replace(
        methods=tuple(method for part in parts for method in part.methods),
        labelled_rows=tuple(rows for part in parts for rows in part.labelled_rows),
        costs=tuple(cost for part in parts for cost in part.costs) if all(part.costs for part in parts) else (),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        **arrays,
    )
