"""The report: fits and evaluations as one offline HTML file."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from site_lens import plots
from site_lens.diagnostics.convergence import check_convergence
from site_lens.diagnostics.diagnosis import Diagnosis, diagnose
from site_lens.methods.evaluation import Evaluations, Match
from site_lens.methods.registry import CONTENTS
from site_lens.plots.section import Section, SectionFigure
from site_lens.records.base import Record
from site_lens.records.collections import file_name
from site_lens.records.errors import InputError
from site_lens.records.study_registry import STUDIES, imported
from site_lens.report import facts, wording
from site_lens.report.across_tasks import across_tasks
from site_lens.report.citation import BIBTEX
from site_lens.report.examples import examples
from site_lens.report.head_sets import head_sets_section
from site_lens.report.headline import compare, interval_basis, method_means
from site_lens.report.method_text import method_text
from site_lens.report.methods import methods_section
from site_lens.report.page import write_page
from site_lens.report.selectors import selectors_section
from site_lens.runs.run import Run
from site_lens.site.fit import STATUSES, SiteFit, SiteFits
from site_lens.studies.content_controls.result import ContentControls


def write_report(
    run: Run | SiteFits | str | Path,
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
        run: A run, or the folder where it is saved; or its fits alone, in the order in which they shall appear, with
            what else is known beside them.
        path: The file to write; its folder is made if need be.
        evaluations: Accuracies by task; without them the report says that nothing was evaluated.
        controls: Control fits by method, such as `{"site_zero_embedding": fits}`.
        title: Title of the page.
        replace: Write over any file that is there, not over an earlier page only.

    Returns:
        The path of the file.

    Raises:
        InputError: There are no fits, or the path is empty or lies among the records of a run.
        StorageError: The folder holds no run, the file cannot be written, or there is one that is no page of the
            toolkit, or was changed since.

    Example:
        >>> import site_lens as sl
        >>> config = sl.SiteConfig(n_prompts=4, n_shots=3, n_steps=10)
        >>> fits = sl.fit_site(sl.load_model("demo"), sl.load_tasks("demo", ["antonym"]), config)
        >>> sl.write_report(fits, "report.html").name
        'report.html'
    """
    if isinstance(run, str | Path):
        run = Run.load(run)
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
    evaluations = run.evaluations or Evaluations([])
    diagnosis = _diagnosis(run)
    return {
        "samples": {task: (i, sample) for i, (task, sample) in enumerate(run.attention.items(), start=1)},
        **_accuracies(evaluations),
        "facts": [facts.fit_facts(key, fit) for key, fit in run.fits.items()],
        "n_tasks": len({fit.task for fit in run.fits.values()}),
        "settings": facts.common_settings(run.fits),
        "models": facts.models(run.fits),
        "cautions": facts.cautions(run.fits, evaluations),
        "notes": dict.fromkeys(f"{task}: {note}" for task, each in evaluations.items() for note in each.notes),
        "words": wording,
        "statuses": STATUSES,
        **diagnosis,
        "map_figure": _map_figure(run),
        "controls": [_control(name, fits) for name, fits in run.controls.items() if fits],
        "head_sets": head_sets_section(run, diagnosis["failed"]),
        "examples": examples(evaluations.values()),
        "across": across_tasks(run.head_fits, run.fits),
        "of_sets": bool(run.paths.chosen()),
        "fit_figures": [_of_fit(i, fit, run) for i, fit in enumerate(run.fits.values(), start=1)],
        "rivals": methods_section(run.evaluations),
        "ways": selectors_section(run.scores),
        "studies": study_sections(_with_content(run)),
        "method_text": method_text(run),
        "bibtex": BIBTEX,
    }


def report_figures(run: Run) -> dict[str, SectionFigure]:
    """Return every figure of a report by name; those of one fit are called `fits/<fit>-<figure>`.

    Raises:
        InputError: There are no fits.
    """
    parts = report_parts(run)
    sets = parts["head_sets"]
    figures = [] if sets is None else [sets["figure"], *sets["paths"]]
    figures += [parts["accuracy_figure"], parts["map_figure"], *(control["figure"] for control in parts["controls"])]
    figures += [figure for section in parts["across"] + parts["studies"] for figure in section.figures]
    figures += parts["rivals"]["figures"] if isinstance(parts["rivals"], dict) else ()
    figures += [parts["ways"]["figure"]] if isinstance(parts["ways"], dict) else []
    of_fits = {
        f"fits/{file_name(key)}-{name}": figure
        for key, figures_of_fit in zip(run.fits, parts["fit_figures"], strict=True)
        for name, figure in figures_of_fit.items()
    }
    return {figure.name: figure for figure in figures if figure is not None} | of_fits


def study_sections(studies: Mapping[str, Record]) -> list[Section]:
    """Return the sections of all studies of a run, in the order of the studies.

    Raises:
        InputError: A record is no study.
    """
    for name, study in studies.items():
        if study.kind not in STUDIES:
            known = ", ".join(sorted(STUDIES))
            raise InputError(f"study {name!r} holds a {study.kind}, which the report does not show; it shows {known}")
    return [
        section
        for name, study in studies.items()
        for section in imported(STUDIES[study.kind].sections)(name, study, studies)
    ]


