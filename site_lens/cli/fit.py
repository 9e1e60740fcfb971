"""Fit commands: the demo, fits of tasks, and evaluations of saved fits."""

import dataclasses
import shlex
from pathlib import Path
from typing import Annotated, Literal

from typer import Option

import site_lens as sl
from site_lens.cli import options as opt
from site_lens.cli.output import show_line, show_notes, show_run
from site_lens.methods.names import PROMPTING
from site_lens.methods.registry import CONTROLS, SHUFFLED_ANSWERS, SITE_METHODS, SPARSE_METHODS, ZERO_EMBEDDING
from site_lens.runs.run_folder import check_run_folder, write_results
from site_lens.site.fit import SETTINGS
from site_lens.tasks.task import few_rows

NO_CONTROL = "none"
"""Name under which no control is asked for."""
ATTENTION_HEADS = 4
"""Heads of a task whose attention is kept for the report: 57 tasks then add a few megabytes to it."""


def demo(
    out: opt.ResultsFolder = Path("runs/demo"),
    n_tasks: Annotated[int, opt.counted("n_tasks", "Demo tasks to draw, evenly over the families, by seed.")] = 16,
    seed: Annotated[int, opt.counted("seed", "Seed of the draw of tasks and of the fits.")] = 0,
    replace: opt.Replace = False,
    as_json: opt.AsJson = False,
) -> None:
    """Fit and evaluate SITE on the embedded demo model, and write a report."""
    opt.keep_run(out, replace)
    tasks = sl.sample_tasks(sl.load_tasks("demo").values(), n_tasks, seed=seed)
    show_notes(few_rows(tasks.values()))
    sl.fit_and_evaluate(
        sl.load_model("demo"),
        tasks,
        sl.SiteConfig(seed=seed),
        controls=(ZERO_EMBEDDING, SHUFFLED_ANSWERS),
        n_attention_heads=ATTENTION_HEADS,
        save_to=out,
        inputs=sl.RunInputs(tasks=("demo",), model="demo"),
        announce=_announce,
    )
    _show_saved(out, as_json, report=True)


@opt.with_option_groups
def fit(
    *,
    files: opt.TaskFiles,
    out: opt.ResultsFolder,
    source: opt.ModelSource,
    task: opt.TaskNames = None,
    settings: Annotated[
        Literal["default", "quick", "paper"],
        Option(help="Where settings begin: 100 steps of batch 8; 50 of batch 4; 400 of batch 1, as published."),
    ] = "default",
    n_steps: Annotated[int | None, opt.counted("n_steps", "Optimiser steps.")] = None,
    n_prompts: Annotated[int | None, opt.counted("n_prompts", "M: prompts in a task embedding.")] = None,
    n_shots: Annotated[int | None, opt.counted("n_shots", "N: demonstrations in each of them.")] = None,
    lr: Annotated[float | None, Option(help="Learning rate.")] = None,
    loss: Annotated[
        Literal["auto", "first_token", "answer"] | None,
        Option(help="What the loss is on; auto: the whole answer if first tokens do not tell answers apart."),
    ] = None,
    prefix_dtype: Annotated[
        Literal["model", "bfloat16"] | None,
        Option(help="Arithmetic for the prefixes of queries; bfloat16 halves its time on many processors."),
    ] = None,
    seeds: Annotated[int, opt.counted("n_seeds", "Fits per task, with seeds 0, 1, ...")] = 1,
    random_init: Annotated[bool, Option("--random-init", help="Start every fit at random alphas.")] = False,
    control: Annotated[
        list[str] | None,
        Option(
            help=f"Fit this beside {CONTROLS[0]}, repeatable: {', '.join(CONTROLS[1:])}. {NO_CONTROL} alone: nothing."
        ),
    ] = None,
    price: Annotated[
        list[float] | None,
        Option(help="Price of a head in nats, repeatable and rising, to choose few heads under; 0 alone: none."),
    ] = None,
    starts: Annotated[
        int | None, opt.counted("n_starts", "Fits at each price; 3, or 1 on models above 50M weights.")
    ] = None,
    tasks_at_once: Annotated[
        int, opt.counted("tasks_at_once", "Tasks in one batch; each group is saved when done.")
    ] = 16,
    n_eval_shots: Annotated[int, opt.counted("n_eval_shots", "Demonstrations in prompts to compare with.")] = 10,
    measuring: opt.Measuring,
    chat: opt.Chat = False,
    report: Annotated[bool, Option("--report", help="Write the report, too.")] = False,
    digit_rule: opt.DigitRule = True,
    replace: opt.Replace = False,
    as_json: opt.AsJson = False,
) -> None:
    """Fit SITE and its controls on tasks, evaluate all of them, and save everything."""
    opt.keep_run(out, replace, *files.tasks, *source.inputs)
    changes = opt.given(
        n_steps=n_steps, n_prompts=n_prompts, n_shots=n_shots, lr=lr, loss=loss, prefix_dtype=prefix_dtype
    )
    if random_init:
        changes["init"] = "random"
    config = SETTINGS[settings](**changes)
    tasks = files.load(task)
    model = source.load()
    show_notes(few_rows(tasks.values()))
    plain = sl.PromptTemplate(digit_rule="published" if digit_rule else False)
    sl.fit_and_evaluate(
        model,
        tasks,
        config,
        save_to=out,
        inputs=opt.inputs_of(files, source),
        seeds=range(seeds),
        controls=() if control == [NO_CONTROL] else tuple(dict.fromkeys((ZERO_EMBEDDING, *(control or ())))),
        prices=() if price == [0] else price,
        n_starts=starts,
        template=sl.chat_template(model, digit_rule=digit_rule) if chat else plain,
        n_eval_shots=n_eval_shots,
        **measuring.settings,
        tasks_at_once=tasks_at_once,
        n_attention_heads=ATTENTION_HEADS,
        announce=_announce,
    )
    _show_saved(out, as_json, report=report)


