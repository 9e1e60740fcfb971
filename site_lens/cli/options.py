"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated, Literal

import typer

import site_lens as sl


def complete_tasks(incomplete: str) -> list[str]:
    """Complete the name of a demo task; files are not read at each press of a key."""
    return [name for name in sl.load_tasks("demo") if name.startswith(incomplete)]


SOURCES = "'demo', a folder of tasks, or a .json, .jsonl, .csv, .tsv or .parquet file."

RunFolder = Annotated[Path, typer.Argument(help="Folder of a run, made by fit or demo.")]
ResultsFolder = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")]
Source = Annotated[str, typer.Argument(help=SOURCES)]
ModelName = Annotated[str, typer.Option("--model", "-m", help="'demo', a Hugging Face folder or a hub id.")]
TaskNames = Annotated[
    list[str] | None,
    typer.Option("--task", "-t", help="Keep this task; may be repeated.", autocompletion=complete_tasks),
]
InputColumn = Annotated[str, typer.Option(help="Column or key of the input.")]
OutputColumn = Annotated[str, typer.Option(help="Column or key of the output.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
DType = Annotated[
    Literal["float32", "bfloat16", "float16"] | None,
    typer.Option(help="Number format; the checkpoint's own by default."),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, ...; an accelerator if there is one by default.")]
Queries = Annotated[int | None, typer.Option(min=1, help="Test rows to evaluate on; all by default.")]
Generate = Annotated[bool, typer.Option("--generate", help="Measure exact and prefix match, too.")]
