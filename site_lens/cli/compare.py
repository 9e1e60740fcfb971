"""Comparison commands: SITE beside other methods, and beside other ways to select heads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from typer import Option

import site_lens as sl
from site_lens.cli import options as opt
from site_lens.cli.output import show_line, show_notes, show_table
from site_lens.methods.method_table import default_references
from site_lens.methods.registry import method_label
from site_lens.records.lazy_pandas import pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Option group of the comparisons: tasks, model, and the prompts and seed that all methods or selectors share."""

    files: opt.TaskFiles
    out: opt.ResultsFolder
    source: opt.ModelSource
    n_prompts: Annotated[int, opt.counted("n_prompts", "M: few-shot prompts behind every mean output.")] = 50
    n_shots: Annotated[int, opt.counted("n_shots", "N: demonstrations in each, and of few-shot prompting.")] = 10
    chat: opt.Chat = False
    seed: Annotated[int, opt.counted("seed", "Seed of every draw.")] = 0

    def run(
        self, names: list[str] | None, replace: bool, *, labelled_rows: int | None = None, **settings: Any
    ) -> sl.Run:
        """Compare on the tasks of these names and save the run; settings are those of `run_methods`."""
        opt.keep_run(self.out, replace, *self.files.tasks, *self.source.inputs)
        tasks = self.files.load(names)
        if labelled_rows is not None:
            tasks = {name: task.with_labelled(labelled_rows, seed=self.seed) for name, task in tasks.items()}
        model = self.source.load()
        template = sl.chat_template(model) if self.chat else sl.PromptTemplate()
        config = sl.ComparisonConfig(n_prompts=self.n_prompts, n_shots=self.n_shots, seed=self.seed, template=template)
        inputs = opt.inputs_of(self.files, self.source)
        return sl.run_methods(model, tasks, config=config, save_to=self.out, inputs=inputs, **settings)


@opt.with_option_groups
def methods(
    *,
    comparison: Comparison,
    method: Annotated[
        list[str] | None, Option(help="Compare this method; repeatable. All without extras by default.")
    ] = None,
    task: opt.TaskNames = None,
    labelled_rows: Annotated[
        int | None, opt.counted("labelled_rows", "Equal data: labelled rows of each task, a fifth of them valid.")
    ] = None,
    measuring: opt.Measuring,
    replace: opt.Replace = False,
    as_json: opt.AsJson = False,
) -> None:
    """Fit rival methods beside SITE, evaluate all of them on the same rows, and write a report."""
    run = comparison.run(task, replace, labelled_rows=labelled_rows, methods=method, **measuring.settings)
    assert run.evaluations is not None  # run_methods was called with methods
    try:
        table = sl.method_table(run.evaluations, default_references(run.evaluations) or [run.evaluations.methods[0]])
    except sl.InputError as error:  # as where no task has all methods
        show_notes([f"no table over all tasks: {error}"])
        _show(run.evaluations.accuracies().reset_index(), comparison.out, as_json)
        return
    columns = ["method", "value", "low", "high", "most_rows", "fit_seconds", "relative_inference"]
    columns += [f"{name}_over_{reference}" for reference in table.against for name in ("value", "q_value")]
    frame = table.means_frame()[columns]
    _show(frame if as_json else _short(frame), comparison.out, as_json)


@opt.with_option_groups
def selectors(
    comparison: Comparison,
    selector: Annotated[list[str] | None, Option(help="Use this selector; repeatable. All by default.")] = None,
    task: opt.TaskNames = None,
    replace: opt.Replace = False,
    as_json: opt.AsJson = False,
) -> None:
    """Score heads by every selector, and print their agreement with SITE's alphas and with one another."""
    from site_lens.selectors.registry import SELECTORS

    wanted = tuple(dict.fromkeys(["site", *(SELECTORS if selector is None else selector)]))
    run = comparison.run(task, replace, methods=(), selectors=wanted)
    _show(sl.compare_selectors(run.scores).frame(), comparison.out, as_json)


def _short(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Shorten names of methods and columns to the width of a terminal."""
    shorter = {"most_rows": "rows", "fit_seconds": "fit s", "relative_inference": "time"}

    def column(name: str) -> str:
        part, _, reference = name.partition("_over_")
        if not reference:
            return shorter.get(name, name)
        return f"{'q' if part == 'q_value' else ''} - {method_label(reference)}"

    return frame.assign(method=frame["method"].map(method_label)).rename(columns=column)


def _show(table: "pd.DataFrame", folder: Path, as_json: bool) -> None:
    report = sl.write_report(sl.Run.load(folder), folder / "report.html")  # in the order of later reports
    show_table(table, as_json)
    if not as_json:
        show_line(f"report:  {report}")
