"""Task commands: list and audit tasks before they are fitted."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

import site_lens as sl
from site_lens.cli.options import AsJson, ModelSource, TaskFilesOrDemo, with_option_groups
from site_lens.cli.output import show_notes, show_table
from site_lens.tasks.task import few_rows

if TYPE_CHECKING:
    from site_lens.models.base import LensModel

app = typer.Typer(help="Look at tasks before fitting them.", no_args_is_help=True)


@app.command("list")
@with_option_groups
def tasks_list(files: TaskFilesOrDemo, as_json: AsJson = False) -> None:
    """List tasks: rows in each split, family, and an example."""
    rows = [
        {
            "task": task.name,
            "family": task.family,
            "n_train": len(task.train),
            "n_valid": len(task.valid),
            "n_test": len(task.test),
            "example": f"{task.train[0].input} -> {task.train[0].output}",
        }
        for task in files.load().values()
    ]
    show_table(rows, as_json)


@app.command("audit")
@with_option_groups
def tasks_audit(
    files: TaskFilesOrDemo,
    source: ModelSource,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Count first answer tokens too, under this model's tokenizer."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Audit tasks: leaks, conflicting labels, duplicates, the accuracy of a constant answer."""
    tasks = files.load().values()
    loaded = None if model is None else source.load()
    show_table([asdict(task.audit()) | _first_tokens(loaded, task) for task in tasks], as_json)
    show_notes(few_rows(tasks))


def _first_tokens(model: "LensModel | None", task: sl.Task) -> dict[str, object]:
    if model is None:
        return {}
    tokens = sl.first_tokens(model, task.test)
    return {
        "answers": tokens.n_answers,
        "first_tokens": tokens.n_tokens,
        "told_apart": tokens.told_apart,
        "constant_token": tokens.constant_token,
        "constant_rate": tokens.constant,
        "first_token_loss": "ok" if tokens.tell_apart else "fail",
    }
