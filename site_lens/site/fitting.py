"""Fits of SITE: one alpha in [0, 1] per head that mixes a task embedding into zero-shot runs."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from site_lens.activations.capture import ADVICE, captured
from site_lens.activations.embedding import TaskEmbedding
from site_lens.activations.prefix_settings import PREFIX_BUDGET
from site_lens.heads.scores import HeadGates
from site_lens.models.base import LensModel
from site_lens.models.identity import library_versions
from site_lens.models.locking import on_model
from site_lens.records.bounds import check_sizes
from site_lens.records.errors import FitError, InputError
from site_lens.site.fit import SiteConfig, SiteFit, SiteFits, SiteTrace
from site_lens.site.optimizer import AlphaMapRun, JointOptimizer
from site_lens.site.plan import Plan, SiteJob, make_plan
from site_lens.tasks.prompt_sampling import as_rows
from site_lens.tasks.prompt_template import PromptTemplate
from site_lens.tasks.task import Task, task_list

T = TypeVar("T")

WHOLE_ANSWER = "the loss is taken on the whole answer (loss='answer'; loss='first_token' is the paper's)"


@on_model
def fit_site(
    model: LensModel,
    tasks: Task | Mapping[str, Task] | Iterable[Task],
    config: SiteConfig | None = None,
    *,
    seeds: Sequence[int] | None = None,
    embeddings: Mapping[str, TaskEmbedding] | None = None,
    warm_starts: Mapping[str, HeadGates] | None = None,
    train_rows: Mapping[str, ArrayLike] | None = None,
    template: PromptTemplate | None = None,
    budget_bytes: int = PREFIX_BUDGET,
    throw: bool = True,
    progress: bool | None = None,
) -> SiteFits:
    """Fit SITE on several tasks (and seeds) in one batch.

    Args:
        model: The model.
        tasks: The tasks.
        config: Settings; the fast defaults when None, `SiteConfig.paper()` for the published ones.
        seeds: Fit every task once with each of these seeds instead of `config.seed`.
        embeddings: Task embeddings by task to use instead of capturing them, with their own M and N; another task's
            embedding is allowed.
        warm_starts: Gates by task to start from instead of `config.init`.
        train_rows: Rows of train to ask at each step by task, (step row) = (n_steps, batch_size), instead of a draw;
            `fit.trace.train_rows` of another fit, for example. Of tasks that share an alpha map each row of a step is
            one task's, and -1 for the others.
        template: How examples become text; the paper's when None.
        budget_bytes: Bytes of prefixes to hold at a time; what does not fit is computed again when needed.
        throw: Raise FitError when a fit becomes nonfinite; else its status says so.
        progress: Show progress bars; on a terminal and in notebooks only when None.

    Returns:
        One fit per task, or per task and seed.

    Raises:
        InputError: A task has too few rows, a prompt exceeds the context, or `train_rows` lack a task, name rows that
            are not there or do not fit the config.
        MismatchError: An embedding or warm start belongs to another model.
        FitError: An embedding, a loss or a gradient was not finite; `error.fits` holds every fit.

    Reference: Park and Rhee, arXiv 2507.20906, sections 3 and 4.

    Example:
        >>> import site_lens as sl
        >>> model, tasks = sl.load_model("demo"), sl.load_tasks("demo", ["antonym", "english-french"])
        >>> fits = sl.fit_site(model, tasks, sl.SiteConfig(n_prompts=4, n_shots=3, n_steps=10))
        >>> list(fits), fits["antonym"].gates.values.shape
        (['antonym', 'english-french'], (6, 8))
    """
    config = config or SiteConfig()
    check_sizes(n_seeds=None if seeds is None else len(seeds))
    wanted = task_list(tasks)
    if embeddings is not None and template is not None:
        raise InputError("a template was given beside embeddings, which bring their own; leave out one of the two")
    configs = [config.replace(seed=seed) for seed in (seeds if seeds is not None else [config.seed])]
    if len(set(configs)) < len(configs):
        raise InputError(f"a seed comes twice: {seeds}")
    jobs: list[SiteJob] = []
    for settings in configs:
        if embeddings is None:
            jobs += embedded_jobs(model, wanted, settings, template=template, progress=progress)
        else:
            jobs += [SiteJob(task, settings, _value_of(embeddings, task, "embeddings")) for task in wanted]
    if warm_starts is not None:
        jobs = [replace(job, warm_start=_value_of(warm_starts, job.task, "warm_starts")) for job in jobs]
    if train_rows is not None:
        rows = {
            task.name: as_rows(task, _value_of(train_rows, task, "train_rows"), "train_rows", "(step row)")
            for task in wanted
        }
        jobs = [replace(job, train_rows=tuple(map(tuple, rows[job.task.name].tolist()))) for job in jobs]
    fits = SiteFits(_fit_jobs(model, jobs, [None] * len(jobs), budget_bytes=budget_bytes, progress=progress))
    _check_finite(list(fits.values()), fits, throw)
    return fits


def embedded_jobs(
    model: LensModel,
    tasks: Sequence[Task],
    config: SiteConfig,
    *,
    template: PromptTemplate | None = None,
    progress: bool | None = None,
) -> list[SiteJob]:
    """Capture the embeddings that a config asks for and make a job of each; one that is not finite spoils no other."""
    embeddings, broken = captured(
        model, tasks, n_prompts=config.n_prompts, n_shots=config.n_shots, seed=config.seed, template=template,
        progress=progress,
    )  # fmt: skip
    return [SiteJob(task, config, embeddings[task.name], trouble=broken.get(task.name)) for task in tasks]


@on_model
def fit_variants(
    model: LensModel,
    variants: Mapping[str, Sequence[SiteJob]],
    *,
    budget_bytes: int = PREFIX_BUDGET,
    throw: bool = True,
    progress: bool | None = None,
) -> dict[str, SiteFits]:
    """Fit several sets of jobs, such as the fits and their zero-embedding controls, in one batch.

    Tasks, seeds, settings and embeddings may differ from job to job; within a set, jobs must differ in task or seed.
    Rows of all sets share prefixes and passes; jobs with another `mix` or `prefix_dtype` run in a batch of their own.
    Jobs that say `shared` share an alpha map with those of their own set that have the same settings.
    Further arguments and errors are those of `fit_site`.
    """
    jobs = [job for members in variants.values() for job in members]
    sets = [name for name, members in variants.items() for _ in members]
    fits = iter(_fit_jobs(model, jobs, sets, budget_bytes=budget_bytes, progress=progress))
    by_set = {name: SiteFits([next(fits) for _ in members]) for name, members in variants.items()}
    _check_finite([fit for members in by_set.values() for fit in members.values()], by_set, throw)
    return by_set


def _fit_jobs(
    model: LensModel, jobs: Sequence[SiteJob], sets: Sequence[object], *, budget_bytes: int, progress: bool | None
) -> list[SiteFit]:
    """Fit jobs, those that can share a batch in one; return the fits in the order of the jobs."""
    check_sizes(budget_bytes=budget_bytes)
    batches: dict[tuple[str, str], list[int]] = {}
    for i, job in enumerate(jobs):
        batches.setdefault((job.config.mix, job.config.prefix_dtype), []).append(i)
    fits: dict[int, SiteFit] = {}
    because: dict[str, None] = {}
    for members in batches.values():
        plan = make_plan(model, [jobs[i] for i in members], [sets[i] for i in members])
        because |= dict.fromkeys(why for why in plan.whole_because if why is not None)
        runs = JointOptimizer(model, plan, budget_bytes=budget_bytes).run(progress=progress)
        fits |= {members[job]: _fit(model, plan, run, job) for run in runs for job in run.alpha_map.jobs}
    if because:
        warnings.warn(f"{WHOLE_ANSWER}; {'; '.join(because)}", stacklevel=3)
    return [fits[i] for i in range(len(jobs))]


def _check_finite(fits: Sequence[SiteFit], everything: object, throw: bool) -> None:
    broken = [fit for fit in fits if fit.status == "nonfinite"]
    if broken and throw:
        raise FitError(
            f"the fit of {', '.join(repr(fit.task) for fit in broken)} became nonfinite after "
            f"{len(broken[0].trace.loss)} steps: {broken[0].notes[-1]}; {ADVICE}, or a smaller lr. Pass throw=False to "
            "keep the gates reached before that",
            fits=everything,
        )


def _fit(model: LensModel, plan: Plan, run: AlphaMapRun, job_index: int) -> SiteFit:
    job, alpha_map = plan.jobs[job_index], run.alpha_map
    kept = run.kept() if run.alphas else None
    labelled, n_borrowed, n_valid = _labelled(plan, run, job_index)
    elsewhere = [_labelled(plan, run, other) for other in alpha_map.jobs if other != job_index]
    return SiteFit(
        task=job.task.name,
        config=job.config,
        gates=HeadGates(
            grid=model.grid,
            values=run.start if kept is None else run.alphas[kept],
            task=job.task.name,
            mix=job.config.mix,
        ),
        embedding=job.embedding.zeros() if job.config.embedding == "zero" else job.embedding,
        trace=SiteTrace(
            loss=run.loss,
            train_rows=alpha_map.rows_of(job_index)[: run.n_steps],
            eval_steps=tuple(run.eval_steps),
            valid_loss=run.valid_loss,
            valid_accuracy=run.valid_accuracy,
            alphas=np.array(run.alphas, dtype=np.float32).reshape(-1, *model.grid.shape),
        ),
        status=run.status(),
        kept_step=0 if kept is None else run.eval_steps[kept],
        labelled_rows=tuple(sorted(labelled)),
        n_labelled_elsewhere=n_borrowed + sum(len(rows) + n + valid for rows, n, valid in elsewhere),
        n_valid=n_valid,
        shared_with=tuple(plan.jobs[other].task.name for other in alpha_map.jobs if other != job_index),
        task_digest=job.task.digest,
        template=job.embedding.template,
        family=job.task.family,
        versions=library_versions(),
        notes=_notes(model, plan, job_index) + (() if run.trouble is None else (run.trouble,)),
    )


def _labelled(plan: Plan, run: AlphaMapRun, job_index: int) -> tuple[set[int], int, int]:
    """Return the rows of its own train that a job used, how many rows of another task's, and how many of valid."""
    job, config = plan.jobs[job_index], run.alpha_map.config
    drawn = run.alpha_map.rows_of(job_index)[: run.n_steps]
    rows = set(drawn[drawn >= 0].tolist())
    shown = set(job.embedding.labelled_rows) if config.embedding == "task" else set()
    is_own = job.embedding.task_digest == job.task.digest
    chooses = config.keep == "best" or config.patience is not None
    n_valid = int((run.alpha_map.valid.jobs == job_index).sum()) if chooses else 0
    return rows | shown if is_own else rows, 0 if is_own else len(shown), n_valid


def _notes(model: LensModel, plan: Plan, job_index: int) -> tuple[str, ...]:
    job = plan.jobs[job_index]
    notes = model.identity.check_use(job.embedding.model, f"the embedding of {job.embedding.task!r}")
    if job.embedding.task_digest != job.task.digest:
        notes += (f"mixes in an embedding of {job.embedding.task!r} that was made of other rows than the task's own",)
    if n := plan.merged[job_index]:
        notes += (f"{n} answers share a token with the end of their prompt; their first token is approximate",)
    if (why := plan.whole_because[job_index]) is not None:
        notes += (f"{WHOLE_ANSWER}; {why}",)
    return notes


def _value_of(by_task: Mapping[str, T], task: Task, argument: str) -> T:
    if task.name not in by_task:
        raise InputError(f"no {argument} of task {task.name!r}; there are {argument} of: {', '.join(by_task)}")
    return by_task[task.name]