def _announce(work: "sl.Forecast") -> None:
    show_line(str(work), aside=True)


def _show_saved(out: Path, as_json: bool, *, report: bool) -> None:
    """Print a run as it was saved, and write its report: its tasks are in the order that later commands find, too."""
    run, name = sl.Run.load(out), shlex.quote(str(out))
    written = {"fits": out / "fits", "results": out / "results.csv"}
    if run.paths:
        written["by head"] = out / "heads.csv"
    if report:
        written["report"] = sl.write_report(run, out / "report.html")
    then = f"site-lens diagnose {name}" + ("" if report else f"; site-lens report {name}")
    show_run(run, written, as_json, then=then)


@opt.with_option_groups
def evaluate(
    *,
    run: opt.RunFolder,
    files: opt.TaskFilesOfRun,
    source: opt.ModelOfRun,
    n_shots: Annotated[int, opt.counted("n_shots", "Demonstrations of few-shot prompting.")] = 10,
    measuring: opt.Measuring,
    seed: Annotated[int, opt.counted("seed", "Seed of the demonstrations.")] = 0,
    as_json: opt.AsJson = False,
) -> None:
    """Evaluate saved fits again: zero-shot, few-shot, SITE soft and hard, and their controls."""
    saved = sl.Run.load(run)
    named, where = files.of(run, saved.inputs), source.of(run, saved)
    opt.keep_inputs(run, *named.tasks, *where.inputs)
    check_run_folder(run)
    _refuse_to_lose(saved)
    tasks = named.load(fit.task for fit in saved.fits.values())
    model = where.load()
    show_notes(opt.use_notes(model, tasks, saved.fits))
    evaluations = sl.evaluate(
        model,
        tasks,
        saved.fits,
        controls=saved.controls,
        paths=saved.paths or None,
        n_shots=n_shots,
        **measuring.settings,
        seed=seed,
    )
    evaluations.save(run / "evaluations")
    results = write_results(evaluations, run)
    (run / "report.html").unlink(missing_ok=True)  # it shows the earlier evaluation
    show_run(dataclasses.replace(saved, evaluations=evaluations), {"results": results}, as_json)


def _refuse_to_lose(saved: sl.Run) -> None:
    """Refuse to overwrite evaluations of methods beside SITE, which `evaluate` does not measure."""
    measured = {PROMPTING, *SITE_METHODS, *saved.controls}
    if saved.paths:
        measured |= SPARSE_METHODS
    evaluated = {} if saved.evaluations is None else saved.evaluations.evaluated
    lost = [name for name, method in evaluated.items() if method.kind not in measured]
    if lost:
        raise sl.InputError(
            f"the run holds evaluations of {', '.join(lost)}, which would be lost, as evaluate measures fits alone; "
            "measure them again with site-lens methods, or copy the fits into another folder"
        )
