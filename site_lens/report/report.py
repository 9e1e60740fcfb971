"""The report: fits and evaluations as one offline HTML file."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from site_lens import plots
from site_lens.diagnostics.checks import diagnose
from site_lens.diagnostics.convergence import check_convergence
from site_lens.diagnostics.diagnosis import Diagnosis
from site_lens.methods.evaluation import Evaluations
from site_lens.methods.registry import CONTENTS
from site_lens.records.base import Record
from site_lens.records.errors import InputError
from site_lens.report import facts, wording
from site_lens.report.across_tasks import across_tasks
from site_lens.report.figures import Embedded, attention_views, embed
from site_lens.report.headline import compare, interval_basis, method_means
from site_lens.report.methods import compare_rivals
from site_lens.report.page import write_page
from site_lens.report.selectors import compare_ways
from site_lens.report.studies import study_blocks
from site_lens.runs.run import Run
from site_lens.site.fit import STATUSES, SiteFit, SiteFits
from site_lens.studies.content_controls.result import ContentControls

WIDE, NARROW = 4, 2
"""Head maps in a row on a wide page and on a phone; the style sheet shows one of the two figures."""


def write_report(
    run: Run | SiteFits,
    path: str | Path,
    *,
    evaluations: Evaluations | None = None,
    controls: Mapping[str, SiteFits] | None = None,
    title: str = "Which heads carry the task?",
    replace: bool = False,
) -> Path:
    """Write fits, and how well they do, as one HTML file that asks nothing of the network.

    The same input gives the same bytes.

    Args:
        run: A run; or its fits alone, in the order in which they shall appear, with what else is known beside them.
        path: The file to write; its folder is made if need be.
        evaluations: Accuracies by task; without them the report says that nothing was evaluated.
        controls: Control fits by method, such as `{"site_zero_embedding": fits}`.
        title: Title of the page.
        replace: Write over any file that is there, not over an earlier page only.

    Returns:
        The path of the file.

    Raises:
        InputError: There are no fits, or the path is empty or lies among the records of a run.
        StorageError: The file cannot be written, or there is one that is no page of the toolkit, or was changed since.

    Example:
        >>> import site_lens as sl
        >>> config = sl.SiteConfig(n_prompts=4, n_shots=3, n_steps=10)
        >>> fits = sl.fit_site(sl.load_model("demo"), sl.load_tasks("demo", ["antonym"]), config)
        >>> sl.write_report(fits, "report.html").name
        'report.html'
    """
    if isinstance(run, SiteFits):
        run = Run(run, dict(controls or {}), evaluations or None)
    elif evaluations is not None or controls is not None:
        raise InputError("a run brings its own evaluations and controls; leave them out, or hand in run.fits")
    shown = report_parts(run)
    return write_page("report.html.j2", path, title=title, attention=bool(run.attention), replace=replace, **shown)


def report_parts(run: Run) -> dict[str, Any]:
    """Return what the page of a run shows, by the names that its template has for it.

    Raises:
        InputError: There are no fits.
    """
    if not run.fits:
        raise InputError("there are no fits to report; fit some tasks first, for example with fit_site(model, tasks)")
    return {
        "samples": {
            task: attention_views(i, sample) for i, (task, sample) in enumerate(run.attention.items(), start=1)
        },
        **_summary(run.fits, run.evaluations or None),
        **_diagnosis(run),
        **_figures(run),
        "rivals": compare_rivals(run.evaluations),
        "ways": compare_ways(run.scores),
        "studies": study_blocks(_with_content(run)),
    }


def _with_content(run: Run) -> dict[str, Record]:
    """Return the studies of a run, and what its evaluations say of the embedding's content where controls tell."""
    measured = run.evaluations
    if not measured or any(isinstance(one, ContentControls) for one in run.studies.values()):
        return run.studies
    shared = set.intersection(*(set(one.methods) for one in measured.values()))
    prompting = {"zero_shot", measured.reference}
    if not prompting | {"site"} <= shared or len(shared & set(CONTENTS)) < 2:  # gates alone stand in the headline
        return run.studies
    return run.studies | {"content": ContentControls.of(measured)}


