"""SITE beside every other way to find heads and to inject a task: same prompts, same test rows, same metric."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from site_lens.activations.prefix_settings import PREFIX_BUDGET
from site_lens.methods.evaluate import EvaluationSettings, evaluate_methods
from site_lens.methods.evaluation import Evaluation, Evaluations
from site_lens.methods.method import Method
from site_lens.methods.registry import METHODS, ZERO_EMBEDDING, comparable_methods, fit_method, registered_name
from site_lens.models.base import LensModel
from site_lens.models.locking import on_model
from site_lens.records.bounds import check_sizes
from site_lens.records.deprecation import renamed_keyword
from site_lens.records.errors import FitError, InputError, ModelError, NoHeadSetError, unknown_name
from site_lens.records.progress import progress_bar
from site_lens.runs.inputs import RunInputs
from site_lens.runs.run import Run
from site_lens.runs.run_folder import check_run_folder, write_results
from site_lens.selectors.config import ComparisonConfig
from site_lens.selectors.context import ComparisonContext
from site_lens.selectors.registry import SELECTORS, registered_scores
from site_lens.tasks.prompt_sampling import MAX_QUERIES, need_rows
from site_lens.tasks.task import Task

LEFT_OUT = (ModelError, FitError)
"""What may happen to one method without ending the comparison; a user's mistake ends it."""

DEFAULT_METHODS = tuple(name for name in comparable_methods() if not METHODS[name].optional)


@renamed_keyword(folder="save_to")
@on_model
def run_methods(
    model: LensModel,
    tasks: Task | Mapping[str, Task] | Iterable[Task],
    methods: Sequence[str] | None = None,
    *,
    selectors: Sequence[str] = (),
    config: ComparisonConfig | None = None,
    n_sets: int | None = None,
    max_queries: int | None = MAX_QUERIES,
    generated: bool = False,
    save_to: str | Path | None = None,
    inputs: RunInputs | None = None,
    budget_bytes: int = PREFIX_BUDGET,
    progress: bool | None = None,
) -> Run:
    """Fit methods on every task and evaluate them on the same test rows; score heads with selectors beside them.

    Whatever several of them need (embeddings, SITE fits, indirect effects) is made once, for all tasks; the seconds of
    a method count its share of it, whoever made it.

    A method or selector that the model cannot have, or whose fit fails, is left out with a warning that says why; the
    evaluation of the task notes it, and the others go on.

    Args:
        model: The model.
        tasks: The tasks.
        methods: Names from `METHODS`, or of prompting as evaluations show them (`ten_shot`); when None, all that need
            no optional package, but for one alpha map for all tasks where there is one task only. `()` asks for none.
        selectors: Names from `SELECTORS`.
        config: Settings; the defaults of the sources when None.
        n_sets: Sets of demonstrations that queries share in few-shot prompting; see `evaluate`.
        max_queries: Test rows to evaluate on, a sample (see `evaluate`); all when None.
        generated: Generate answers too, for exact and prefix match.
        save_to: Where to save the run; scores are written selector by selector, evaluations task by task. Nothing is
            saved when None.
        inputs: Where the model and the tasks are, kept with the run, so that commands on it need not be told again.
        budget_bytes: Bytes of prefixes to hold at a time in fits.
        progress: Show progress bars; on a terminal and in notebooks only when None.

    Returns:
        The SITE fits, the evaluations with the cost of each method, and the scores by selector.

    Raises:
        InputError: A name is unknown, neither methods nor selectors are asked for, or a task has too few rows.
        FitError: Every method of a task failed.
        StorageError: The folder cannot be written; found out before the first step.

    Example:
        >>> import site_lens as sl
        >>> model, tasks = sl.load_model("demo"), sl.load_tasks("demo", ["antonym", "english-french"])
        >>> config = sl.ComparisonConfig(n_prompts=4, n_shots=3, site=sl.SiteConfig(n_steps=10))
        >>> run = sl.run_methods(model, tasks, ["zero_shot", "site", "task_vector"], config=config, max_queries=8)
        >>> sl.method_table(run.evaluations, against=["zero_shot"]).methods
        ('zero_shot', 'site', 'task_vector')
    """
    check_sizes(n_sets=n_sets, max_queries=max_queries)
    context = ComparisonContext(model, tasks, config, budget_bytes=budget_bytes, progress=progress)
    if methods is None:
        methods = [n for n in DEFAULT_METHODS if len(context.tasks) > 1 or not METHODS[n].needs_others]
    methods = tuple(dict.fromkeys(registered_name(name, context.config.n_shots) for name in methods))
    _check(methods, selectors)
    if save_to is not None:
        check_run_folder(save_to, replaces=True)
    for task in context.tasks.values():
        need_rows(task, len(task.train) - 1, context.config.n_shots)
    run = Run(
        fits=context.fits(),
        controls={ZERO_EMBEDDING: context.fits(embedding="zero", mix="convex")} if ZERO_EMBEDDING in methods else {},
        inputs=inputs,
    )
    if {"site_sparse", "gates_sparse"} & set(methods) or "site_path" in selectors:
        run = replace(run, paths=context.paths())
    if save_to is not None:
        run.save(save_to)
    for name in selectors:
        try:
            run = replace(run, scores=run.scores | {name: registered_scores(context, name)})
        except LEFT_OUT as error:
            _warn(f"selector {name} was left out: {error}")
            continue
        if save_to is not None:
            run.scores[name].save(Path(save_to) / "scores" / name)
    settings = EvaluationSettings(
        context.config.template,
        context.config.n_shots,
        max_queries,
        generated,
        timed=True,
        n_sets=n_sets,
        seed=context.config.seed,
    )
    if not methods:
        return run
    evaluations: list[Evaluation] = []
    with progress_bar(len(context.tasks), "methods", unit="task", progress=progress) as bar:
        for name, task in context.tasks.items():
            fitted_methods, left_out = _fitted(context, methods, name)
            measured = evaluate_methods(model, task, fitted_methods, settings)
            evaluations.append(measured.replace(notes=(*measured.notes, *left_out)))
            if save_to is not None:
                Evaluations(evaluations[-1:]).save(Path(save_to) / "evaluations")
            bar.update()
    if save_to is not None:
        write_results(Evaluations(evaluations), save_to)
    return replace(run, evaluations=Evaluations(evaluations))


def _check(methods: Sequence[str], selectors: Sequence[str]) -> None:
    for name in selectors:
        if name not in SELECTORS:
            raise unknown_name("selector", name, SELECTORS)
    if not methods and not selectors:
        raise InputError(
            f"nothing to compare; methods are {', '.join(comparable_methods())}; selectors: {', '.join(SELECTORS)}"
        )


def _fitted(context: ComparisonContext, methods: Sequence[str], task: str) -> tuple[list[Method], list[str]]:
    """Fit methods for a task; say which were left out, and why."""
    made, left_out = [], []
    for method in methods:
        try:
            made.append(fit_method(context, method, task))
        except LEFT_OUT as error:
            left_out.append(f"{method} was left out: {error}")
            if not isinstance(error, NoHeadSetError):
                _warn(f"{task}: {left_out[-1]}")
    if not made:
        raise FitError(f"no method of task {task!r} could be made: {'; '.join(left_out)}")
    return made, left_out


def _warn(what: str) -> None:
    warnings.warn(what, stacklevel=2)
