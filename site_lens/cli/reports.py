"""Report commands: report, diagnose, compare and roles read saved runs; they need neither a model nor torch."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Argument, Option

import site_lens as sl
from site_lens.cli import options as opt
from site_lens.cli.output import show_answers, show_json, show_line, show_notes, show_table
from site_lens.records.limited_io import is_folder, is_there
from site_lens.records.outputs import check_output
from site_lens.records.serialization import record_paths
from site_lens.report.comparison import MOST_SENTENCES
from site_lens.report.page import is_page

COLUMNS = {
    "record": "record", "other": "other", "n_record": "heads", "n_other": "heads ", "n_shared": "shared",
    "by_chance": "by chance", "jaccard": "Jaccard", "p_value": "p", "q_value": "q",
}  # fmt: skip
"""Columns of the table of pairs that a terminal shows, and their names there."""

HeadMaps = dict[str, sl.SiteFit | sl.HeadScores]
"""Head maps by the name under which they are compared."""


def report(
    run: opt.RunFolder,
    out: Annotated[Path | None, opt.path_option("The HTML file; RUN/report.html by default.", "--out", "-o")] = None,
    images: Annotated[Path | None, opt.path_option("Export every figure as an image into this folder, too.")] = None,
    format: Annotated[Literal["png", "svg", "pdf"] | None, Option(help="Format of the images; svg by default.")] = None,
    width: Annotated[
        str | None, Option(metavar="LENGTH", help="Width of the images, as 3.3in, 84mm, 8.4cm, 240pt or 900px.")
    ] = None,
    height: Annotated[
        str | None, Option(metavar="LENGTH", help="Height of the images; each figure's own by default.")
    ] = None,
    font_size: Annotated[
        float | None, Option(metavar="POINTS", help="Size of ordinary text in the images; 9 by default.")
    ] = None,
    font: Annotated[
        str | None, Option(parser=opt.not_empty, metavar="NAME", help="Font of the images, as 'Times New Roman'.")
    ] = None,
    titles: Annotated[
        bool | None, Option("--titles/--no-titles", help="Draw title and subtitle into the images, or not.")
    ] = None,
    tables: Annotated[
        Path | None, opt.path_option("Write accuracies and chosen heads as LaTeX and Markdown here, too.")
    ] = None,
    replace: opt.ReplaceFile = False,
) -> None:
    """Write the report of a saved run as one offline HTML file; needs no model."""
    look = opt.given(format=format, width=width, height=height, font_size=font_size, font=font, titles=titles)
    if look and images is None:
        option = next(iter(look)).replace("_", "-")
        raise sl.InputError(f"--{option} is for images; name their folder with --images, or leave it out")
    saved = sl.Run.load(run)
    out = out or run / "report.html"
    check_output([out], is_page, replace=replace)
    exported = [] if images is None else sl.write_images(saved, images, replace=replace, **look)
    written = [] if tables is None else sl.write_tables(saved, tables, replace=replace)
    show_line(str(sl.write_report(saved, out, replace=replace)))
    if images is not None:
        show_line(f"{len(exported)} images in {images}")
    if tables is not None:
        show_line(f"{len(written)} tables in {tables}")


def diagnose(run: opt.RunFolder, as_json: opt.AsJson = False) -> None:
    """Check every fit of a saved run for the known ways in which a fit misleads; exit code 1 if a check failed."""
    saved = sl.Run.load(run)
    diagnosis = sl.diagnose(saved)
    if as_json:
        findings = [finding.model_dump(mode="json") for finding in diagnosis.findings]
        show_json({"ok": diagnosis.ok, "findings": findings})
    else:
        found = [finding for finding in diagnosis.worst_first() if finding.state in ("fail", "warn")]
        if found:
            show_table([{"task": f.task, "check": f.code, "state": f.state, "finding": f.meaning} for f in found])
        for code, advice in dict.fromkeys((finding.code, finding.advice) for finding in found):
            show_line(f"{code}: {advice}")
        show_line(diagnosis.summary)
        show_answers(saved)
    sys.exit(0 if diagnosis.ok else 1)


def roles(
    run: opt.RunFolder,
    n_top: Annotated[int, opt.counted("n_top", "Heads of highest alpha that stand for a task.")] = 4,
    as_json: opt.AsJson = False,
) -> None:
    """Test whether tasks whose alphas transfer use heads of the same role; after transfer and profile."""
    studies = sl.Run.load(run).studies
    transfer, profiles = studies.get("transfer"), studies.get("profiles")
    if not isinstance(transfer, sl.TransferMatrix) or not isinstance(profiles, sl.HeadProfiles):
        raise sl.InputError(f"{run} lacks a study; run site-lens transfer and site-lens profile on it first")
    association = sl.associate_roles(transfer, profiles, n_top=n_top)
    if not as_json:
        show_line(association.meaning)
    show_table(association.frame(), as_json)


def compare(
    first: Annotated[
        Path, Argument(parser=opt.as_path, metavar="FIRST", help="A run, or a saved fit or scores (its .json).")
    ],
    others: Annotated[
        list[str] | None,
        Argument(
            parser=opt.not_empty,
            metavar="[SECOND|TASK...]",
            help="Another one over the same grid of heads; or tasks of the run, all of them by default.",
        ),
    ] = None,
    out: Annotated[Path | None, opt.path_option("Write the comparison page here.", "--out", "-o")] = None,
    replace: opt.ReplaceFile = False,
    as_json: opt.AsJson = False,
) -> None:
    """Compare the heads of tasks of a run, or of two runs, fits or sets of scores; needs no model.

    Where all have chosen head sets these are compared, else the alphas of the fits.
    """
    names = list(others or ())
    of_run = is_folder(first) and not (len(names) == 1 and is_there(names[0]))
    paths = [first] if of_run else [first, *map(Path, names)]
    if not of_run and len(paths) != 2:
        raise sl.InputError("name two runs or records, or a run and tasks of it")
    if not of_run and len(set(map(os.path.realpath, paths))) < 2:
        raise sl.InputError(f"{first} would be compared with itself; name two")
    if out is not None:
        inputs = [*paths, *(file for path in paths if not is_folder(path) for file in record_paths(path))]
        check_output([out], is_page, inputs=inputs, replace=replace)
    maps = _of_tasks(sl.Run.load(first), names) if of_run else _of_paths(paths)
    if len(maps) < 2:
        raise sl.InputError(f"{first} would be compared with itself; name two")
    overlap = sl.head_overlap(maps)
    show_notes(overlap.notes)
    table = overlap.frame()
    if not as_json:
        table = table.sort_values("jaccard", ascending=False, kind="stable")
        pairs = list(zip(table["record"], table["other"], strict=True))
        table = table.assign(by_chance=[f"{overlap.by_chance(*pair):.1f}" for pair in pairs]).rename(columns=COLUMNS)
    show_table(table if as_json else table[[*COLUMNS.values()]], as_json)
    if out is not None:
        show_line(str(sl.write_comparison(overlap, out, replace=replace)), aside=as_json)
    if not as_json:
        for pair in pairs[:MOST_SENTENCES]:
            show_line(overlap.sentence(*pair))


def _of_tasks(run: sl.Run, tasks: list[str]) -> HeadMaps:
    """Return the chosen sets of some tasks of a run, or the fits of their lowest seeds where one has no chosen set."""
    known = {fit.task: run.fits.of(fit.task)[0] for fit in run.fits.values()}
    wanted = opt.split_names(tasks, known, "Or name another run, fit or scores that is there.") or list(known)
    if len(wanted) == 1:
        raise sl.InputError(f"{wanted[0]} would be compared with itself; name two")
    chosen = run.paths.chosen()
    fits = run.paths.sparse_fits() if set(wanted) <= chosen.keys() else known
    return {name: fits[name] for name in wanted}


def _of_paths(paths: list[Path]) -> HeadMaps:
    """Return the head maps of two runs or records, by task where that tells all apart, else by path, too."""
    read: list[tuple[Path, Any]] = [(p, sl.Run.load(p) if is_folder(p) else sl.load(p)) for p in paths]
    of_sets = all(
        isinstance(source, sl.Run) and {fit.task for fit in source.fits.values()} <= source.paths.chosen().keys()
        for _, source in read
    )
    maps: list[tuple[str, str, sl.SiteFit | sl.HeadScores]] = []  # with path, and without
    for path, source in read:
        if isinstance(source, sl.Run):
            fits = source.head_fits if of_sets else source.fits
            maps += [(f"{path}: {name}", name, fit) for name, fit in fits.items()]
        elif isinstance(source, sl.SiteFit | sl.HeadScores):
            maps.append((str(path), path.stem, source))
        else:
            raise sl.InputError(f"{path} holds a {source.kind}, not a fit or scores")
    by_task = {name: record for _, name, record in maps}
    return by_task if len(by_task) == len(maps) else {label: record for label, _, record in maps}
