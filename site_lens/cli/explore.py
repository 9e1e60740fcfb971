"""Explore command: the explorer as a local page."""

from pathlib import Path
from typing import Annotated

import typer

import site_lens as sl
from site_lens.cli.options import MODELS, SOURCES, InputColumn, ModelSource, OutputColumn, RunFolder, with_option_groups
from site_lens.explorer.page import PageSource
from site_lens.explorer.serving import serve_page


@with_option_groups
def explore(
    run: RunFolder,
    source: ModelSource,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help=f"Ask this model: {MODELS}"),
    ] = None,
    tasks: Annotated[
        str | None, typer.Option(help=f"Rows to ask the model: {SOURCES} Demo tasks are found without it.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port; a free one by default.")] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
    input_column: InputColumn = "input",
    output_column: OutputColumn = "output",
) -> None:
    """Look at the heads of a saved run by clicking, on a page that only this machine can reach."""
    fits = sl.Run.load(run).fits  # mistakes are said here, before a server starts
    if model is None and (tasks is not None or any(source.loading.values())):
        raise sl.InputError("--tasks and how to load are for a model to ask, and no --model is given")
    if tasks is not None:
        names = list(dict.fromkeys(fit.task for fit in fits.values()))
        sl.load_tasks(tasks, names, input_column=input_column, output_column=output_column)
    page = PageSource(
        run=str(run.absolute()),
        folder=str(Path.cwd()),
        model=model,
        tasks=tasks,
        input_column=input_column,
        output_column=output_column,
        loading=source.loading,
    )
    serve_page(page, announce=_say, port=port, browser=browser)


def _say(address: str) -> None:
    print(f"The explorer is at {address}\nCtrl-C ends it.", flush=True)
