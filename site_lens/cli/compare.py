"""The commands that compare SITE with other ways to inject a task, and to find heads."""

from typing import TYPE_CHECKING, Annotated

import typer

import site_lens as sl
from site_lens.cli.options import (
    AsJson,
    Chat,
    Generate,
    InputColumn,
    ModelSource,
    OutputColumn,
    Queries,
    Replace,
    ResultsFolder,
    Source,
    TaskNames,
    count,
    keep_run,
    loads_a_model,
)
from site_lens.cli.output import show_frame
from site_lens.methods.tabulate import default_references

if TYPE_CHECKING:
    from site_lens.models.base import LensModel

Rows = Annotated[
    int | None,
    typer.Option(
        "--labelled-rows",
        **count("labelled_rows"),
        help="Equal data: cut every task to so many labelled rows, a fifth valid.",
    ),
]
Prompts = Annotated[int, typer.Option(**count("n_prompts"), help="M: few-shot prompts behind every mean output.")]
Shots = Annotated[int, typer.Option(**count("n_shots"), help="N: demonstrations in each, and of few-shot prompting.")]
Seed = Annotated[int, typer.Option(**count("seed"), help="Seed of every draw.")]


@loads_a_model
def methods(
    tasks: Source,
    out: ResultsFolder,
    source: ModelSource,
    method: Annotated[
        list[str] | None, typer.Option(help="Compare this method; repeatable. All without extras by default.")
    ] = None,
    task: TaskNames = None,
    labelled_rows: Rows = None,
    n_prompts: Prompts = 50,
    n_shots: Shots = 10,
    max_queries: Queries = None,
    generate: Generate = False,
    chat: Chat = False,
    seed: Seed = 0,
    input_column: InputColumn = "input",
    output_column: OutputColumn = "output",
    replace: Replace = False,
    as_json: AsJson = False,
) -> None:
    """Fit rival methods beside SITE, evaluate all of them on the same rows, and write a report."""
    keep_run(out, replace, tasks, source.model)
    wanted = sl.load_tasks(tasks, task, input_column=input_column, output_column=output_column)
    if labelled_rows is not None:
        wanted = {name: one.with_labelled(labelled_rows, seed=seed) for name, one in wanted.items()}
    loaded = source.load()
    run = sl.run_methods(
        loaded,
        wanted,
        method,
        config=_config(loaded, chat, n_prompts, n_shots, seed),
        max_queries=max_queries,
        generated=generate,
        folder=out,
    )
    report = sl.write_report(run, out / "report.html")
    assert run.evaluations is not None  # methods were asked for
    table = sl.method_table(run.evaluations, default_references(run.evaluations) or [run.evaluations.methods[0]])
    columns = ["method", "value", "low", "high", "most_rows", "fit_seconds", "relative_inference"]
    columns += [f"{name}_over_{one}" for one in table.against for name in ("value", "q_value")]
    show_frame(table.means_frame()[columns], as_json, report)


@loads_a_model
def selectors(
    tasks: Source,
    out: ResultsFolder,
    source: ModelSource,
    selector: Annotated[list[str] | None, typer.Option(help="Use this selector; repeatable. All by default.")] = None,
    task: TaskNames = None,
    n_prompts: Prompts = 50,
    n_shots: Shots = 10,
    chat: Chat = False,
    seed: Seed = 0,
    input_column: InputColumn = "input",
    output_column: OutputColumn = "output",
    replace: Replace = False,
    as_json: AsJson = False,
) -> None:
    """Score heads in every way, and print how far the ways agree with SITE's alphas and with one another."""
    keep_run(out, replace, tasks, source.model)
    from site_lens.selectors.registry import SELECTORS

    loaded = source.load()
    run = sl.run_methods(
        loaded,
        sl.load_tasks(tasks, task, input_column=input_column, output_column=output_column),
        (),
        selectors=tuple(SELECTORS) if selector is None else tuple(dict.fromkeys(["site", *selector])),
        config=_config(loaded, chat, n_prompts, n_shots, seed),
        folder=out,
    )
    report = sl.write_report(run, out / "report.html")
    show_frame(sl.compare_selectors(run.scores).frame(), as_json, report)


def _config(loaded: "LensModel", chat: bool, n_prompts: int, n_shots: int, seed: int) -> "sl.ComparisonConfig":
    template = sl.chat_template(loaded) if chat else sl.PromptTemplate()
    return sl.ComparisonConfig(n_prompts=n_prompts, n_shots=n_shots, seed=seed, template=template)
