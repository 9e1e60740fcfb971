"""The commands that look at tasks before they are fitted."""

from dataclasses import asdict

import typer

import site_lens as sl
from site_lens.cli.options import AsJson, InputColumn, OutputColumn, Source
from site_lens.cli.showing import show_rows

app = typer.Typer(help="Look at tasks before fitting them.", no_args_is_help=True)


@app.command("list")
def tasks_list(
    source: Source = "demo",
    input_column: InputColumn = "input",
    output_column: OutputColumn = "output",
    as_json: AsJson = False,
) -> None:
    """List tasks: rows in each split, family, and an example."""
    found = sl.load_tasks(source, input_column=input_column, output_column=output_column)
    rows = [
        {
            "task": task.name,
            "family": task.family,
            "n_train": len(task.train),
            "n_valid": len(task.valid),
            "n_test": len(task.test),
            "example": f"{task.train[0].input} -> {task.train[0].output}",
        }
        for task in found.values()
    ]
    show_rows(rows, as_json)


@app.command("audit")
def tasks_audit(
    source: Source = "demo",
    input_column: InputColumn = "input",
    output_column: OutputColumn = "output",
    as_json: AsJson = False,
) -> None:
    """Count leaks, conflicting labels, repeated rows, and what a constant answer would score."""
    found = sl.load_tasks(source, input_column=input_column, output_column=output_column)
    show_rows([asdict(task.audit()) for task in found.values()], as_json)
