"""Pipeline of a study: embeddings, fits and their controls, evaluation; saved as it goes."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from site_lens.activations.attention_patterns import sample_attention
from site_lens.activations.attention_sample import AttentionSamples
from site_lens.activations.prefix_settings import PREFIX_BUDGET
from site_lens.methods import registry
from site_lens.methods.evaluate import evaluate, shared_sets
from site_lens.methods.evaluation import Evaluations
from site_lens.models.base import LensModel
from site_lens.models.locking import on_model
from site_lens.records.bounds import check_sizes
from site_lens.records.deprecation import renamed_keyword
from site_lens.records.errors import InputError, unknown_name
from site_lens.runs.forecast import Forecast, forecast
from site_lens.runs.inputs import RunInputs
from site_lens.runs.run import Run
from site_lens.runs.run_folder import check_run_folder, write_results
from site_lens.site.control_embeddings import mean_embedding, random_embedding
from site_lens.site.fit import SiteConfig
from site_lens.site.fitting import embedded_jobs, fit_variants
from site_lens.site.head_path import Content
from site_lens.site.path_fitting import check_path, fit_path
from site_lens.site.plan import SiteJob
from site_lens.tasks.prompt_sampling import MAX_QUERIES, need_rows
from site_lens.tasks.prompt_template import PromptTemplate
from site_lens.tasks.task import Task, task_list

BEGINNINGS: dict[Content, str] = {
    "task": "site", "zero": registry.ZERO_EMBEDDING, "shuffled": registry.SHUFFLED_ANSWERS
}  # fmt: skip
"""Fits that a head path can begin with."""

TASKS_AT_ONCE = 16
"""Tasks fitted in one batch by default: enough to fill it; more are fitted group by group, each saved when done."""


@renamed_keyword(folder="save_to")
@on_model
def fit_and_evaluate(
    model: LensModel,
    tasks: Task | Mapping[str, Task] | Iterable[Task],
    config: SiteConfig | None = None,
    *,
    save_to: str | Path | None = None,
    seeds: Sequence[int] | None = None,
    controls: Sequence[str] = (registry.ZERO_EMBEDDING,),
    prices: Sequence[float] | None = None,
    n_starts: int | None = None,
    n_eval_shots: int = 10,
    n_sets: int | None = None,
    max_queries: int | None = MAX_QUERIES,
    generated: bool = False,
    n_attention_heads: int = 0,
    template: PromptTemplate | None = None,
    tasks_at_once: int = TASKS_AT_ONCE,
    inputs: RunInputs | None = None,
    budget_bytes: int = PREFIX_BUDGET,
    progress: bool | None = None,
    announce: Callable[[Forecast], None] | None = None,
) -> Run:
    """Fit SITE, its controls and a head path on every task, and evaluate them beside zero- and 10-shot prompting.

    Args:
        model: The model.
        tasks: The tasks.
        config: Settings; the fast defaults when None.
        save_to: Where to save records as soon as a group of tasks is done, so that an interruption loses only the
            group under way; a run that is there is replaced. Nothing is saved when None.
        seeds: Fit every task once with each of these seeds; the lowest is called `site` in the evaluations.
        controls: What to fit beside it, of `methods.registry.CONTROLS`: `site_zero_embedding` (gates alone), the nulls
            `site_shuffled_answers` and `site_other_embedding` (that of the next task of the group),
            `site_task_agnostic` (one alpha map for all tasks), `site_mean_embedding` (that of all tasks), and
            `site_random_embedding` (random directions of the same lengths).
        prices: Prices of a head under which SITE is fitted further, to choose the few heads that carry each task; those
            of `fit_path` when None, `()` for no path. There is none where tasks share an alpha map.
        n_starts: Fits at each of these prices; see `fit_path`.
        n_eval_shots: Demonstrations of the few-shot prompting that SITE is compared with.
        n_sets: Sets of demonstrations that queries share in few-shot prompting; see `evaluate`.
        max_queries: Test rows to evaluate on, a sample (see `evaluate`); all when None.
        generated: Measure exact and prefix match, too.
        n_attention_heads: Heads of each task whose attention is sampled on a prompt, for the report: chosen heads,
            those that gain most alone first, or without a chosen set those of highest alpha.
        template: How examples become text; the paper's when None.
        tasks_at_once: Tasks in one batch; all of them where they share one alpha map or the mean embedding.
        inputs: Where the model and the tasks are, kept with the run, so that commands on it need not be told again.
        budget_bytes: Bytes of prefixes to hold at a time.
        progress: Show progress bars; on a terminal and in notebooks only when None.
        announce: Called with the forecast before the first step, when all arguments were checked; such as `print`.

    A fit whose embedding or loss is not finite is kept with that status and a note of where; the others go on.

    Raises:
        InputError: A task has too few rows for its prompts, a prompt exceeds the context, or a control is unknown or
            needs a second task.
        StorageError: The folder cannot be written; found out before the first step.

    Example:
        >>> import site_lens as sl
        >>> config = sl.SiteConfig(n_prompts=4, n_shots=3, n_steps=10)
        >>> run = sl.fit_and_evaluate(sl.load_model("demo"), sl.load_tasks("demo", ["antonym"]), config, max_queries=8)
        >>> run.evaluations.methods[:5]
        ('zero_shot', 'ten_shot', 'site', 'site_hard', 'site_top_k')
    """
    config = config or SiteConfig()
    check_sizes(
        n_eval_shots=n_eval_shots, n_sets=n_sets, max_queries=max_queries, tasks_at_once=tasks_at_once,
        budget_bytes=budget_bytes, n_attention_heads=n_attention_heads, n_seeds=None if seeds is None else len(seeds),
    )  # fmt: skip
    wanted, has_path = task_list(tasks), (prices is None or len(prices) > 0) and not config.shared
    _check(config, controls, len(wanted))
    shared_sets(model, n_sets)  # which refuses too few
    if has_path:
        check_path(model, config, prices, n_starts)
    for task in wanted:
        need_rows(task, len(task.train) - 1, max(config.n_shots, n_eval_shots))
    if save_to is not None:
        check_run_folder(save_to, replaces=True)
    if announce is not None:
        work = forecast(
            model, wanted, config, seeds=seeds, controls=controls, prices=prices, n_starts=n_starts,
            n_eval_shots=n_eval_shots, n_sets=n_sets, max_queries=max_queries, template=template,
        )  # fmt: skip
        announce(work)
    configs = [config.replace(seed=seed) for seed in (seeds if seeds is not None else [config.seed])]
    parts: list[Run] = []
    for group in _groups(wanted, config, controls, tasks_at_once):
        blocks = [embedded_jobs(model, group, each, template=template, progress=progress) for each in configs]
        variants = {"site": list(chain.from_iterable(blocks))}
        variants |= {name: [job for block in blocks for job in _control(name, block)] for name in controls}
        fits = fit_variants(model, variants, budget_bytes=budget_bytes, throw=False, progress=progress)
        fitted = Run(fits["site"], {name: fits[name] for name in controls}, inputs=inputs)
        if has_path:
            starts = {content: fits[name] for content, name in BEGINNINGS.items() if name in fits}
            paths = fit_path(
                model, group, configs[0], prices=prices, n_starts=n_starts, fits=starts, budget_bytes=budget_bytes,
                progress=progress,
            )  # fmt: skip
            fitted = replace(fitted, paths=paths)
        if n_attention_heads:
            fitted = replace(fitted, attention=_sampled(model, group, fitted, n_attention_heads))
        if save_to is not None:
            fitted.add_to(save_to) if parts else fitted.save(save_to)
        measured = evaluate(
            model,
            group,
            fitted.fits,
            controls=fitted.controls,
            paths=fitted.paths,
            n_shots=n_eval_shots,
            n_sets=n_sets,
            max_queries=max_queries,
            generated=generated,
            seed=config.seed,
            progress=progress,
        )
        parts.append(replace(fitted, evaluations=measured))
        if save_to is not None:
            measured.save(Path(save_to) / "evaluations")
            write_results(Evaluations(e for part in parts for e in (part.evaluations or {}).values()), save_to)
    return Run.join(parts)


def _check(config: SiteConfig, controls: Sequence[str], n_tasks: int) -> None:
    if config.embedding == "zero" or config.null != "none":
        raise InputError("this study fits controls itself (controls=...); leave embedding='task' and null='none'")
    for name in controls:
        if name not in registry.CONTROLS:
            raise unknown_name("control", name, registry.CONTROLS)
    need_others = (registry.OTHER_EMBEDDING, registry.TASK_AGNOSTIC, registry.MEAN_EMBEDDING)
    if n_tasks < 2 and (alone := [name for name in need_others if name in controls]):
        raise InputError(f"{alone[0]} needs a second task; leave it out or add one")


def _groups(
    tasks: Sequence[Task], config: SiteConfig, controls: Sequence[str], tasks_at_once: int
) -> Iterator[Sequence[Task]]:
    """Cut the tasks into groups of like size; all in one where an alpha map or an embedding is shared by all."""
    whole = config.shared or registry.TASK_AGNOSTIC in controls or registry.MEAN_EMBEDDING in controls
    n_groups = 1 if whole else math.ceil(len(tasks) / tasks_at_once)
    if registry.OTHER_EMBEDDING in controls:  # which takes that of another task of the group
        n_groups = max(1, min(n_groups, len(tasks) // 2))
    cuts = [round(i * len(tasks) / n_groups) for i in range(n_groups + 1)]
    return (tasks[start:end] for start, end in pairwise(cuts))


def _sampled(model: LensModel, tasks: Sequence[Task], run: Run, n_heads: int) -> AttentionSamples:
    samples = []
    for task in tasks:
        fit = run.fits.first(task.name)
        chosen = run.paths[task.name].ranked if task.name in run.paths else {}
        heads = list(chosen or fit.gates.top(min(n_heads, len(model.grid))))[:n_heads]
        if not heads:  # all alphas are alike: no head is worth a look before the others
            continue
        samples.append(sample_attention(model, task, heads, template=fit.template, seed=fit.seed))
    return AttentionSamples(samples)


def _control(name: str, jobs: Sequence[SiteJob]) -> list[SiteJob]:
    """Turn the jobs of a seed, one a task, into those of a control."""

    def changed(**changes: Any) -> list[SiteJob]:
        return [replace(job, config=job.config.replace(**changes)) for job in jobs]

    if name == registry.ZERO_EMBEDDING:
        # Adding zeros, or scaling a head back to its own norm, would change nothing: gates act alone in the convex mix.
        return changed(embedding="zero", mix="convex")
    if name == registry.SHUFFLED_ANSWERS:
        return changed(null="shuffled_answers")
    if name == registry.TASK_AGNOSTIC:
        return changed(shared=True)
    if name == registry.RANDOM_EMBEDDING:
        return [replace(job, embedding=random_embedding(job.embedding, seed=job.config.seed)) for job in jobs]
    if name == registry.MEAN_EMBEDDING:
        sound = [job for job in jobs if job.trouble is None] or jobs
        mean = mean_embedding([job.embedding for job in sound])
        return [replace(job, embedding=mean) for job in jobs]
    following = zip(jobs, [*jobs[1:], jobs[0]], strict=True)
    return [replace(job, embedding=o.embedding, trouble=job.trouble or o.trouble) for job, o in following]
