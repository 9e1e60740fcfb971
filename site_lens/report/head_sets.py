"""Section of chosen head sets: which heads carry which task, how sure that is, and what they reach."""

from typing import Any

from site_lens import plots
from site_lens.methods.evaluation import Evaluations
from site_lens.plots.section import SectionFigure, with_interval
from site_lens.runs.run import Run
from site_lens.site.head_path import CORE_SHARE, HeadPath

MOST_NAMED = 12
"""Heads of a set that are named in the table; the others are counted."""


def head_sets_section(run: Run) -> dict[str, Any] | None:
    """Return the rows, sentences and figures of the chosen sets; None where no path was fitted."""
    if not run.paths:
        return None
    evaluations = run.evaluations or Evaluations([])
    reference = evaluations.reference
    columns = [name for name in ("zero_shot", reference, "site", "site_sparse", "gates_sparse") if name is not None]
    methods = [name for name in columns if name in evaluations.methods]
    return {
        "methods": methods,
        "rows": [_row(path, evaluations, methods) for path in run.paths.values()],
        "lines": _lines(run, evaluations),
        "figure": SectionFigure("head-sets", plots.head_sets(run.paths), run.paths.heads_frame()),
        "paths": [
            SectionFigure(f"price-path-{i}", plots.price_path(path), path.frame())
            for i, path in enumerate(run.paths.values(), start=1)
        ],
    }


def _row(path: HeadPath, evaluations: Evaluations, methods: list[str]) -> dict[str, Any]:
    evaluation = evaluations.get(path.task)
    heads = list(map(str, path.chosen.heads)) if path.chosen is not None else []
    measured = set() if evaluation is None else set(evaluation.methods)
    return {
        "path": path,
        "heads": heads[:MOST_NAMED],
        "n_more": max(0, len(heads) - MOST_NAMED),
        "n_core": len(path.core),
        "accuracies": [
            evaluation.accuracy(name) if evaluation is not None and name in measured else None for name in methods
        ],
    }


def _lines(run: Run, evaluations: Evaluations) -> list[str]:
    """Say how many heads the sets have, what they reach, and how far the fits behind them agree."""
    chosen, none = run.paths.chosen(), run.paths.without_set()
    lines = []
    if chosen:
        n_heads = [len(heads) for heads in chosen.values()]
        grid = next(iter(run.paths.values())).model.grid
        many = f"{min(n_heads)} to {max(n_heads)}" if min(n_heads) < max(n_heads) else str(n_heads[0])
        heads = "head" if max(n_heads) == 1 else "heads"
        lines.append(f"{many} {heads} of {len(grid)} carry a task: replacing them by the task embedding is enough.")
    for other, name in (("site", "the dense fit"), ("gates_sparse", "no more heads without the embedding")):
        if evaluations.having("site_sparse", other):
            compared = evaluations.compare("site_sparse", over=other)
            lines.append(f"Their accuracy less that of {name}: {with_interval(compared.estimate)}.")
    agreements = [path.agreement for path in run.paths.values() if path.agreement is not None]
    if agreements:
        mean = sum(agreement.value for agreement in agreements) / len(agreements)
        chance = sum(agreement.by_chance for agreement in agreements) / len(agreements)
        n_fits = max(len(path.sizes) for path in run.paths.values())
        lines.append(
            f"Fits from {n_fits} seeds, embeddings and starts choose sets of a task with a mean Jaccard index of "
            f"{mean:.2f}; by chance, sets with as many heads in every layer have {chance:.2f}. "
            f"Core heads are in at least {CORE_SHARE:.0%} of them."
        )
    elif chosen:
        lines.append("One fit a task: how sure its set is, is not known. Fit with n_starts=3.")
    if none:
        lines.append(f"No set does better than zero-shot on valid for {', '.join(none)}.")
    return lines
