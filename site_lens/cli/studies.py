"""The commands that experiment on a saved run: each keeps its record there and writes the report anew."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import site_lens as sl
from site_lens.cli.options import (
    AsJson,
    ModelSource,
    RunFolder,
    TaskFiles,
    count,
    keep_inputs,
    use_notes,
    with_option_groups,
)
from site_lens.cli.output import show_line, show_notes, show_table
from site_lens.records.checkpoint import clear_checkpoint
from site_lens.records.collections import file_name
from site_lens.records.errors import unknown_name
from site_lens.records.hashing import code_version, digest_json
from site_lens.runs.run_folder import check_run_folder, has_mark, study_mark, study_pieces, write_mark
from site_lens.studies.faithfulness.result import OWN_ORDERINGS

if TYPE_CHECKING:
    from site_lens.records.base import Record

MaxQueries = Annotated[int, typer.Option(**count("max_queries"), help="Test rows a task at most.")]
Seed = Annotated[int, typer.Option(**count("seed"), help="Seed of every draw.")]
OneTask = Annotated[str, typer.Option("--task", "-t", help="The task, one of the run.")]


@with_option_groups
def transfer(
    run: RunFolder,
    files: TaskFiles,
    source: ModelSource,
    hard: Annotated[bool, typer.Option("--hard", help="Round alphas at 0.5 first.")] = False,
    max_queries: MaxQueries = 96,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Measure every task of a run under the alphas and embeddings of every other."""
    name = "transfer_hard" if hard else "transfer"
    found = _study(
        run, name, files, source,
        lambda loaded, wanted, fits: sl.transfer_matrix(
            loaded, wanted, fits, hard=hard, max_queries=max_queries, seed=seed, folder=study_pieces(run, name)
        ),
        max_queries=max_queries, seed=seed,
    )  # fmt: skip
    show_table(sl.summarize_transfer(found).frame(), as_json)