def _summary(fits: SiteFits, evaluations: Evaluations | None) -> dict[str, Any]:
    """Return everything of the page that is text or a table."""
    scored: dict[str, Any] = {"metrics": [], "means": [], "comparison": None, "basis": "", "tables": {}}
    if evaluations is not None:
        metrics = [m for m in facts.measured(evaluations) if m != "prefix"]  # the published count is in the CSV
        scored = {
            "metrics": metrics,
            "means": method_means(evaluations, metrics[0]),
            "comparison": compare(evaluations, metrics[0]),
            "basis": interval_basis(len(evaluations)),
            "tables": {metric: facts.accuracy_table(evaluations, metric) for metric in metrics},
        }
    return scored | {
        "evaluations": evaluations,
        "methods": evaluations.methods if evaluations else (),
        "facts": [facts.fit_facts(key, fit) for key, fit in fits.items()],
        "n_tasks": len({fit.task for fit in fits.values()}),
        "settings": facts.common_settings(fits),
        "models": facts.models(fits),
        "cautions": facts.cautions(fits, evaluations),
        "notes": facts.notes(fits, evaluations),
        "words": wording,
        "statuses": STATUSES,
    }


def _diagnosis(run: Run) -> dict[str, Any]:
    """Return what failed, the tasks warned of by check, and the findings of each task."""
    grids = dict.fromkeys(fit.gates.grid for fit in run.fits.values())
    parts = [SiteFits(fit for fit in run.fits.values() if fit.gates.grid == grid) for grid in grids]
    found = Diagnosis(findings=[one for fits in parts for one in diagnose(replace(run, fits=fits)).findings])
    warned: dict[str, list[str]] = {}
    for finding in found.having("warn"):
        warned.setdefault(finding.code, []).append(finding.task)
    return {"failed": found.having("fail"), "warned": warned, "diagnosis": found}


def _figures(run: Run) -> dict[str, Any]:
    """Return every figure of the page, drawn but not yet shown."""
    controls = [
        {
            "name": name,
            "facts": [facts.fit_facts(key, fit) for key, fit in fits.items()],
            "figures": _small_multiples(f"{name}-maps", fits),
        }
        for name, fits in run.controls.items()
        if fits
    ]
    measured = run.evaluations
    return {
        "accuracy_figure": embed("accuracy", plots.accuracy(measured), measured.results()) if measured else None,
        "map_figures": _small_multiples("head-maps", run.fits),
        "controls": controls,
        "across": across_tasks(run.fits),
        "fit_figures": [_of_fit(i, fit, run.fits) for i, fit in enumerate(run.fits.values(), start=1)],
    }


def _of_fit(i: int, fit: SiteFit, fits: SiteFits) -> dict[str, Embedded | None]:
    """Return the figures of one fit; the spread over seeds stands with the first fit of a task and settings."""
    several = [one for one in fits.of(fit.task) if _same_but_seed(one, fit)]
    first = len(several) > 1 and several[0] is fit
    has_steps = bool(fit.trace.eval_steps)
    return {
        "map": embed(f"head-map-{i}", plots.head_map(fit), fit.frame()),
        "training": embed(f"training-{i}", plots.training(fit), fit.trace_frame()),
        "paths": embed(f"paths-{i}", plots.alpha_paths(fit), facts.paths_table(fit)) if has_steps else None,
        "histogram": embed(f"histogram-{i}", plots.alpha_histogram(fit), check_convergence(fit).frame())
        if has_steps
        else None,
        "spread": embed(f"spread-{i}", plots.alpha_spread(several), facts.spread_table(several)) if first else None,
    }


def _same_but_seed(one: SiteFit, other: SiteFit) -> bool:
    models = (one.embedding.model, other.embedding.model)
    return (
        models[0].grid == models[1].grid
        and models[0].weights_digest == models[1].weights_digest
        and one.config.replace(seed=other.seed) == other.config
    )


def _small_multiples(name: str, fits: SiteFits) -> list[Embedded]:
    return [
        embed(
            f"{name}-{size}",
            plots.head_maps(fits, columns=columns),
            fits.frame() if size == "wide" else None,
            size=size,
        )
        for size, columns in (("wide", WIDE), ("narrow", NARROW))
    ]
