"""Section of chosen head sets, the first of the page: which heads carry which task, and is it better than prompting."""

from collections.abc import Sequence
from typing import Any

from site_lens import plots
from site_lens.diagnostics.diagnosis import Finding
from site_lens.methods.evaluation import Evaluations
from site_lens.plots.section import SectionFigure
from site_lens.records.wording import listed
from site_lens.report.headline import SILENCED, SITE, SPARSE, in_words, judged, plain_names
from site_lens.runs.run import Run
from site_lens.site.head_path import CORE_SHARE, NO_SET, HeadPath
from site_lens.stats.intervals import range_confidence
from site_lens.studies.text_profiles.result import TextProfiles
from site_lens.studies.text_profiles.section import anchors

MOST_NAMED = 8
"""Heads of a set that are named on its card; the others are counted."""
MOST_CARDS = 16
"""Tasks with a card; the maps of all tasks stand below."""


def head_sets_section(run: Run, failed: Sequence[Finding]) -> dict[str, Any] | None:
    """Return the cards, sentences and figures of the chosen sets; None where no path was fitted.

    Args:
        run: The run.
        failed: Failed checks of all tasks.
    """
    if not run.paths:
        return None
    evaluations = run.evaluations or Evaluations([])
    cards = [_card(run, path, failed) for path in run.paths.values()]
    return {
        "lead": _lead(run, evaluations),
        "cards": cards[:MOST_CARDS],
        "n_more": max(0, len(cards) - MOST_CARDS),
        "rows": cards,
        "lines": _how_sure(run, evaluations),
        "figure": SectionFigure("head-sets", plots.head_sets(run.paths), run.paths.heads_frame()),
        "paths": [
            SectionFigure(f"price-path-{i}", plots.price_path(path), path.frame())
            for i, path in enumerate(run.paths.values(), start=1)
        ],
    }


def _on_text(run: Run, path: HeadPath) -> dict[str, str]:
    """Return where the page says what each head of a model does on other text; empty where it does not."""
    found: dict[str, str] = {}
    for name, study in run.studies.items():
        if isinstance(study, TextProfiles) and study.model == path.model:
            found |= anchors(name, study)
    return found


def _card(run: Run, path: HeadPath, failed: Sequence[Finding]) -> dict[str, Any]:
    """Return one task: a small head map, the names of its heads, and how often the model is right with them."""
    heads, tasks = list(map(str, path.ranked)), [fit.task for fit in run.fits.values()]
    bars = []  # label and accuracy of each method, and whether it is that of the chosen heads
    if run.evaluations and (evaluation := run.evaluations.get(path.task)) is not None:
        names = plain_names(evaluation.reference, evaluation.n_shots, "these heads")
        bars = [(names[m], evaluation.accuracy(m), m == SPARSE) for m in names if m in evaluation.methods]
    return {
        "path": path,
        "fit_number": tasks.index(path.task) + 1 if path.task in tasks else None,  # of the first section of its fits
        "heads": heads[:MOST_NAMED],  # those that gain most alone first
        "n_more": max(0, len(heads) - MOST_NAMED),
        "cells": _cells(path),
        "sureness": "" if path.chosen is None else f"{path.chosen.kept:.0%} of the gain on valid, {path.sureness}",
        "bars": bars,
        "failed": [finding for finding in failed if finding.task == path.task],
        "on_text": _on_text(run, path),
    }


def _cells(path: HeadPath) -> dict[str, str]:
    """Return the SVG path of the cells of each kind, layer 0 at the bottom."""
    kinds, chosen = path.kinds or {}, path.chosen.heads if path.chosen is not None else ()
    cells = {"closed": "", "open": "", "chosen": ""}
    for head in path.model.grid:
        kind = "chosen" if head in chosen else kinds.get(str(head), "free")
        if kind in cells:
            cells[kind] += f"M{head.head} {path.model.grid.n_layers - 1 - head.layer}h1v1h-1z"
    return cells


def _lead(run: Run, evaluations: Evaluations) -> list[str]:
    """Answer in words: how many heads, how often right with them, and whether that is better than prompting."""
    sizes, none = {task: len(heads) for task, heads in run.paths.chosen().items()}, run.paths.without_set()
    lines = [_how_many(run, sizes)] if sizes else []
    having = evaluations.having(SPARSE)
    if having:
        lines.append(in_words(having))
        if having.reference is not None and (both := having.having(having.reference)):
            lines.append(_judged(both, having.reference, "prompting with examples"))
        if both := having.having(SILENCED):
            lines.append(_judged(both, SILENCED, "silencing alone"))
    if none:
        lines.append(f"No set was found for {listed(none)}: {NO_SET}.")
    return lines


def _how_many(run: Run, sizes: dict[str, int]) -> str:
    grids = {len(run.paths[task].model.grid) for task in sizes}
    of = f" of {grids.pop()}" if len(grids) == 1 else ""
    fewest, most = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
    verb = "head is" if sizes[most] == 1 else "heads are"
    if sizes[fewest] == sizes[most]:
        return f"{sizes[most]}{of} {verb} enough for {'each task' if len(sizes) > 1 else most}."
    return f"{sizes[fewest]} ({fewest}) to {sizes[most]} ({most}){of} heads are enough for a task."


def _judged(evaluations: Evaluations, over: str, other: str) -> str:
    ours = "the chosen heads"
    better, worse = (f"{ours} do {word} than {other}" for word in ("better", "worse"))
    return judged(evaluations, SPARSE, over, ours, other, above=better, below=worse)


def _how_sure(run: Run, evaluations: Evaluations) -> list[str]:
    """Say how far the fits behind the sets agree, and whether the sets do as well as the soft gates."""
    lines = []
    agreeing = [(path, path.agreement) for path in run.paths.values() if path.agreement is not None]
    if agreeing:
        mean = sum(agreement.value for _, agreement in agreeing) / len(agreeing)
        chance = sum(agreement.by_chance for _, agreement in agreeing) / len(agreeing)
        n_fits = max(len(path.sizes) for path, _ in agreeing)
        lines.append(
            f"Every task was fitted {n_fits} times, from other seeds, demonstrations and starts. The sets of two fits "
            f"have a mean Jaccard index of {mean:.2f} (1: the same); random sets with as many heads in every layer "
            f"have {chance:.2f}. Core heads are open in at least {CORE_SHARE:.0%} of the fits. "
            "The fewest and the most open heads of a task's fits enclose the median of all such fits with "
            f"{range_confidence(n_fits):.0%} confidence."
        )
    elif run.paths.chosen():
        lines.append("Every task was fitted once: how far fits agree is not known. Fit with n_starts=3 (--starts 3).")
    if both := evaluations.having(SPARSE, SITE):
        lines.append(_judged(both, SITE, "SITE's soft gates of all heads"))
    return lines
