"""The commands that look at tasks before they are fitted."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

import site_lens as sl
from site_lens.cli.options import AsJson, InputColumn, ModelSource, OutputColumn, Source, loads_a_model
from site_lens.cli.output import show_rows

if TYPE_CHECKING:
    from site_lens.models.base import LensModel

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
@loads_a_model
def tasks_audit(
    source: ModelSource,
    tasks: Source = "demo",
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Count first answer tokens too, under this model's tokenizer."),
    ] = None,
    input_column: InputColumn = "input",
    output_column: OutputColumn = "output",
    as_json: AsJson = False,
) -> None:
    """Count leaks, conflicting labels, repeated rows, and what a constant answer would score."""
    found = sl.load_tasks(tasks, input_column=input_column, output_column=output_column)
    loaded = None if model is None else source.load()
    show_rows([asdict(task.audit()) | _first_tokens(loaded, task) for task in found.values()], as_json)


def _first_tokens(model: "LensModel | None", task: sl.Task) -> dict[str, object]:
    if model is None:
        return {}
    found = sl.first_tokens(model, task.test)
    return {
        "answers": found.n_answers,
        "first_tokens": found.n_tokens,
        "told_apart": found.told_apart,
        "constant_token": found.constant_token,
        "constant_rate": found.constant,
        "first_token_loss": "ok" if found.tell_apart else "fail",
    }
