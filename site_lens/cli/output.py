"""Output of the commands: one line, one table, the summary of a run; as text for people or as JSON for programs."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import site_lens as sl
from site_lens.methods.registry import ZERO_EMBEDDING, method_label
from site_lens.records.lazy_pandas import pd
from site_lens.records.terminal_escape import visible
from site_lens.stats.paired_tests import FEWEST


def show_line(text: str, *, aside: bool = False) -> None:
    """Print a line with its control characters escaped, so that no name can act on the terminal; `aside`: to stderr."""
    print(visible(text), file=sys.stderr if aside else sys.stdout, flush=True)


def show_notes(notes: Iterable[str]) -> None:
    """Print on stderr what makes results hard to believe."""
    for note in notes:
        show_line(f"note: {note}", aside=True)


def show_json(value: Any) -> None:
    """Print a value as JSON, in ASCII, so that no text in it can act on the terminal."""
    print(json.dumps(value, indent=1))


def show_table(rows: "pd.DataFrame | Sequence[Mapping[str, Any]]", as_json: bool = False) -> None:
    """Print a table, on a terminal folded to its width; a missing value is an empty cell, in JSON null.

    Args:
        rows: A data frame, or rows with the same keys.
        as_json: Print the rows as JSON.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    records: list[Any] = (
        list(rows) if isinstance(rows, Sequence) else rows.astype(object).where(rows.notna(), None).to_dict("records")
    )
    if as_json:
        show_json(records)
        return
    table = Table()
    for name in records[0] if records else ():
        table.add_column(Text(visible(str(name))))  # a Text, not a string: rich reads markup in strings
    for row in records:
        table.add_row(*(Text(visible(_cell(value))) for value in row.values()))
    # A pipe has no width: a table gets all it needs there instead of being folded to 80 columns.
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.001 else f"{value:.1e}"


def show_run(run: sl.Run, paths: dict[str, Path], as_json: bool, *, then: str = "") -> None:
    """Print accuracies, failed checks and files of a run, and the heads of each task as the last lines.

    Fits that became nonfinite are named on stderr.

    Args:
        run: The run.
        paths: Files that were written, by name.
        as_json: Print the results as JSON.
        then: Commands that lead on from there.
    """
    for key, fit in run.fits.items():
        if fit.status == "nonfinite":
            reason = "".join(f" ({note})" for note in fit.notes[-1:])
            show_line(f"warning: the fit of {key} became nonfinite{reason}; do not read it", aside=True)
    diagnosis = sl.diagnose(run)
    failed: dict[str, list[str]] = {}
    for finding in diagnosis.having("fail"):
        failed.setdefault(f"{finding.code}: {finding.advice}", []).append(finding.task)
    if as_json:
        for advice, tasks in failed.items():
            show_line(f"check failed for {', '.join(tasks)}: {advice}", aside=True)
        results = json.loads((run.evaluations or sl.Evaluations([])).results().to_json(orient="records"))
        chosen = {task: list(map(str, heads)) for task, heads in run.paths.chosen().items()}
        show_json({"paths": {n: str(path) for n, path in paths.items()}, "heads": chosen, "results": results})
        return
    if run.evaluations is not None:
        _show_accuracies(run.evaluations)
    codes = ", ".join(sorted({finding.code for finding in diagnosis.having("fail", "warn")}))
    print(f"checks:  {diagnosis.summary}" + (f": {codes}" if codes else ""))
    for advice, tasks in failed.items():
        show_line(f"failed:  {', '.join(tasks)}: {advice}")
    for name, path in paths.items():
        show_line(f"{name + ':':9}{path}")
    if then:
        show_line(f"next:    {then}")
    show_answers(run)


def show_answers(run: sl.Run) -> None:
    """Print which heads carry each task of a run that has head paths."""
    for head_path in run.paths.values():
        show_line(f"heads:   {head_path.sentence}")


def _show_accuracies(evaluations: "sl.Evaluations") -> None:
    methods = [name for name, method in evaluations.evaluated.items() if name == method.name]  # others: results.csv
    accuracies = evaluations.accuracies()[methods].rename(columns=method_label).reset_index()
    print("First-token accuracy")
    show_table(accuracies.assign(n=[len(evaluation.queries) for evaluation in evaluations.values()]))
    n_tasks = len(evaluations)
    if n_tasks == 1:
        print("With 95% intervals over queries:")
    elif _are_few(n_tasks):
        print(f"Means over {n_tasks} tasks (an interval over tasks takes {FEWEST['tasks']}):")
    else:
        print(f"Means over {n_tasks} tasks, with 95% intervals:")
    for method in methods:
        n_having, mean = len(evaluations.having(method)), evaluations.mean(method)
        of_some = "" if n_having == n_tasks else f" ({n_having} of {n_tasks} tasks)"
        show_line(f"  {method_label(method):24}{f'{mean.value:.3f}' if _are_few(n_having) else mean}{of_some}")
    # Never the gain over few-shot prompting without the gain over gates alone.
    reference = evaluations.reference
    if reference is not None and (together := evaluations.having("site", reference, ZERO_EMBEDDING)):
        for other in (reference, ZERO_EMBEDDING):
            gain = together.compare("site", over=other)
            shown = f"{gain.estimate.value:+.3f}" if _are_few(len(together)) else str(gain)
            print(f"  {'SITE - ' + method_label(other):24}{shown}")


def _are_few(n_tasks: int) -> bool:
    """Tell whether an interval over so many tasks says nothing and is left out."""
    return 1 < n_tasks < FEWEST["tasks"]
