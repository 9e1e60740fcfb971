"""Task commands: list and audit tasks before they are fitted."""

from dataclasses import asdict
from typing import Annotated

import typer
from typer import Option

import site_lens as sl
from site_lens.cli import options as opt
from site_lens.cli.output import show_line, show_notes, show_table
from site_lens.records.lazy_pandas import pd
from site_lens.tasks.prompt_sampling import prompts_of_embedding
from site_lens.tasks.task import SPLITS, few_rows

N_ROWS = 3
"""Rows of each split that `tasks show` prints."""
WIDEST = 60
"""Letters of an example in a table; longer ones are cut."""

app = typer.Typer(help="Look at tasks before fitting them.", no_args_is_help=True)


@app.command("list")
@opt.with_option_groups
def tasks_list(files: opt.TaskFilesOrDemo, as_json: opt.AsJson = False) -> None:
    """List tasks: rows in each split, family, and an example."""
    tasks = list(files.load().values())
    table = pd.DataFrame(
        {
            "task": [task.name for task in tasks],
            "family": [task.family for task in tasks],
            **{f"n_{split}": [len(getattr(task, split)) for task in tasks] for split in SPLITS},
            "example": [f"{task.train[0].input} -> {task.train[0].output}" for task in tasks],
        }
    )
    if not as_json:
        table = table.dropna(axis="columns", how="all").assign(example=table["example"].map(_cut))
    show_table(table, as_json)


@app.command("show")
@opt.with_option_groups
def tasks_show(
    files: opt.TaskFilesOrDemo,
    task: opt.TaskNames = None,
    n_shots: Annotated[int, opt.counted("n_shots", "Demonstrations in the prompt.")] = 10,
    seed: Annotated[int, opt.counted("seed", "Seed of the draw.")] = 0,
    digit_rule: opt.DigitRule = True,
) -> None:
    """Show rows of tasks, and one whole few-shot prompt as a model reads it without --chat; needs no model."""
    template = sl.PromptTemplate(digit_rule="published" if digit_rule else False)
    for shown in files.load(task).values():
        rows = {split: getattr(shown, split) for split in SPLITS}
        show_line(f"{shown.name}: {', '.join(f'{len(examples)} {split}' for split, examples in rows.items())}")
        show_table(
            [
                {"split": split, "input": _cut(row.input), "output": _cut(" | ".join(row.outputs))}
                for split, examples in rows.items()
                for row in examples[:N_ROWS]
            ]
        )
        (prompt,) = prompts_of_embedding(shown, template, n_prompts=1, n_shots=n_shots, seed=seed).prompts
        show_line(f"The first prompt of its embedding, with {n_shots} demonstrations, {len(prompt.text)} characters:")
        for line in prompt.text.split("\n"):
            show_line(f"  | {line}")
        show_line(f"Right answers, as they continue it: {', '.join(map(repr, prompt.answers))}")
        print()


@app.command("audit")
@opt.with_option_groups
def tasks_audit(
    files: opt.TaskFilesOrDemo,
    source: opt.ModelSource,
    model: Annotated[
        str | None, Option("--model", "-m", help="Count first answer tokens too, under this model's tokenizer.")
    ] = None,
    as_json: opt.AsJson = False,
) -> None:
    """Audit tasks: leaks, conflicting labels, duplicates, the accuracy of a constant answer."""
    tasks = files.load().values()
    loaded = None if model is None else source.load()
    show_table([asdict(task.audit()) | _first_tokens(loaded, task) for task in tasks], as_json)
    show_notes(few_rows(tasks))


def _first_tokens(model: "sl.LensModel | None", task: sl.Task) -> dict[str, object]:
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


def _cut(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}..."
