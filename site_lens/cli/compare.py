"""Comparison commands: SITE beside other methods, and beside other ways to select heads."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import site_lens as sl
from site_lens.cli.options import (
    AsJson,
    Chat,
    Generate,
    ModelSource,
    Queries,
    Replace,
    ResultsFolder,
    Sets,
    TaskFiles,
    TaskNames,
    count,
    inputs_of,
    keep_run,
    with_option_groups,
)
from site_lens.cli.output import show_line, show_notes, show_table
from site_lens.methods.registry import method_label
from site_lens.methods.tabulate import default_references
from site_lens.records.lazy_pandas import pd
from site_lens.tasks.prompt_sampling import MAX_QUERIES

if TYPE_CHECKING:
    from site_lens.models.base import LensModel


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonOptions:
    """Option group of the comparisons: prompts and seed that all methods or selectors share."""

    n_prompts: Annotated[
        int, typer.Option(**count("n_prompts"), help="M: few-shot prompts behind every mean output.")
    ] = 50
    n_shots: Annotated[
        int, typer.Option(**count("n_shots"), help="N: demonstrations in each, and of few-shot prompting.")
    ] = 10
    chat: Chat = False
    seed: Annotated[int, typer.Option(**count("seed"), help="Seed of every draw.")] = 0

    def config(self, model: "LensModel") -> "sl.ComparisonConfig":
        """Return the settings of a comparison on a model."""
        template = sl.chat_template(model) if self.chat else sl.PromptTemplate()
        return sl.ComparisonConfig(n_prompts=self.n_prompts, n_shots=self.n_shots, seed=self.seed, template=template)


@with_option_groups
def methods(
    files: TaskFiles,
    out: ResultsFolder,
    source: ModelSource,
    options: ComparisonOptions,
    method: Annotated[
        list[str] | None, typer.Option(help="Compare this method; repeatable. All without extras by default.")
    ] = None,
    task: TaskNames = None,
    labelled_rows: Annotated[
        int | None,
        typer.Option(**count("labelled_rows"), help="Equal data: labelled rows of each task, a fifth of them valid."),
    ] = None,
    n_sets: Sets = None,
    max_queries: Queries = MAX_QUERIES,
    generate: Generate = False,
    replace: Replace = False,
    as_json: AsJson = False,
) -> None:
    """Fit rival methods beside SITE, evaluate all of them on the same rows, and write a report."""
    keep_run(out, replace, *files.tasks, *source.inputs)
    tasks = files.load(task)
    if labelled_rows is not None:
        tasks = {name: t.with_labelled(labelled_rows, seed=options.seed) for name, t in tasks.items()}
    model = source.load()
    run = sl.run_methods(
        model,
        tasks,
        method,
        config=options.config(model),
        n_sets=n_sets,
        max_queries=max_queries,
        generated=generate,
        save_to=out,
        inputs=inputs_of(files, source),
    )
    assert run.evaluations is not None  # run_methods was called with methods
    try:
        table = sl.method_table(run.evaluations, default_references(run.evaluations) or [run.evaluations.methods[0]])
    except sl.InputError as error:  # as where no task has all methods
        show_notes([f"no table over all tasks: {error}"])
        _show(run.evaluations.accuracies().reset_index(), out, as_json)
        return
    columns = ["method", "value", "low", "high", "most_rows", "fit_seconds", "relative_inference"]
    columns += [f"{name}_over_{reference}" for reference in table.against for name in ("value", "q_value")]
    frame = table.means_frame()[columns]
    _show(frame if as_json else _short(frame), out, as_json)


@with_option_groups
def selectors(
    files: TaskFiles,
    out: ResultsFolder,
    source: ModelSource,
    options: ComparisonOptions,
    selector: Annotated[list[str] | None, typer.Option(help="Use this selector; repeatable. All by default.")] = None,
    task: TaskNames = None,
    replace: Replace = False,
    as_json: AsJson = False,
) -> None:
    """Score heads by every selector, and print their agreement with SITE's alphas and with one another."""
    keep_run(out, replace, *files.tasks, *source.inputs)
    from site_lens.selectors.registry import SELECTORS

    tasks = files.load(task)
    model = source.load()
    run = sl.run_methods(
        model,
        tasks,
        (),
        selectors=tuple(dict.fromkeys(["site", *(SELECTORS if selector is None else selector)])),
        config=options.config(model),
        save_to=out,
        inputs=inputs_of(files, source),
    )
    _show(sl.compare_selectors(run.scores).frame(), out, as_json)


def _short(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Shorten names of methods and columns to the width of a terminal."""
    shorter = {"most_rows": "rows", "fit_seconds": "fit s", "relative_inference": "time"}

    def column(name: str) -> str:
        part, _, reference = name.partition("_over_")
        return (
            shorter.get(name, name)
            if not reference
            else f"{'q' if part == 'q_value' else ''} - {method_label(reference)}"
        )

    return frame.assign(method=frame["method"].map(method_label)).rename(columns=column)


def _show(table: "pd.DataFrame", folder: Path, as_json: bool) -> None:
    report = sl.write_report(sl.Run.load(folder), folder / "report.html")  # in the order of later reports
    show_table(table, as_json)
    if not as_json:
        show_line(f"report:  {report}")
