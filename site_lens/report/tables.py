"""Tables of a run as LaTeX and Markdown: accuracies by task and method, and the chosen heads."""

import re
from pathlib import Path
from typing import Literal

from site_lens.methods.registry import method_label
from site_lens.records.errors import InputError
from site_lens.records.outputs import named, sealed, write_output
from site_lens.records.terminal_escape import visible
from site_lens.report.facts import accuracy_table
from site_lens.runs.run import Run

TableFormat = Literal["tex", "md"]

MARKDOWN = re.compile(r"([\\`*_\[\]<>#|~&])")
"""Characters that Markdown would read."""

LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip
"""What LaTeX writes for characters that it would read."""


def write_tables(
    run: Run, folder: str | Path, *, formats: tuple[TableFormat, ...] = ("tex", "md"), replace: bool = False
) -> list[Path]:
    """Write the main tables of a run as files that a paper or a page takes as they are.

    `accuracy` has one row a task and one column a method, accuracies with their 95% intervals, the highest of a task
    bold, and the mean over tasks; `heads` has one row a task with its chosen heads. A table that the run has no numbers
    for is left out. LaTeX needs the package `booktabs`.

    Args:
        run: The run.
        folder: Where the files go; it is made if need be.
        formats: "tex" for LaTeX, "md" for Markdown.
        replace: Write over any files of those names, not over earlier tables only.

    Returns:
        The paths of the files.

    Raises:
        InputError: The run has neither evaluations nor chosen heads, or there is no such format.
        StorageError: A file cannot be written, or there is one that is no table of the toolkit, or was changed since.
    """
    if not formats:
        raise InputError("tables are written as tex or md, got no format")
    tables = {name: table for name, table in (("accuracy", _accuracies(run)), ("heads", _heads(run))) if table}
    if not tables:
        raise InputError("the run has neither evaluations nor chosen heads, so there are no tables to write")
    write = {"tex": _latex, "md": _markdown}
    files = {
        named(folder) / f"{name}.{kind}": sealed(write[kind](table).encode(), f".{kind}")
        for name, table in tables.items()
        for kind in formats
    }
    write_output(files, replace=replace)
    return list(files)


Cell = tuple[str, bool]
"""A text, not escaped, and whether it is bold."""


def _accuracies(run: Run) -> list[list[Cell]] | None:
    evaluations = run.evaluations
    if not evaluations:
        return None
    methods = evaluations.methods
    rows = [[(text, False) for text in ("Task", *map(method_label, methods), "Queries")]]
    for task, measured in accuracy_table(evaluations, "first_token").items():
        cells = [("", False) if cell is None else (str(cell[0]), cell[1]) for cell in measured]
        rows.append([(task, False), *cells, (str(len(evaluations[task].queries)), False)])
    if len(evaluations) > 1:
        everywhere = {method for method in methods if len(evaluations.having(method)) == len(evaluations)}
        means = [str(evaluations.mean(method)) if method in everywhere else "" for method in methods]
        rows.append([(text, False) for text in ("Mean", *means, "")])
    return rows


def _heads(run: Run) -> list[list[Cell]] | None:
    """Return one row a task: how many heads its set has, and which."""
    if not run.paths:
        return None
    chosen = {task: path.chosen.heads if path.chosen is not None else () for task, path in run.paths.items()}
    rows = [(task, str(len(heads)), " ".join(map(str, heads)) or "no set found") for task, heads in chosen.items()]
    return [[(text, False) for text in row] for row in (("Task", "Heads", "Chosen"), *rows)]


def _latex(table: list[list[Cell]]) -> str:
    def cell(text: str, is_bold: bool) -> str:
        escaped = "".join(LATEX.get(letter, letter) for letter in visible(text))
        if escaped[:1] in ("[", "*"):  # which would be an argument of the line break before
            escaped = "{}" + escaped
        return rf"\textbf{{{escaped}}}" if is_bold else escaped

    head, *rows = (" & ".join(cell(*each) for each in row) + r" \\" for row in table)
    columns = "l" + "r" * (len(table[0]) - 1)
    if table[0][-1][0] == "Chosen":
        columns = r"lrp{0.7\linewidth}"
    begin, end = rf"\begin{{tabular}}{{{columns}}}", r"\end{tabular}"
    return "\n".join([begin, r"\toprule", head, r"\midrule", *rows, r"\bottomrule", end, ""])


def _markdown(table: list[list[Cell]]) -> str:
    def cell(text: str, is_bold: bool) -> str:
        escaped = MARKDOWN.sub(r"\\\1", visible(text))
        return f"**{escaped}**" if is_bold else escaped

    head, *rows = ("| " + " | ".join(cell(*each) for each in row) + " |" for row in table)
    return "\n".join([head, "|" + " --- |" * len(table[0]), *rows, ""])
