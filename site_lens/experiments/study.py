"""The whole way: embeddings, fits and their zero-embedding controls, evaluation; saved as it goes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from site_lens.core.errors import InputError
from site_lens.core.evaluation import Evaluations
from site_lens.core.fits import SiteConfig
from site_lens.core.prompts import PromptTemplate
from site_lens.core.runs import ZERO_EMBEDDING, Run, write_results
from site_lens.core.sampling import need_rows
from site_lens.core.storage import check_writable
from site_lens.core.tasks import Task, task_list
from site_lens.interventions.evaluating import evaluate
from site_lens.interventions.prefixes import PREFIX_BUDGET
from site_lens.models.protocol import LensModel
from site_lens.selectors.site import embed, fit_variants
from site_lens.selectors.site_plan import SiteJob

TASKS_AT_ONCE = 16
"""Tasks fitted in one batch by default: enough to fill it; more are fitted group by group, each saved when done."""


def fit_and_evaluate(
    model: LensModel,
    tasks: Task | Mapping[str, Task] | Iterable[Task],
    config: SiteConfig | None = None,
    *,
    folder: str | Path | None = None,
    seeds: Sequence[int] | None = None,
    n_eval_shots: int = 10,
    max_queries: int | None = None,
    generated: bool = False,
    template: PromptTemplate | None = None,
    tasks_at_once: int = TASKS_AT_ONCE,
    budget_bytes: int = PREFIX_BUDGET,
    progress: bool | None = None,
) -> Run:
    """Fit SITE and its zero-embedding control on every task, and evaluate both beside zero- and 10-shot prompting.

    Args:
        model: The model.
        tasks: The tasks.
        config: Settings; the fast defaults when None.
        folder: Where to save records as soon as a group of tasks is done, so that an interruption loses only the
            group under way; a run that is there is replaced. Nothing is saved when None.
        seeds: Fit every task once with each of these seeds; the lowest is called `site` in the evaluations.
        n_eval_shots: Demonstrations of the few-shot prompting that SITE is compared with.
        max_queries: Test rows to evaluate on; all when None.
        generated: Measure exact and prefix match, too.
        template: How examples become text; the paper's when None.
        tasks_at_once: Tasks in one batch; all of them where they share one alpha map.
        budget_bytes: Bytes of prefixes to hold at a time.
        progress: Show progress bars; on a terminal and in notebooks only when None.

    A fit whose loss becomes nonfinite is kept with that status; the others go on.

    Raises:
        InputError: A task has too few rows for its prompts, or a prompt exceeds the context.
        StorageError: The folder cannot be written; found out before the first step.
    """
    config = config or SiteConfig()
    if config.embedding == "zero":
        raise InputError("this study fits the zero-embedding control itself; leave embedding='task'")
    if tasks_at_once < 1:
        raise InputError(f"tasks_at_once must be at least 1, got {tasks_at_once}")
    wanted = task_list(tasks)
    for task in wanted:
        need_rows(task, len(task.train) - 1, max(config.n_shots, n_eval_shots))
    if folder is not None:
        check_writable(folder)
    configs = [config.replace(seed=seed) for seed in (seeds if seeds is not None else [config.seed])]
    if config.shared:
        tasks_at_once = len(wanted)
    parts: list[Run] = []
    for start in range(0, len(wanted), tasks_at_once):
        group = wanted[start : start + tasks_at_once]
        fitted = _fit_group(model, group, configs, template, budget_bytes, progress)
        if folder is not None:
            fitted.add_to(folder) if parts else fitted.save(folder)
        measured = evaluate(
            model,
            group,
            fitted.fits,
            controls=fitted.controls,
            n_shots=n_eval_shots,
            max_queries=max_queries,
            generated=generated,
            seed=config.seed,
            progress=progress,
        )
        parts.append(replace(fitted, evaluations=measured))
        if folder is not None:
            measured.save(Path(folder) / "evaluations")
            write_results(Evaluations(e for part in parts for e in (part.evaluations or {}).values()), folder)
    return Run.join(parts)


def _fit_group(
    model: LensModel,
    tasks: Sequence[Task],
    configs: Sequence[SiteConfig],
    template: PromptTemplate | None,
    budget_bytes: int,
    progress: bool | None,
) -> Run:
    """Fit some tasks and their controls in one batch."""
    jobs = []
    for config in configs:
        embeddings = embed(model, tasks, config, template=template, progress=progress)
        jobs += [SiteJob(task, config, embeddings[task.name]) for task in tasks]
    # Adding zeros, or scaling a head back to its own norm, would change nothing: gates act alone in the convex mix.
    blank = [replace(job, config=job.config.replace(embedding="zero", mix="convex")) for job in jobs]
    variants = {"site": jobs, ZERO_EMBEDDING: blank}
    found = fit_variants(model, variants, budget_bytes=budget_bytes, throw=False, progress=progress)
    return Run(found["site"], {ZERO_EMBEDDING: found[ZERO_EMBEDDING]})
