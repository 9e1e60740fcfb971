"""What the commands print: tables for people, JSON for programs."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import site_lens as sl
from site_lens.methods.registry import ZERO_EMBEDDING
from site_lens.records.terminal_escape import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from site_lens.methods.evaluation import Evaluations


def show_line(text: str, *, aside: bool = False) -> None:
    """Print a line in which no name or text of a file can act on the terminal; `aside`: to stderr."""
    print(visible(text), file=sys.stderr if aside else sys.stdout)


def show_notes(notes: "Iterable[str]") -> None:
    """Print on stderr what makes results hard to believe."""
    for note in notes:
        show_line(f"note: {note}", aside=True)


def show_rows(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Print rows with the same keys; there must be one at least, unless as JSON."""
    if as_json:
        print(json.dumps(rows, indent=1))  # in ASCII, so that nothing in a text acts on a terminal
        return
    cells = [[f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()] for row in rows]
    show_table(list(rows[0]), cells)


def show_frame(frame: "pd.DataFrame", as_json: bool, report: Path | None = None) -> None:
    """Print a table of numbers, a missing one as nothing, and where the report is."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    shown = rows if as_json else [{k: "" if v is None else v for k, v in row.items()} for row in rows]
    show_rows([{str(k): v for k, v in row.items()} for row in shown], as_json)
    if report is not None and not as_json:
        show_line(f"report:  {report}")


def show_run(run: sl.Run, paths: dict[str, Path], as_json: bool) -> None:
    """Print what a run measured and where its files are; fits that must not be read are named on stderr."""
    for key, fit in run.fits.items():
        if fit.status == "nonfinite":
            why = "".join(f" ({note})" for note in fit.notes[-1:])
            show_line(f"warning: the fit of {key} became nonfinite{why}; do not read it", aside=True)
    found = sl.diagnose(run)
    failed: dict[str, list[str]] = {}
    for one in found.having("fail"):
        failed.setdefault(f"{one.code}: {one.advice}", []).append(one.task)
    if as_json:
        for advice, tasks in failed.items():
            show_line(f"check failed for {', '.join(tasks)}: {advice}", aside=True)
        measured = run.evaluations or sl.Evaluations([])
        results = json.loads(measured.results().to_json(orient="records"))
        print(json.dumps({"paths": {name: str(path) for name, path in paths.items()}, "results": results}, indent=1))
        return
    if run.evaluations is not None:
        _show_accuracies(run.evaluations)
    codes = ", ".join(sorted({one.code for one in found.having("fail", "warn")}))
    print(f"checks:  {found.summary}" + (f": {codes}" if codes else ""))
    for advice, tasks in failed.items():
        show_line(f"failed:  {', '.join(tasks)}: {advice}")
    for name, path in paths.items():
        show_line(f"{name + ':':9}{path}")


def _show_accuracies(evaluations: "Evaluations") -> None:
    methods = [name for name, one in evaluations.evaluated.items() if name == one.name]  # others stand in results.csv
    cells = [
        [name, *(f"{e.accuracy(m).value:.3f}" if m in e.methods else "" for m in methods), str(len(e.queries))]
        for name, e in evaluations.items()
    ]
    means = [f"{evaluations.mean(m).value:.3f}" for m in methods]
    show_table(["task", *methods, "n"], [*cells, ["mean over tasks", *means, ""]])
    print("First-token accuracy. Means over tasks, with 95% intervals:")
    for method in methods:
        show_line(f"  {method:32}{evaluations.mean(method)}")
    # Never the gain over few-shot prompting without the gain over gates alone.
    reference = evaluations.reference
    if reference is not None and evaluations.having("site", reference, ZERO_EMBEDDING):
        for other in (reference, ZERO_EMBEDDING):
            print(f"  {'site - ' + other:32}{evaluations.compare('site', over=other)}")


def show_table(header: list[str], cells: list[list[str]]) -> None:
    """Print a table; on a terminal it is folded to its width."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name in header:
        table.add_column(Text(visible(name)))  # a Text, not a string: rich reads markup in strings
    for row in cells:
        table.add_row(*(Text(visible(cell)) for cell in row))
    # A pipe has no width: give a table there all it needs instead of folding it to 80 columns.
    Console(width=None if sys.stdout.isatty() else 200).print(table)
