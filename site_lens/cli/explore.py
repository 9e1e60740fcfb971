"""Explore command: the explorer as a local page."""

from pathlib import Path
from typing import Annotated

from typer import Option

import site_lens as sl
from site_lens.cli import options as opt
from site_lens.explorer.page import PageSource, first_view
from site_lens.explorer.serving import serve_page


@opt.with_option_groups
def explore(
    run: opt.RunFolder,
    files: opt.TaskFilesOfRun,
    source: opt.ModelOfRun,
    tasks: Annotated[
        list[str] | None,
        Option(parser=opt.not_empty, metavar="TEXT", help=f"Rows to ask: {opt.SOURCES} Those of the run by default."),
    ] = None,
    no_model: Annotated[bool, Option("--no-model", help="Show the records alone.")] = False,
    port: Annotated[int | None, Option(min=1, max=65535, help="Port; a free one by default.")] = None,
    browser: Annotated[bool, Option(help="Open the page in a browser.")] = True,
) -> None:
    """Look at the heads of a saved run by clicking, on a page that only this machine can reach."""
    saved = sl.Run.load(run)  # mistakes are said here, before a server starts
    if not no_model and (source.model is not None or saved.inputs is not None):
        page = _asking(run, saved, files, source)
    elif tasks or any(source.loading.values()):
        raise sl.InputError("--tasks and how to load are for a model to ask, and there is none; give --model")
    else:
        page = PageSource(str(run.absolute()))
    serve_page(page, announce=_say, first_view=first_view(saved), port=port, browser=browser)


def _asking(run: Path, saved: sl.Run, files: opt.TaskFilesOfRun, source: opt.ModelOfRun) -> PageSource:
    """Return the page with a model to ask, and the rows to ask it if they are known."""
    model, known = source.of(run, saved), opt.TaskFiles(tasks=[])  # rows of demo tasks are found without it
    if files.tasks or saved.inputs is not None:
        known = files.of(run, saved.inputs)
        known.load(fit.task for fit in saved.fits.values())
    inputs = opt.inputs_of(known, model)
    return PageSource(
        str(run.absolute()), inputs.model, inputs.tasks, inputs.input_column, inputs.output_column, model.loading
    )


def _say(address: str) -> None:
    print(f"The explorer is at {address}\nCtrl-C ends it.", flush=True)
