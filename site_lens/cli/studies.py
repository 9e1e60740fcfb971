"""Commands that measure a study on a saved run, save its record there and write the report anew."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from typer import Option

import site_lens as sl
from site_lens.cli import options as opt
from site_lens.cli.output import show_line, show_notes, show_table
from site_lens.heads.scores import ScoresByTask
from site_lens.records.collections import file_name
from site_lens.records.hashing import digest_json
from site_lens.records.lazy_pandas import pd
from site_lens.records.outputs import check_output
from site_lens.report.page import is_page
from site_lens.runs.run_folder import check_run_folder, study_mark, study_pieces
from site_lens.studies.cache import StudyCache
from site_lens.studies.faithfulness.result import OWN_ORDERINGS
from site_lens.studies.head_profiles.result import PARTS
from site_lens.tasks.rows import read_texts

MaxQueries = Annotated[int, opt.counted("max_queries", "Test rows a task at most.")]
Seed = Annotated[int, opt.counted("seed", "Seed of every draw.")]
N_PROMOTED = 3
"""Promoted tokens that a line of the table of profiles shows."""
TaskOfRun = Annotated[str, Option("--task", "-t", help="The task, one of the run.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStudy:
    """A saved run, its tasks and the model to measure on: arguments and options that all commands here have."""

    run: opt.RunFolder
    files: opt.TaskFilesOfRun
    source: opt.ModelOfRun
    as_json: opt.AsJson = False

    def checkpoint_dir(self, name: str) -> Path:
        """Return the folder of the checkpoints of a study, from which an interrupted command goes on."""
        return study_pieces(self.run, name)

    def measure(self, name: str, function: Callable[..., Any], depends_on: Iterable[Any] = (), **settings: Any) -> Any:
        """Measure on the tasks of the run, save the record in it, and write its report.

        The record of an earlier command is returned as it is when nothing it depends on has changed: fits, tasks,
        model, settings, and the code that measures. Notes on another model or other rows than those of the fits are
        printed and part of the record.

        Args:
            name: Name of the study in the run.
            function: Function of model, tasks by name, fits and settings; returns the record.
            depends_on: JSON values that the result depends on beside all that.
            settings: Settings of the study, as JSON values.
        """
        saved = sl.Run.load(self.run)
        files, source = self.files.of(self.run, saved.inputs), self.source.of(self.run, saved)
        opt.keep_inputs(self.run, *files.tasks, *source.inputs)
        check_run_folder(self.run)
        check_output([self.run / "report.html"], is_page)
        fits = self.fits_of(saved)
        tasks = files.load(fit.task for fit in fits.values())
        digests = [fit.digest for fit in fits.values()] + [task.digest for task in tasks.values()]
        cache = StudyCache(self.checkpoint_dir(name), name, digests, source.content, settings, list(depends_on))
        mark = study_mark(self.run, name)
        if name not in saved.studies:
            mark.unlink(missing_ok=True)

        def read() -> Any:
            record: Any = saved.studies[name]
            show_notes(record.notes)
            return record

        def measured() -> Any:
            loaded = source.load()
            notes = opt.use_notes(loaded, tasks, fits)
            show_notes(notes)
            record = function(loaded, tasks, fits, **settings)
            record = record.replace(notes=tuple(dict.fromkeys((*record.notes, *notes))))
            sl.write_report(saved.with_study(name, record, self.run), self.run / "report.html")
            return record

        return cache.result(mark, read, measured)

    def fits_of(self, saved: sl.Run) -> sl.SiteFits:
        """Return the fits of a run that the study asks about."""
        return saved.fits


@dataclass(frozen=True, slots=True, kw_only=True)
class SetStudy(RunStudy):
    """A study of the chosen head sets of a run that has them, unless the soft fits are asked for."""

    dense: Annotated[
        bool, Option("--dense", help="Take the soft fits, as published, in place of the chosen head sets.")
    ] = False

    def fits_of(self, saved: sl.Run) -> sl.SiteFits:
        """Return the chosen sets, or the soft fits; see `chosen_fits`."""
        return opt.chosen_fits(saved, dense=self.dense)


@opt.with_option_groups
def transfer(
    study: SetStudy,
    hard: Annotated[bool, Option("--hard", help="Round alphas at 0.5 first.")] = False,
    max_queries: MaxQueries = 96,
    seed: Seed = 0,
) -> None:
    """Measure every task of a run under the alphas and embeddings of every other."""
    name = "transfer_hard" if hard else "transfer"
    function = functools.partial(sl.transfer_matrix, checkpoint_dir=study.checkpoint_dir(name))
    matrix = study.measure(name, function, hard=hard, max_queries=max_queries, seed=seed)
    show_table(sl.summarize_transfer(matrix).frame(), study.as_json)


@opt.with_option_groups
def faithfulness(
    study: RunStudy,
    n_random: Annotated[int, opt.counted("n_random", "Random orders of heads of each kind.")] = 10,
    max_queries: MaxQueries = 96,
    seed: Seed = 0,
) -> None:
    """Inject the first k heads alone, and take them out of few-shot prompts; also by the selectors of the run."""
    saved = sl.Run.load(study.run)
    scores = {name: rival for name, rival in saved.scores.items() if name not in OWN_ORDERINGS}
    if saved.paths:
        scores["site_path"] = ScoresByTask(path.scores for path in saved.paths.values())
    digests = [score.digest for rival in scores.values() for score in rival.values()]
    function = functools.partial(
        sl.faithfulness_curves, scores=scores, checkpoint_dir=study.checkpoint_dir("faithfulness")
    )
    curves = study.measure("faithfulness", function, digests, n_random=n_random, max_queries=max_queries, seed=seed)
    summary = curves.summary()
    show_table(summary[summary["task"].isna()].drop(columns="task"), study.as_json)


@opt.with_option_groups
def sensitivity(study: RunStudy, max_queries: MaxQueries = 96, seed: Seed = 0) -> None:
    """Fit the tasks of a run again with embeddings of other prompts, and fewer or more of them."""
    function = functools.partial(sl.prompt_sensitivity, checkpoint_dir=study.checkpoint_dir("sensitivity"))
    runs = study.measure("sensitivity", as_fitted(function), max_queries=max_queries, seed=seed)
    show_table(runs.frame(), study.as_json)
    if not study.as_json:
        show_table([check.model_dump(mode="json") for check in runs.checks()])


@opt.with_option_groups
def landscape(
    study: RunStudy,
    task: TaskOfRun,
    n_fits: Annotated[int, opt.counted("n_fits", "Fits from different starts.")] = 32,
    max_queries: MaxQueries = 96,
    seed: Seed = 0,
) -> None:
    """Fit one task many times from different starts: one basin or several?"""

    def function(model: sl.LensModel, tasks: dict[str, sl.Task], fits: sl.SiteFits, **settings: Any) -> sl.FitLandscape:
        chosen = opt.named(tasks, task)
        fit = fits.of(task)[0]
        return sl.fit_landscape(model, chosen, fit.config, template=fit.template, **settings)

    name = file_name(f"landscape_{task}")
    fits = study.measure(name, function, n_fits=n_fits, max_queries=max_queries, seed=seed)
    if not study.as_json:
        show_line(f"{task}: {fits.verdict}")
    show_table(fits.frame(), study.as_json)


@opt.with_option_groups
def profile(
    study: SetStudy,
    head: Annotated[list[str] | None, Option(help="Profile this head, such as L3H7; repeatable.")] = None,
    text: Annotated[
        Path | None,
        opt.path_option(
            "Profile them on this text, not on the tasks: a text file, or a table with a column text. Writes "
            "RUN/text_profiles.html, too."
        ),
    ] = None,
    headvis: Annotated[Path | None, opt.path_option("With --text: write the data folder of HeadVis here, too.")] = None,
    seed: Seed = 0,
    all_columns: Annotated[bool, Option("--all", help="Print every column.")] = False,
    replace: opt.ReplaceFile = False,
) -> None:
    """Say what the chosen heads, or those of highest alpha, attend to, copy, and write, on tasks or on other text."""
    if text is not None:
        on_text(study, text, head, headvis, all_columns=all_columns, replace=replace)
        return
    if headvis is not None:
        raise sl.InputError("--headvis exports profiles on text; name a file with --text")
    profiles = study.measure("profiles", sl.head_profiles, heads=head, seed=seed)
    frame = profiles.frame()
    show_table(frame if all_columns or study.as_json else _brief(frame), study.as_json)


def on_text(
    study: SetStudy, text: Path, heads: list[str] | None, headvis: Path | None, *, all_columns: bool, replace: bool
) -> None:
    """Profile heads on text, write their page, and the data folder of HeadVis if it has a name."""
    texts, page = read_texts(text), study.run / "text_profiles.html"
    check_output([page], is_page, inputs=[text], replace=replace)

    def profiles_on_text(
        model: sl.LensModel, tasks: dict[str, sl.Task], fits: sl.SiteFits, heads: list[str] | None
    ) -> sl.TextProfiles:
        from site_lens.studies.head_profiles.measure import leading_heads
        from site_lens.studies.measure import first_fits

        chosen = heads or leading_heads(first_fits(model, list(tasks.values()), fits)[0])
        return sl.text_profiles(model, texts, chosen)

    profiles = study.measure("text_profiles", profiles_on_text, [digest_json(texts)], heads=heads)
    show_line(str(sl.write_text_page(profiles, page, replace=replace)), aside=study.as_json)
    if headvis is not None:
        show_line(str(sl.export_headvis(profiles, headvis, replace=replace)), aside=study.as_json)
    frame = profiles.frame()
    show_table(frame if all_columns or study.as_json else _brief_text(frame), study.as_json)


def _brief_text(profiles: "pd.DataFrame") -> "pd.DataFrame":
    """Shorten a table of profiles on text to a terminal."""
    brief = profiles[["head", "to_first", "to_previous", "to_induction", "distance_0.5", "copying"]]
    return brief.assign(written=[" ".join(map(repr, tokens[:N_PROMOTED])) for tokens in profiles["written"]])


def _brief(profiles: "pd.DataFrame") -> "pd.DataFrame":
    """Shorten a table of profiles to a terminal: the part most attended to, and the first tokens that rise."""
    to = [f"to_{part}" for part in PARTS]
    most = profiles[to].to_numpy()
    looks_at = [f"{PARTS[i]} {share:.2f}" for i, share in zip(most.argmax(axis=1), most.max(axis=1), strict=True)]
    brief = profiles[["task", "head", "alpha"]].assign(looks_at=looks_at, answer_gain=profiles["answer_gain"])
    return brief.assign(promoted=[" ".join(map(repr, tokens[:N_PROMOTED])) for tokens in profiles["promoted"]])


@opt.with_option_groups
def ablate(study: RunStudy, max_queries: MaxQueries = 96) -> None:
    """Fit the tasks of a run again with one choice changed at a time: mixing rule, start, learning rate, place."""
    ablation = study.measure("ablation", as_fitted(sl.ablate_fit), max_queries=max_queries)
    show_table(ablation.means_frame(), study.as_json)


@opt.with_option_groups
def combine(
    study: SetStudy,
    first: Annotated[str, Option("--first", help="A task of the run.")],
    second: Annotated[str, Option("--second", help="Another one.")],
    max_queries: MaxQueries = 96,
) -> None:
    """Inject two tasks of a run at once: their heads together, and mixtures of their embeddings and alphas."""

    def function(
        model: sl.LensModel, tasks: dict[str, sl.Task], fits: sl.SiteFits, **settings: Any
    ) -> sl.TaskArithmetic:
        return sl.combine_tasks(model, opt.named(tasks, first), opt.named(tasks, second), fits, **settings)

    combination = study.measure(
        file_name(f"combine_{first}+{second}"), function, [first, second], max_queries=max_queries
    )
    show_table(combination.frame(), study.as_json)


def as_fitted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn a study that fits anew into one of fits, whose first says settings and template."""

    def measure(model: sl.LensModel, tasks: dict[str, sl.Task], fits: sl.SiteFits, **settings: Any) -> Any:
        first = next(iter(fits.values()))
        losses = {fit.config.loss for fit in fits.values()}  # which "auto", the default, chose for each task
        config = first.config if len(losses) == 1 else first.config.replace(loss="auto")
        return function(model, tasks, config, template=first.template, **settings)

    return measure
