"""Measuring of ablations: each choice of a SITE fit changed alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import torch

from site_lens.activations.cached_queries import CachedQueries
from site_lens.activations.capture import capture_embeddings
from site_lens.activations.generation import generate_answers
from site_lens.activations.injection import injection_edits
from site_lens.activations.prefill import prompt_batches
from site_lens.activations.queries import Queries
from site_lens.heads.scores import HeadGates, MixRule
from site_lens.models.base import LensModel
from site_lens.models.hooks import Edit
from site_lens.models.locking import on_model
from site_lens.records.base import Float32
from site_lens.records.bounds import check_sizes
from site_lens.records.errors import InputError
from site_lens.site.fit import FAILED, SiteConfig, SiteFit
from site_lens.site.fitting import fit_variants
from site_lens.site.plan import SiteJob
from site_lens.studies.ablation.result import Factor, FitAblation, Variant
from site_lens.studies.cache import Arrays
from site_lens.studies.measure import ask, common_fields, measure_tasks, nothing_to_round
from site_lens.tasks.answer_matching import exact_match
from site_lens.tasks.prompt_sampling import sampled, zero_shot_prompts
from site_lens.tasks.prompt_template import PromptTemplate
from site_lens.tasks.task import Task, task_list

DEFAULT, ZERO_SHOT, HARD, ALL_TOKENS = "default", "zero_shot", "hard", "all_prompt_tokens"
GENERATED, EVERY_STEP = "generated", "every_step"


@on_model
def ablate_fit(
    model: LensModel,
    tasks: Task | Mapping[str, Task] | Iterable[Task],
    config: SiteConfig | None = None,
    *,
    inits: Sequence[float | Literal["random"]] = (0.1, 0.5, 0.9, "random"),
    lrs: Sequence[float] = (0.05, 0.2, 0.5),
    last_k: Sequence[int] = (1, 2, 4),
    max_queries: int = 96,
    template: PromptTemplate | None = None,
    seed: int | None = None,
    progress: bool | None = None,
) -> FitAblation:
    """Change one choice of SITE at a time, and compare with the default on the same test queries.

    Fitted anew: the mixing rule, one alpha a layer instead of one a head, the start, and the learning rate, all from
    the same embeddings and training queries. With the default's alphas: rounded at 0.5, injected at the last k prompt
    tokens, at all of them, and, judged by whole generated answers, at every generated token too. Settings that are the
    default's own are left out. Fits that mix by the same rule share a batch.

    Args:
        model: The model.
        tasks: The tasks; queries are the sample of their test rows that `evaluate` takes.
        config: Settings of the default; `SiteConfig()` when None.
        inits: Starts to compare.
        lrs: Learning rates to compare.
        last_k: Numbers of last prompt tokens to inject at; a shorter prompt is injected at all of its tokens.
        max_queries: Test rows a task at most; below 30 of all tasks together the record gives no verdict.
        template: How examples become text; the paper's when None.
        seed: Seed of all fits; that of the config when None.
        progress: Show progress bars; on a terminal and in notebooks only when None.

    Raises:
        InputError: A setting is none, a task has too few rows, or a prompt and 20 tokens exceed the context.

    Reference: arXiv 2507.20906, section 3, for the default.
    """
    check_sizes(max_queries=max_queries)
    if any(k < 1 for k in last_k):
        raise InputError(f"needs last tokens to inject at, got last_k {last_k}")
    listed, default = task_list(tasks), config or SiteConfig()
    default = default if seed is None else default.replace(seed=seed)
    settings = _settings(default, inits, lrs)
    drawn = default.model_dump(include={"n_prompts", "n_shots", "seed"})
    embeddings = capture_embeddings(model, listed, **drawn, template=template, progress=progress)
    pairs = [(task, embeddings[task.name]) for task in listed]
    jobs = {variant.name: [SiteJob(task, changed, own) for task, own in pairs] for variant, changed in settings.items()}
    fits = fit_variants(model, jobs, throw=False, progress=progress)
    failed = [(name, fit) for name, by_task in fits.items() for fit in by_task.values() if fit.status in FAILED]
    ended = [f"the fit of {fit.task!r} under {name} is {fit.status}" for name, fit in failed]
    notes = (*ended, *nothing_to_round(fits[DEFAULT].values()))
    places = [f"last_{k}" for k in dict.fromkeys(last_k) if k > 1] + [ALL_TOKENS]
    variants = [  # what is fitted, and other uses of the default's fits
        *settings,
        Variant(name=ZERO_SHOT, factor="no injection", against=None),
        Variant(name=HARD, factor="rounding", against=DEFAULT),
        *(Variant(name=name, factor="position", against=DEFAULT) for name in places),
        Variant(name=GENERATED, factor="default", against=None, metric="exact"),
        Variant(name=EVERY_STEP, factor="generated", against=GENERATED, metric="exact"),
    ]

    def measure(i: int) -> Arrays:
        own = {name: by_task[listed[i].name] for name, by_task in fits.items()}
        return _answers(model, listed[i], max_queries, own, variants)

    return FitAblation(
        **common_fields(model, listed, notes=notes, n_queries=max_queries),
        **measure_tasks(FitAblation, listed, measure, progress=progress),
        variants=tuple(variants),
        config=default,
        template=embeddings[listed[0].name].template,
    )


def _settings(
    default: SiteConfig, inits: Sequence[float | Literal["random"]], lrs: Sequence[float]
) -> dict[Variant, SiteConfig]:
    """List what is fitted: the default, and every setting that differs from it in one field."""
    settings = {Variant(name=DEFAULT, factor="default", against=None): default}
    changes: dict[Factor, Sequence[Any]] = {
        "mix": get_args(MixRule) if default.embedding == "task" else (),  # zeros can only be mixed in convexly
        "alpha_per": ("head", "layer"),
        "init": inits,
        "lr": lrs,
    }
    for factor, values in changes.items():
        for value in dict.fromkeys(values):
            changed = default.replace(**{factor: value})
            if changed != default:
                settings[Variant(name=f"{factor}={value}", factor=factor, against=DEFAULT)] = changed
    return settings


def _answers(
    model: LensModel, task: Task, max_queries: int, fits: Mapping[str, SiteFit], variants: Sequence[Variant]
) -> Arrays:
    """Return `right`, (variant query), and `alphas`, (variant layer head), of a task."""
    fit, rows = fits[DEFAULT], sampled(task.test, max_queries)
    prompts, edits = zero_shot_prompts(rows, fit.template), injection_edits(model, fit.gates, fit.embedding)
    cached = CachedQueries(model, prompts)
    gates = {name: fit.gates for name, fit in fits.items()}
    gates |= {ZERO_SHOT: HeadGates.constant(model.grid, 0.0), HARD: fit.gates.hard()}
    rules = {name: fits.get(name, fit).config.mix for name in gates}
    answered: dict[str, Float32] = {}
    for rule in dict.fromkeys(rules.values()):  # gates that mix by the same rule are asked together
        names = [name for name in gates if rules[name] == rule]
        maps = [gates[name].values for name in names]
        of_rule = ask(cached, fits.get(names[0], fit), maps, [fit.embedding.mean])[0]
        answered |= dict(zip(names, of_rule, strict=True))
    right: dict[str, Float32] = {}
    for variant in variants:
        name = variant.name
        if variant.factor == "position":
            n_tokens = None if name == ALL_TOKENS else int(name.removeprefix("last_"))
            right[name] = _at_last_tokens(model, cached.queries, edits, n_tokens)
        elif variant.metric == "exact":
            texts = generate_answers(model, prompts, edits, every_step=name == EVERY_STEP)
            matches = [exact_match(text, row.outputs) for text, row in zip(texts, rows, strict=True)]
            right[name] = np.array(matches, dtype=np.float32)
        else:
            right[name] = answered[name]
    alphas = [gates.get(name, fit.gates).values for name in right]
    return {"right": np.stack(list(right.values())), "alphas": np.stack(alphas)}


@torch.no_grad()
def _at_last_tokens(model: LensModel, queries: Queries, edits: Sequence[Edit], n_tokens: int | None) -> np.ndarray:
    """(query): 1 where right when the last `n_tokens` prompt tokens, or all of them, are edited; whole prompts."""
    right = np.zeros(len(queries), dtype=np.float32)
    for group, batch in prompt_batches(model, queries.ids):
        # Prompts stand at the right end of a batch; what is edited before a shorter one is padding that nobody reads.
        width = batch.tokens.shape[1]
        columns = [None] if n_tokens is None else range(-min(n_tokens, width), 0)
        placed = [replace(edit, column=column) for edit in edits for column in columns]
        right[group] = queries.only(group).right(model.forward(batch, placed)).cpu().numpy()
    return right
