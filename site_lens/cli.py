"""The command line: parse, call, save, print."""

import json
import math
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import site_lens as sl
from site_lens.core.evaluation import REFERENCE
from site_lens.core.runs import CONTROLS, SHUFFLED_ANSWERS, ZERO_EMBEDDING, write_results
from site_lens.core.storage import check_writable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from site_lens.core.evaluation import Evaluations
    from site_lens.core.records import Record
    from site_lens.models.self_check import Check

app = typer.Typer(
    name="site-lens",
    help="Find which attention heads carry a task. Begin with: site-lens demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
tasks_app = typer.Typer(help="Look at tasks before fitting them.", no_args_is_help=True)
app.add_typer(tasks_app, name="tasks")

ModelName = Annotated[str, typer.Option("--model", "-m", help="'demo', a Hugging Face folder or a hub id.")]
TaskNames = Annotated[list[str] | None, typer.Option("--task", "-t", help="Keep this task; may be repeated.")]
InputColumn = Annotated[str, typer.Option(help="Column or key of the input.")]
OutputColumn = Annotated[str, typer.Option(help="Column or key of the output.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
DType = Annotated[
    Literal["float32", "bfloat16", "float16"] | None,
    typer.Option(help="Number format; the checkpoint's own by default."),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, ...; an accelerator if there is one by default.")]
Queries = Annotated[int | None, typer.Option(min=1, help="Test rows to evaluate on; all by default.")]
ATTENTION_HEADS = 4
"""Heads of a task whose attention is kept for the report: 57 tasks then add a few megabytes to it."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, by convention 128 + SIGINT."""

Sources = "'demo', a folder of tasks, or a .json, .jsonl, .csv, .tsv or .parquet file."


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path("runs/demo"),
    n_tasks: Annotated[int, typer.Option(min=1, help="Demo tasks to draw, evenly over the families, by seed.")] = 16,
    seed: Annotated[int, typer.Option(help="Seed of the draw of tasks and of the fits.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Fit and evaluate SITE on the embedded demo model, and write a report."""
    tasks = sl.sample_tasks(sl.load_tasks("demo").values(), n_tasks, seed=seed)
    run = sl.fit_and_evaluate(
        sl.load_model("demo"),
        tasks,
        sl.SiteConfig(seed=seed),
        controls=(ZERO_EMBEDDING, SHUFFLED_ANSWERS),
        n_attention_heads=ATTENTION_HEADS,
        folder=out,
    )
    report_path = sl.write_report(run, out / "report.html")
    _show_run(run, {"fits": out / "fits", "results": out / "results.csv", "report": report_path}, as_json)


@app.command()
def fit(
    tasks: Annotated[str, typer.Argument(help=Sources)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")],
    model: ModelName = "demo",
    task: TaskNames = None,
    paper: Annotated[bool, typer.Option("--paper", help="The published settings: 400 steps of batch 1.")] = False,
    n_steps: Annotated[int | None, typer.Option(help="Optimiser steps.")] = None,
    n_prompts: Annotated[int | None, typer.Option(help="M: prompts in a task embedding.")] = None,
    n_shots: Annotated[int | None, typer.Option(help="N: demonstrations in each of them.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    prefix_dtype: Annotated[
        Literal["model", "bfloat16"] | None,
        typer.Option(help="Arithmetic for the prefixes of queries; bfloat16 halves its time on many processors."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Fits per task, with seeds 0, 1, ...")] = 1,
    random_init: Annotated[bool, typer.Option("--random-init", help="Start every fit at random alphas.")] = False,
    control: Annotated[
        list[str] | None,
        typer.Option(help=f"Fits to compare with, repeatable: {', '.join(CONTROLS)}; the first by default."),
    ] = None,
    tasks_at_once: Annotated[int, typer.Option(min=1, help="Tasks in one batch; each group is saved when done.")] = 16,
    n_eval_shots: Annotated[int, typer.Option(min=1, help="Demonstrations in prompts to compare with.")] = 10,
    max_queries: Queries = None,
    generate: Annotated[bool, typer.Option("--generate", help="Measure exact and prefix match, too.")] = False,
    digit_rule: Annotated[bool, typer.Option(help="No space before outputs made of digits.")] = True,
    input_column: InputColumn = "input",
    output_column: OutputColumn = "output",
    dtype: DType = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Fit SITE and its controls on tasks, evaluate all of them, and save everything."""
    given = {
        "n_steps": n_steps, "n_prompts": n_prompts, "n_shots": n_shots, "lr": lr, "prefix_dtype": prefix_dtype,
        "init": "random" if random_init else None,
    }  # fmt: skip
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    config = sl.SiteConfig.paper(**changes) if paper else sl.SiteConfig(**changes)
    wanted = sl.load_tasks(tasks, task, input_column=input_column, output_column=output_column)
    run = sl.fit_and_evaluate(
        sl.load_model(model, dtype=dtype, device=device),
        wanted,
        config,
        folder=out,
        seeds=range(seeds),
        controls=control or (ZERO_EMBEDDING,),
        template=sl.PromptTemplate(digit_rule=digit_rule),
        n_eval_shots=n_eval_shots,
        max_queries=max_queries,
        generated=generate,
        tasks_at_once=tasks_at_once,
        n_attention_heads=ATTENTION_HEADS,
    )
    _show_run(run, {"fits": out / "fits", "results": out / "results.csv"}, as_json)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a run, made by fit or demo.")],
    tasks: Annotated[str, typer.Argument(help=Sources)],
    model: ModelName = "demo",
    n_shots: Annotated[int, typer.Option(min=1, help="Demonstrations of few-shot prompting.")] = 10,
    max_queries: Queries = None,
    generate: Annotated[bool, typer.Option("--generate", help="Measure exact and prefix match, too.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the demonstrations.")] = 0,
    input_column: InputColumn = "input",
    output_column: OutputColumn = "output",
    dtype: DType = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate saved fits again: zero-shot, few-shot, SITE soft and hard, and their controls."""
    saved = sl.Run.load(run)
    check_writable(run)
    names = list(dict.fromkeys(one.task for one in saved.fits.values()))
    wanted = sl.load_tasks(tasks, names, input_column=input_column, output_column=output_column)
    measured = sl.evaluate(
        sl.load_model(model, dtype=dtype, device=device),
        wanted,
        saved.fits,
        controls=saved.controls,
        n_shots=n_shots,
        max_queries=max_queries,
        generated=generate,
        seed=seed,
    )
    measured.save(run / "evaluations")
    results = write_results(measured, run)
    (run / "report.html").unlink(missing_ok=True)  # it shows the earlier evaluation
    _show_run(replace(saved, evaluations=measured), {"results": results}, as_json)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run, made by fit or demo.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The HTML file; RUN/report.html by default.")] = None,
) -> None:
    """Write the report of a saved run as one offline HTML file; needs no model."""
    print(sl.write_report(sl.Run.load(run), out or run / "report.html"))


@app.command()
def diagnose(
    run: Annotated[Path, typer.Argument(help="Folder of a run, made by fit or demo.")],
    as_json: AsJson = False,
) -> None:
    """Check every fit of a saved run for the known ways in which a fit misleads; exit code 1 if a check failed."""
    found = sl.diagnose(sl.Run.load(run))
    if as_json:
        print(
            json.dumps({"ok": found.ok, "findings": [one.model_dump(mode="json") for one in found.findings]}, indent=1)
        )
    else:
        worst = [one for one in found.worst_first() if one.state in ("fail", "warn")]
        cells = [[one.task, one.code, one.state, f"{one.meaning.rstrip('.')}. {one.advice}"] for one in worst]
        _show_table(["task", "check", "state", "what was found"], cells)
        print(f"{len(found.findings)} checks: {len(found.having('fail'))} failed, {len(found.having('warn'))} warned")
    sys.exit(0 if found.ok else 1)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="A run, or a saved fit or scores (its .json).")],
    second: Annotated[Path, typer.Argument(help="Another one over the same grid of heads.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the comparison page here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the heads of two runs, fits or sets of scores; needs no model."""
    if first.resolve() == second.resolve():
        raise sl.InputError(f"{first} would be compared with itself; name two")
    maps = _head_maps(first) | _head_maps(second)
    overlap = sl.compare_heads(maps)
    table = overlap.frame()
    if as_json:
        print(table.to_json(orient="records", indent=1))
    else:
        columns = ["record", "other", "n_record", "n_other", "n_shared", "jaccard", "spearman", "p_value", "q_value"]
        best = table.sort_values("jaccard", ascending=False, kind="stable")[columns]
        _show_rows([dict(zip(columns, row, strict=True)) for row in best.itertuples(index=False)], as_json=False)
    if out is not None:
        print(sl.write_comparison(overlap, out), file=sys.stderr if as_json else sys.stdout)


def _head_maps(path: Path) -> "dict[str, sl.SiteFit | sl.HeadScores]":
    """Read the head maps of a run or of a single record, under names that begin with where they came from."""
    if path.is_dir():
        return {f"{path}: {name}": fit for name, fit in sl.Run.load(path).fits.items()}
    found: "Record" = sl.load(path)
    if not isinstance(found, sl.SiteFit | sl.HeadScores):
        raise sl.InputError(f"{path} holds a {found.kind}, not a fit or scores")
    return {str(path): found}


@app.command()
def doctor(
    model: Annotated[str, typer.Argument(help="'demo', a Hugging Face folder or a hub id.")],
    longest: Annotated[int, typer.Option(min=1, help="Tokens of the long prompt; exceed the sliding window.")] = 1100,
    dtype: DType = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Measure whether a model can be hooked, patched and cached as the methods need; exit code 1 if it cannot."""
    known: dict[str, Any] = {}
    try:
        loaded = sl.load_model(model, dtype=dtype, device=device, check=False)
        known = loaded.identity.model_dump(mode="json")
        checks = sl.examine(loaded, longest=longest)
    except sl.ModelError as error:
        checks = (sl.Check("prefix_cache" if known else "hook_z", "fail", None, 0.0, str(error)),)
    ok = all(check.state != "fail" for check in checks)
    if as_json:
        print(json.dumps({"ok": ok, "model": known, "checks": [_finite(asdict(check)) for check in checks]}, indent=1))
    else:
        _show_card(checks, known)
    sys.exit(0 if ok else 1)


def _finite(fields: dict[str, Any]) -> dict[str, Any]:
    """JSON knows neither NaN nor infinity: such a value is null, and its check has failed."""
    return {k: None if isinstance(value, float) and not math.isfinite(value) else value for k, value in fields.items()}


def _show_card(checks: "Sequence[Check]", known: dict[str, Any]) -> None:
    for name in ("name", "architecture", "host", "d_head", "dtype", "processing", "value_bias", "bos"):
        if name in known:
            print(f"{name + ':':14}{known[name]}")
    if known:
        print(f"{'heads:':14}{sl.HeadGrid(tuple(known['grid']['heads_per_layer']))}")
    cells = [
        [c.code, c.state, "" if c.value is None else f"{c.value:.2g}", f"{c.threshold:.2g}", c.meaning] for c in checks
    ]
    _show_table(["check", "state", "value", "threshold", "what was measured"], cells)


@tasks_app.command("list")
def tasks_list(
    source: Annotated[str, typer.Argument(help=Sources)] = "demo",
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
    _show_rows(rows, as_json)


@tasks_app.command("audit")
def tasks_audit(
    source: Annotated[str, typer.Argument(help=Sources)] = "demo",
    input_column: InputColumn = "input",
    output_column: OutputColumn = "output",
    as_json: AsJson = False,
) -> None:
    """Count leaks, conflicting labels, repeated rows, and what a constant answer would score."""
    found = sl.load_tasks(source, input_column=input_column, output_column=output_column)
    _show_rows([asdict(task.audit()) for task in found.values()], as_json)


def _show_rows(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    cells = [[f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()] for row in rows]
    _show_table(list(rows[0]), cells)


def _show_run(run: sl.Run, paths: dict[str, Path], as_json: bool) -> None:
    broken = [key for key, fit in run.fits.items() if fit.status == "nonfinite"]
    if broken:
        print(f"warning: the loss became nonfinite for {', '.join(broken)}; do not read those fits", file=sys.stderr)
    if as_json:
        measured = run.evaluations or sl.Evaluations([])
        results = json.loads(measured.results().to_json(orient="records"))
        print(json.dumps({"paths": {name: str(path) for name, path in paths.items()}, "results": results}, indent=1))
        return
    if run.evaluations is not None:
        _show_accuracies(run.evaluations)
    for name, path in paths.items():
        print(f"{name + ':':9}{path}")


def _show_accuracies(evaluations: "Evaluations") -> None:
    methods = [method for method in evaluations.methods if "#" not in method]  # further seeds stand in results.csv
    cells = [
        [name, *(f"{e.accuracy(m).value:.3f}" if m in e.methods else "" for m in methods), str(len(e.queries))]
        for name, e in evaluations.items()
    ]
    means = [f"{evaluations.mean(m).value:.3f}" for m in methods]
    _show_table(["task", *methods, "n"], [*cells, ["mean over tasks", *means, ""]])
    print("First-token accuracy. Means over tasks, with 95% intervals:")
    for method in methods:
        print(f"  {method:32}{evaluations.mean(method)}")
    # Never the gain over 10-shot prompting without the gain over gates alone.
    if evaluations.having("site", REFERENCE, ZERO_EMBEDDING):
        for other in (REFERENCE, ZERO_EMBEDDING):
            print(f"  {'site - ' + other:32}{evaluations.mean_gain('site', over=other)}")


def _show_table(header: list[str], cells: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*header)
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    # A pipe has no width: give a table there all it needs instead of folding it to 80 columns.
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a user's mistake ends with exit code 2 and one line, an interruption with 130."""
    try:
        app(arguments)
    except sl.SiteLensError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("interrupted; what was saved before that can be loaded", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