@with_option_groups
def faithfulness(
    run: RunFolder,
    files: TaskFiles,
    source: ModelSource,
    n_random: Annotated[int, typer.Option(**count("n_random"), help="Random orders of heads of each kind.")] = 10,
    max_queries: MaxQueries = 96,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Inject the first k heads alone, and take them out of few-shot prompts; also by the selectors of the run."""
    saved = sl.Run.load(run)
    rivals = {name: scores for name, scores in saved.scores.items() if name not in OWN_ORDERINGS}
    found = _study(
        run, "faithfulness", files, source,
        lambda loaded, wanted, fits: sl.faithfulness_curves(
            loaded, wanted, fits, scores=rivals, n_random=n_random, max_queries=max_queries, seed=seed,
            folder=study_pieces(run, "faithfulness"),
        ),
        n_random=n_random, max_queries=max_queries, seed=seed,
        scores=[one.digest for scores in rivals.values() for one in scores.values()],
    )  # fmt: skip
    summary = found.summary()
    show_table(summary[summary["task"].isna()].drop(columns="task"), as_json)


@with_option_groups
def sensitivity(
    run: RunFolder,
    files: TaskFiles,
    source: ModelSource,
    max_queries: MaxQueries = 96,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Fit the tasks of a run again with embeddings of other prompts, and fewer or more of them."""
    found = _study(
        run, "sensitivity", files, source,
        lambda loaded, wanted, fits: sl.prompt_sensitivity(
            loaded, wanted, _first(fits).config, template=_first(fits).template, max_queries=max_queries, seed=seed,
            folder=study_pieces(run, "sensitivity"),
        ),
        max_queries=max_queries, seed=seed,
    )  # fmt: skip
    show_table(found.frame(), as_json)
    if not as_json:
        show_table([check.model_dump(mode="json") for check in found.checks()], as_json)


@with_option_groups
def landscape(
    run: RunFolder,
    files: TaskFiles,
    task: OneTask,
    source: ModelSource,
    n_fits: Annotated[int, typer.Option(**count("n_fits"), help="Fits from different starts.")] = 32,
    max_queries: MaxQueries = 96,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Fit one task many times from different starts: one basin or several?"""
    found = _study(
        run, file_name(f"landscape_{task}"), files, source,
        lambda loaded, wanted, fits: sl.fit_landscape(
            loaded, _one(wanted, task), fits.of(task)[0].config, n_fits=n_fits, max_queries=max_queries,
            template=fits.of(task)[0].template, seed=seed,
        ),
        n_fits=n_fits, max_queries=max_queries, seed=seed,
    )  # fmt: skip
    if not as_json:
        show_line(f"{task}: {found.verdict}")
    show_table(found.frame(), as_json)


@with_option_groups
def profile(
    run: RunFolder,
    files: TaskFiles,
    source: ModelSource,
    head: Annotated[list[str] | None, typer.Option(help="Profile this head, such as L3H7; repeatable.")] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Say what the heads of highest alpha attend to, copy, and write."""
    found = _study(
        run, "profiles", files, source,
        lambda loaded, wanted, fits: sl.head_profiles(loaded, wanted, fits, heads=head, seed=seed),
        heads=head, seed=seed,
    )  # fmt: skip
    show_table(found.frame(), as_json)


@with_option_groups
def ablate(
    run: RunFolder,
    files: TaskFiles,
    source: ModelSource,
    max_queries: MaxQueries = 96,
    as_json: AsJson = False,
) -> None:
    """Fit the tasks of a run again with one choice changed at a time: mixing rule, start, learning rate, place."""
    found = _study(
        run, "ablation", files, source,
        lambda loaded, wanted, fits: sl.ablate_fit(
            loaded, wanted, _first(fits).config, template=_first(fits).template, max_queries=max_queries
        ),
        max_queries=max_queries,
    )  # fmt: skip
    show_table(found.means_frame(), as_json)


@with_option_groups
def combine(
    run: RunFolder,
    files: TaskFiles,
    first: Annotated[str, typer.Option("--first", help="A task of the run.")],
    second: Annotated[str, typer.Option("--second", help="Another one.")],
    source: ModelSource,
    max_queries: MaxQueries = 96,
    as_json: AsJson = False,
) -> None:
    """Inject two tasks of a run at once: their heads together, and mixtures of their embeddings and alphas."""
    found = _study(
        run, file_name(f"combine_{first}+{second}"), files, source,
        lambda loaded, wanted, fits: sl.combine_tasks(
            loaded, _one(wanted, first), _one(wanted, second), fits, max_queries=max_queries
        ),
        first=first, second=second, max_queries=max_queries,
    )  # fmt: skip
    show_table(found.frame(), as_json)


def _first(fits: sl.SiteFits) -> sl.SiteFit:
    """Return the fit whose settings stand for those of the run."""
    return next(iter(fits.values()))


def _one(tasks: "dict[str, sl.Task]", task: str) -> sl.Task:
    if task not in tasks:
        raise unknown_name("task", task, tasks)
    return tasks[task]


def _study(
    run: Path,
    name: str,
    files: TaskFiles,
    source: ModelSource,
    measure: "Callable[[Any, dict[str, sl.Task], sl.SiteFits], Record]",
    **settings: Any,
) -> Any:
    """Measure on the tasks of a saved run, keep the record in it, and write its report.

    Studies that go task by task keep what they have measured, so that an interrupted command goes on where it stopped.
    What is asked on another model or other rows than the fits were made on is said on the terminal and in the record.
    A study that is there is returned as it is when nothing it depends on has changed: fits, tasks, model, settings, and
    the code that measures.
    """
    keep_inputs(run, files.tasks, source.model)
    saved = sl.Run.load(run)
    check_run_folder(run)
    tasks = files.load(fit.task for fit in saved.fits.values())
    depends_on = [fit.digest for fit in saved.fits.values()] + [task.digest for task in tasks.values()]
    key = digest_json([name, code_version(), depends_on, source.content, settings])
    if name in saved.studies and has_mark(run, name, key):
        show_notes(getattr(saved.studies[name], "notes", ()))
        return saved.studies[name]
    loaded = source.load()
    notes = use_notes(loaded, tasks, saved.fits)
    show_notes(notes)
    found: Any = measure(loaded, tasks, saved.fits)
    found = found.replace(notes=tuple(dict.fromkeys((*found.notes, *notes))))
    study_mark(run, name).unlink(missing_ok=True)  # it may not stand beside another record, even for a moment
    sl.write_report(saved.with_study(name, found, run), run / "report.html")
    write_mark(study_mark(run, name), key)
    clear_checkpoint(study_pieces(run, name))
    return found
