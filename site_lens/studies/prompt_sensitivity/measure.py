"""Measuring of prompt sensitivity: the same task with embeddings of more or fewer, other, or worse prompts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
from einops import rearrange

from site_lens.activations.capture import capture_embeddings
from site_lens.activations.embedding import TaskEmbedding
from site_lens.models.base import LensModel
from site_lens.models.locking import on_model
from site_lens.records.bounds import check_sizes
from site_lens.records.deprecation import renamed_keyword
from site_lens.records.errors import InputError
from site_lens.records.hashing import seed_stream
from site_lens.site.fit import SiteConfig
from site_lens.site.fitting import fit_variants
from site_lens.site.plan import SiteJob
from site_lens.studies.cache import Arrays, StudyCache
from site_lens.studies.measure import ask, common_fields, measure_tasks, prompted, zero_shot_queries
from site_lens.studies.prompt_sensitivity.result import Condition, PromptSensitivity
from site_lens.tasks.prompt_sampling import need_rows, prompts_of_embedding, with_shuffled_answers
from site_lens.tasks.prompt_template import PromptTemplate
from site_lens.tasks.task import Task, task_list


@renamed_keyword(folder="checkpoint_dir")
@on_model
def prompt_sensitivity(
    model: LensModel,
    tasks: Task | Mapping[str, Task] | Iterable[Task],
    config: SiteConfig | None = None,
    *,
    n_prompts: Sequence[int] = (1, 3, 5, 10, 50),
    n_shots: Sequence[int] = (1, 2, 5, 10),
    base: tuple[int, int] = (10, 10),
    n_resamples: int = 3,
    n_fit_seeds: int = 3,
    template: PromptTemplate | None = None,
    templates: Sequence[PromptTemplate] = (),
    label_noise: Sequence[float] = (),
    max_queries: int = 96,
    seed: int = 0,
    checkpoint_dir: str | Path | None = None,
    progress: bool | None = None,
) -> PromptSensitivity:
    """Fit every task with embeddings made in many ways, each of several prompt sets, and ask the same test queries.

    From the base, one setting changes at a time. All fits of a task run in one batch. At the base, every prompt set
    meets every fit seed, so that the variance of a run falls into parts.

    Args:
        model: The model.
        tasks: The tasks.
        config: Settings of the fits; its own n_prompts and n_shots do not count.
        n_prompts: M, prompts of an embedding, at the base's N.
        n_shots: N, demonstrations of each prompt, at the base's M.
        base: M and N where nothing else is said.
        n_resamples: Prompt sets of each condition, at least 2. Smaller sets (M) are the beginning of larger ones;
            another N or template draws others.
        n_fit_seeds: Fit seeds at the base, at least 2.
        template: How examples become text; the paper's when None.
        templates: Further templates, for embedding and queries both.
        label_noise: Shares of train rows whose answers are permuted in demonstrations, the same as without noise;
            queries keep their answers.
        max_queries: Test rows a task at most.
        seed: Seed of the prompt sets, the fits, and the few-shot prompting that stands beside them, at the base's N.
        checkpoint_dir: Folder of checkpoints, one a task: an interrupted call goes on where it stopped, and the same
            call again costs nothing. Nothing is kept when None.
        progress: Show a progress bar; on a terminal and in notebooks only when None.

    Raises:
        InputError: There are too few resamples or seeds, a task has too few rows, or a prompt exceeds the context.

    Reference: arXiv 2507.20906, ablation of M (1 to 50 changes the mean accuracy from 88.7 to 90.0).
    """
    check_sizes(n_resamples=n_resamples, n_fit_seeds=n_fit_seeds, max_queries=max_queries, seed=seed)
    listed, settings = task_list(tasks), (config or SiteConfig()).replace(seed=seed)
    if settings.shared or settings.null != "none":
        raise InputError(
            "prompt sensitivity needs fits of the tasks themselves; leave shared and null of the config as they are"
        )
    start = Condition(n_prompts=base[0], n_shots=base[1], template=template or PromptTemplate(), label_noise=0)
    varied = {"n_prompts": n_prompts, "n_shots": n_shots, "template": templates, "label_noise": label_noise}
    changed = [start.replace(**{name: value}) for name, values in varied.items() for value in values]
    conditions = tuple(dict.fromkeys([start, *changed]))
    for task in listed:
        need_rows(task, len(task.train) - 1, max(condition.n_shots for condition in conditions))
    cache = StudyCache(
        checkpoint_dir, "sensitivity", model.identity.digest, max_queries, n_resamples, n_fit_seeds, settings.digest,
        [condition.digest for condition in conditions],
    )  # fmt: skip

    def measure(i: int) -> Arrays:
        """Fit every draw of every condition, and those of the base with every fit seed, in one batch; ask all fits."""
        task = listed[i]
        embeddings = [_embedding(model, task, one, seed + d) for one in conditions for d in range(n_resamples)]
        pairs = [(embedding, seed) for embedding in embeddings]
        pairs += [(embeddings[d], seed + s) for s in range(1, n_fit_seeds) for d in range(n_resamples)]
        jobs = {str(j): [SiteJob(task, settings.replace(seed=s), mixed)] for j, (mixed, s) in enumerate(pairs)}
        fitted = fit_variants(model, jobs, throw=False, progress=False)
        fits = [next(iter(fitted[name].values())) for name in jobs]
        alphas, asked = np.stack([fit.gates.values for fit in fits]), []
        for template, group in groupby(range(len(fits)), lambda j: fits[j].template):
            queries, chosen = zero_shot_queries(model, task, max_queries, template), list(group)
            mixed = [fits[j].embedding.mean for j in chosen]
            asked.append(ask(queries, fits[0], alphas[chosen], mixed, range(len(chosen)))[0])
        right = np.concatenate(asked)
        means = rearrange([one.mean for one in embeddings], "(c d) layer head z -> c d (layer head z)", d=n_resamples)
        at_base = [*range(n_resamples), *range(len(embeddings), len(fits))]
        by_condition, by_seed = "(condition draw) ... -> condition draw ...", "(seed draw) ... -> draw seed ..."
        return {
            "references": prompted(model, task, max_queries, start.template, n_shots=base[1], seed=seed),
            "right": rearrange(right[: len(embeddings)], by_condition, draw=n_resamples),
            "alphas": rearrange(alphas[: len(embeddings)], by_condition, draw=n_resamples),
            "embedding_variance": means.var(1, ddof=1).sum(-1) / (means.mean(1) ** 2).sum(-1),
            "crossed_right": rearrange(right[at_base], by_seed, draw=n_resamples),
            "crossed_alphas": rearrange(alphas[at_base], by_seed, draw=n_resamples),
        }

    return PromptSensitivity(
        **common_fields(model, listed, n_queries=max_queries),
        **measure_tasks(PromptSensitivity, listed, measure, cache=cache, progress=progress),
        conditions=conditions,
        n_reference_shots=base[1],
        seed=seed,
        task_digests=tuple(task.digest for task in listed),
    )


def _embedding(model: LensModel, task: Task, condition: Condition, seed: int) -> TaskEmbedding:
    """Capture an embedding of the same prompts as without label noise, which changes their answers alone."""
    sizes = condition.model_dump(include={"n_prompts", "n_shots"})
    rows = {task.name: prompts_of_embedding(task, condition.template, seed=seed, **sizes).rows}
    noisy, template = _noisy(task, condition.label_noise, seed), condition.template
    return capture_embeddings(model, noisy, prompt_rows=rows, template=template, progress=False, **sizes)[task.name]


def _noisy(task: Task, share: float, seed: int) -> Task:
    """Permute the answers among a share of the train rows."""
    stream = seed_stream(seed, task.digest, "label noise", share)
    rows = stream.choice(len(task.train), round(share * len(task.train)), replace=False)
    train = list(task.train)
    for row, changed in zip(rows, with_shuffled_answers([train[i] for i in rows], stream), strict=True):
        train[row] = changed
    return replace(task, train=tuple(train))
