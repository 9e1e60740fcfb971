"""Report commands: report, diagnose, compare and roles read saved runs; they need neither a model nor torch."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import site_lens as sl
from site_lens.cli.options import AsJson, ReplaceFile, RunFolder, as_path, count, not_empty
from site_lens.cli.output import show_json, show_line, show_notes, show_table
from site_lens.records.limited_io import is_folder
from site_lens.records.outputs import is_same, output_path
from site_lens.records.serialization import record_paths
from site_lens.report.page import is_page


def report(
    run: RunFolder,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", parser=as_path, metavar="PATH", help="The HTML file; RUN/report.html by default."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(parser=as_path, metavar="PATH", help="Export every figure as an image into this folder, too."),
    ] = None,
    format: Annotated[
        Literal["png", "svg", "pdf"] | None, typer.Option(help="Format of the images; svg by default.")
    ] = None,
    width: Annotated[
        str | None, typer.Option(metavar="LENGTH", help="Width of the images, as 3.3in, 84mm, 8.4cm, 240pt or 900px.")
    ] = None,
    height: Annotated[
        str | None, typer.Option(metavar="LENGTH", help="Height of the images; each figure's own by default.")
    ] = None,
    font_size: Annotated[
        float | None, typer.Option(metavar="POINTS", help="Size of ordinary text in the images; 9 by default.")
    ] = None,
    font: Annotated[
        str | None, typer.Option(parser=not_empty, metavar="NAME", help="Font of the images, as 'Times New Roman'.")
    ] = None,
    titles: Annotated[
        bool | None, typer.Option("--titles/--no-titles", help="Draw title and subtitle into the images, or not.")
    ] = None,
    tables: Annotated[
        Path | None,
        typer.Option(
            parser=as_path, metavar="PATH", help="Write accuracies and chosen heads as LaTeX and Markdown here, too."
        ),
    ] = None,
    replace: ReplaceFile = False,
) -> None:
    """Write the report of a saved run as one offline HTML file; needs no model."""
    look = {"format": format, "width": width, "height": height, "font_size": font_size, "font": font, "titles": titles}
    given: dict[str, Any] = {name: value for name, value in look.items() if value is not None}
    if given and images is None:
        option = next(iter(given)).replace("_", "-")
        raise sl.InputError(f"--{option} is for images; name their folder with --images, or leave it out")
    saved = sl.Run.load(run)
    out = out or run / "report.html"
    output_path(out, is_page, inputs=[run], replace=replace)
    exported = [] if images is None else sl.write_images(saved, images, replace=replace, **given)
    written = [] if tables is None else sl.write_tables(saved, tables, replace=replace)
    show_line(str(sl.write_report(saved, out, replace=replace)))
    if images is not None:
        show_line(f"{len(exported)} images in {images}")
    if tables is not None:
        show_line(f"{len(written)} tables in {tables}")


def diagnose(run: RunFolder, as_json: AsJson = False) -> None:
    """Check every fit of a saved run for the known ways in which a fit misleads; exit code 1 if a check failed."""
    diagnosis = sl.diagnose(sl.Run.load(run))
    if as_json:
        findings = [finding.model_dump(mode="json") for finding in diagnosis.findings]
        show_json({"ok": diagnosis.ok, "findings": findings})
    else:
        rows = [
            {"task": finding.task, "check": finding.code, "state": finding.state,
             "finding": f"{finding.meaning.rstrip('.')}. {finding.advice}"}
            for finding in diagnosis.worst_first() if finding.state in ("fail", "warn")
        ]  # fmt: skip
        show_table(rows)
        show_line(diagnosis.summary)
    sys.exit(0 if diagnosis.ok else 1)


def roles(
    run: RunFolder,
    n_top: Annotated[int, typer.Option(**count("n_top"), help="Heads of highest alpha that stand for a task.")] = 4,
    as_json: AsJson = False,
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
        Path, typer.Argument(parser=as_path, metavar="FIRST", help="A run, or a saved fit or scores (its .json).")
    ],
    second: Annotated[
        Path, typer.Argument(parser=as_path, metavar="SECOND", help="Another one over the same grid of heads.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", parser=as_path, metavar="PATH", help="Write the comparison page here.")
    ] = None,
    replace: ReplaceFile = False,
    as_json: AsJson = False,
) -> None:
    """Compare the heads of two runs, fits or sets of scores; needs no model.

    Of two runs that both have chosen head sets these are compared, else the alphas of the fits.
    """
    if first == second or is_same(first, second):
        raise sl.InputError(f"{first} would be compared with itself; name two")
    if out is not None:
        inputs = [
            first,
            second,
            *(file for path in (first, second) if not is_folder(path) for file in record_paths(path)),
        ]
        output_path(out, is_page, inputs=inputs, replace=replace)
    read: list[tuple[Path, Any]] = [(p, sl.Run.load(p) if is_folder(p) else sl.load(p)) for p in (first, second)]
    of_sets = all(isinstance(source, sl.Run) and source.paths.chosen() for _, source in read)
    overlap = sl.head_overlap(
        {n: each for path, source in read for n, each in _head_maps(path, source, of_sets).items()}
    )
    show_notes(overlap.notes)
    table = overlap.frame()
    if not as_json:
        columns = ["record", "other", "n_record", "n_other", "n_shared", "jaccard", "spearman", "p_value", "q_value"]
        table = table.sort_values("jaccard", ascending=False, kind="stable")[columns]
    show_table(table, as_json)
    if out is not None:
        show_line(str(sl.write_comparison(overlap, out, replace=replace)), aside=as_json)


def _head_maps(path: Path, source: Any, of_sets: bool) -> "dict[str, sl.SiteFit | sl.HeadScores]":
    """Return the head maps of a run or of a single record, under names that begin with their path."""
    if isinstance(source, sl.Run):
        return {f"{path}: {name}": fit for name, fit in (source.head_fits if of_sets else source.fits).items()}
    if not isinstance(source, sl.SiteFit | sl.HeadScores):
        raise sl.InputError(f"{path} holds a {source.kind}, not a fit or scores")
    return {str(path): source}