def _with_content(run: Run) -> dict[str, Record]:
    """Return the studies of a run, and what its evaluations say of the embedding's content where controls tell."""
    evaluations = run.evaluations
    if not evaluations or any(isinstance(study, ContentControls) for study in run.studies.values()):
        return run.studies
    shared = set.intersection(*(set(evaluation.methods) for evaluation in evaluations.values()))
    needed = {"zero_shot", evaluations.reference, "site"}
    if not needed <= shared or len(shared & set(CONTENTS)) < 2:  # gates alone stand in the headline
        return run.studies
    return run.studies | {"content": ContentControls.of(evaluations)}


def _accuracies(evaluations: Evaluations) -> dict[str, Any]:
    """Return the parts on evaluations; empty ones where there are none."""
    if not evaluations:
        return {"evaluations": None, "methods": (), "metrics": [], "accuracy_figure": None}
    counted: tuple[Match, ...] = ("first_token", "exact")  # the published count, `prefix`, is in the CSV
    metrics = [m for m in counted if all(getattr(each, m) is not None for each in evaluations.values())]
    return {
        "evaluations": evaluations,
        "methods": evaluations.methods,
        "metrics": metrics,
        "means": method_means(evaluations, metrics[0]),
        "headline": compare(evaluations, metrics[0]),
        "basis": interval_basis(len(evaluations)),
        "tables": {metric: facts.accuracy_table(evaluations, metric) for metric in metrics},
        "accuracy_figure": SectionFigure("accuracy", plots.accuracy(evaluations), evaluations.results()),
    }


def _diagnosis(run: Run) -> dict[str, Any]:
    """Return what failed, the tasks warned of by check, and the findings of each task."""
    grids = dict.fromkeys(fit.gates.grid for fit in run.fits.values())
    parts = [SiteFits(fit for fit in run.fits.values() if fit.gates.grid == grid) for grid in grids]
    diagnosis = Diagnosis(findings=[one for fits in parts for one in diagnose(replace(run, fits=fits)).findings])
    warned: dict[str, list[str]] = {}
    for finding in diagnosis.having("warn"):
        warned.setdefault(finding.code, []).append(finding.task)
    return {"failed": diagnosis.having("fail"), "warned": warned, "diagnosis": diagnosis}


def _map_figure(run: Run) -> SectionFigure:
    """Draw a map a task, the mean over all starts where every fit has a path, with the numbers of maps and fits."""
    table, of_fits = run.fits.frame(), [(fit.task, fit.gates.grid) for fit in run.fits.values()]
    if [(path.task, path.model.grid) for path in run.paths.values()] != of_fits:
        return SectionFigure("head-maps", plots.head_maps(run.fits), table)
    means = [
        np.full(len(path.model.grid), np.nan) if gates is None else gates.values[gates.grid.mask]
        for path in run.paths.values()
        for gates in [path.mean_gates]
    ]
    return SectionFigure("head-maps", plots.head_maps(run.paths), table.assign(mean_alpha=np.concatenate(means)))


def _control(name: str, fits: SiteFits) -> dict[str, Any]:
    maps = SectionFigure(f"{name}-maps", plots.head_maps(fits), fits.frame())
    return {"name": name, "facts": [facts.fit_facts(key, fit) for key, fit in fits.items()], "figure": maps}


def _of_fit(i: int, fit: SiteFit, run: Run) -> dict[str, SectionFigure]:
    """Return the figures of one fit; what is the same for all fits of a task stands with the first."""
    seeds = [other for other in run.fits.of(fit.task) if _all_but_seed(other) == _all_but_seed(fit)]
    figures = {
        "map": SectionFigure(f"head-map-{i}", plots.head_map(fit)),  # its numbers are in the table of all maps
        "training": SectionFigure(f"training-{i}", plots.training(fit), fit.trace_frame()),
    }
    if fit.trace.eval_steps:
        figures["paths"] = SectionFigure(f"paths-{i}", plots.alpha_paths(fit), facts.paths_table(fit))
        convergence = check_convergence(fit).frame()
        figures["histogram"] = SectionFigure(f"histogram-{i}", plots.alpha_histogram(fit), convergence)
    if len(seeds) > 1 and seeds[0] is fit:
        figures["spread"] = SectionFigure(f"spread-{i}", plots.alpha_spread(seeds), facts.spread_table(seeds))
    sample = run.attention.get(fit.task)
    if sample is not None and run.fits.of(fit.task)[0] is fit:
        for prompt in range(len(sample.tokens)):
            drawn = plots.attention(sample, prompt=prompt)
            figures[f"attention-{prompt + 1}"] = SectionFigure(f"last-token-{i}-{prompt}", drawn)
    return figures


def _all_but_seed(fit: SiteFit) -> tuple[object, ...]:
    model = fit.embedding.model
    return model.grid, model.weights_digest, fit.config.replace(seed=0)
