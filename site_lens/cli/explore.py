"""Explore command: the explorer as a local page."""

import dataclasses
from pathlib import Path
from typing import Annotated

from typer import Option

import site_lens as sl
from site_lens.cli.options import SOURCES, ModelOfRun, RunFolder, TaskFilesOfRun, not_empty, with_option_groups
from site_lens.explorer.page import PageSource, first_view
from site_lens.explorer.serving import serve_page


@with_option_groups
def explore(
    run: RunFolder,
    files: TaskFilesOfRun,
    source: ModelOfRun,
    tasks: Annotated[
        list[str] | None,
        Option(parser=not_empty, metavar="TEXT", help=f"Rows to ask: {SOURCES} Those of the run by default."),
    ] = None,
    no_model: Annotated[bool, Option("--no-model", help="Show the records alone.")] = False,
    port: Annotated[int | None, Option(min=1, max=65535, help="Port; a free one by default.")] = None,
    browser: Annotated[bool, Option(help="Open the page in a browser.")] = True,
) -> None:
    """Look at the heads of a saved run by clicking, on a page that only this machine can reach."""
    saved = sl.Run.load(run)  # mistakes are said here, before a server starts
    page = PageSource(run=str(run.absolute()), folder=str(Path.cwd()))
    if not no_model and (source.model is not None or saved.inputs is not None):
        page = _asking(page, run, saved, files, source)
    elif tasks or any(source.loading.values()):
        raise sl.InputError("--tasks and how to load are for a model to ask, and there is none; give --model")
    serve_page(page, announce=_say, first_view=first_view(saved), port=port, browser=browser)


def _asking(page: PageSource, run: Path, saved: sl.Run, files: TaskFilesOfRun, source: ModelOfRun) -> PageSource:
    """Return the page with a model to ask, and the rows to ask it if they are known."""
    model = source.of(run, saved)
    page = dataclasses.replace(page, model=model.model, loading=model.loading)
    if not files.tasks and saved.inputs is None:
        return page  # rows of demo tasks are found without it
    known = files.of(run, saved.inputs)
    known.load(fit.task for fit in saved.fits.values())
    return dataclasses.replace(
        page, tasks=tuple(known.tasks), input_column=known.input_column, output_column=known.output_column
    )


def _say(address: str) -> None:
    print(f"The explorer is at {address}\nCtrl-C ends it.", flush=True)
