"""Ablations of SITE: what each of its choices is worth, one changed at a time."""

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
from site_lens.models.identity import library_versions
from site_lens.models.locking import on_model
from site_lens.records.bounds import check_sizes
from site_lens.records.errors import InputError
from site_lens.records.progress import progress_bar
from site_lens.site.fit import SiteConfig, SiteFit, SiteFits
from site_lens.site.fitting import fit_variants
from site_lens.site.plan import SiteJob
from site_lens.studies.ablation.result import Factor, FitAblation, Variant
from site_lens.tasks.answer_matching import exact_match
from site_lens.tasks.prompt_sampling import sampled, zero_shot_prompts
from site_lens.tasks.prompt_template import Prompt, PromptTemplate
from site_lens.tasks.task import Example, Task, task_list

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
        tasks: The tasks; queries are their first test rows.
        config: Settings of the default; `SiteConfig()` when None.
        inits: Starts to compare.
        lrs: Learning rates to compare.
        last_k: Numbers of last prompt tokens to inject at; a shorter prompt is injected at all of its tokens.
        max_queries: Test rows a task at most; below 100 of all tasks together the record gives no verdict.
        template: How examples become text; the paper's when None.
        seed: Seed of all fits; that of the config when None.
        progress: Show progress bars; on a terminal and in notebooks only when None.

    Raises:
        InputError: A setting is none, a task has too few rows, or a prompt and 20 tokens exceed the context.

    Reference: arXiv 2507.20906, section 3, for the default.
    """
    wanted = task_list(tasks)
    default = config or SiteConfig()
    default = default if seed is None else default.replace(seed=seed)
    check_sizes(max_queries=max_queries)
    if any(k < 1 for k in last_k):
        raise InputError(f"needs last tokens to inject at, got last_k {last_k}")
    settings = _settings(default, inits, lrs)
    fits = _fit(model, wanted, settings, template=template, progress=progress)
    variants = _variants(list(settings), last_k)
    n_queries = [min(max_queries, len(task.test)) for task in wanted]
    right = np.zeros((len(variants), len(wanted), max(n_queries)), dtype=np.float32)
    alphas = np.zeros((*right.shape[:2], *model.grid.shape), dtype=np.float32)
    with progress_bar(len(wanted), "ablations", unit="task", progress=progress) as bar:
        for j, (task, n) in enumerate(zip(wanted, n_queries, strict=True)):
            own = {name: found[task.name] for name, found in fits.items()}
            gates = _gates(own)
            found = _answers(model, sampled(task.test, n), own, gates, variants)
            for i, variant in enumerate(variants):
                right[i, j, :n] = found[variant.name]
                alphas[i, j] = gates.get(variant.name, gates[DEFAULT]).values
            bar.update()
    return FitAblation(
        tasks=tuple(task.name for task in wanted),
        variants=tuple(variants),
        right=right,
        asked=np.arange(right.shape[-1]) < np.array(n_queries)[:, None],
        alphas=alphas,
        config=default,
        template=fits[DEFAULT][wanted[0].name].template,
        model=model.identity,
        versions=library_versions(),
        notes=_notes(fits),
    )


def _settings(
    default: SiteConfig, inits: Sequence[float | Literal["random"]], lrs: Sequence[float]
) -> dict[Variant, SiteConfig]:
    """List what is fitted: the default, and every setting that differs from it in one field."""
    found = {Variant(name=DEFAULT, factor="default", against=None): default}
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
                found[Variant(name=f"{factor}={value}", factor=factor, against=DEFAULT)] = changed
    return found


def _fit(
    model: LensModel,
    tasks: Sequence[Task],
    settings: Mapping[Variant, SiteConfig],
    *,
    template: PromptTemplate | None,
    progress: bool | None,
) -> dict[str, SiteFits]:
    """Fit every task under all settings, with one embedding a task."""
    default = next(iter(settings.values()))
    embeddings = capture_embeddings(
        model,
        tasks,
        n_prompts=default.n_prompts,
        n_shots=default.n_shots,
        seed=default.seed,
        template=template,
        progress=progress,
    )
    jobs = {
        variant.name: [SiteJob(task, config, embeddings[task.name]) for task in tasks]
        for variant, config in settings.items()
    }
    return fit_variants(model, jobs, throw=False, progress=progress)


def _variants(fitted: Sequence[Variant], last_k: Sequence[int]) -> list[Variant]:
    """List all variants: what is fitted, and what is done with the fits of the default."""
    places = [f"last_{k}" for k in dict.fromkeys(last_k) if k > 1] + [ALL_TOKENS]
    return [
        *fitted,
        Variant(name=ZERO_SHOT, factor="no injection", against=None),
        Variant(name=HARD, factor="rounding", against=DEFAULT),
        *(Variant(name=name, factor="position", against=DEFAULT) for name in places),
        Variant(name=GENERATED, factor="default", against=None, metric="exact"),
        Variant(name=EVERY_STEP, factor="generated", against=GENERATED, metric="exact"),
    ]


def _gates(fits: Mapping[str, SiteFit]) -> dict[str, HeadGates]:
    """Return the gates of the variants that have their own; the others use those of the default."""
    default = fits[DEFAULT].gates
    own = {ZERO_SHOT: default.replace(values=np.zeros_like(default.values)), HARD: default.hard()}
    return {name: fit.gates for name, fit in fits.items()} | own


def _answers(
    model: LensModel,
    queries: Sequence[Example],
    fits: Mapping[str, SiteFit],
    gates: Mapping[str, HeadGates],
    variants: Sequence[Variant],
) -> dict[str, np.ndarray]:
    """(query) by variant: 1 where right."""
    fit = fits[DEFAULT]
    prompts = zero_shot_prompts(queries, fit.template)
    found = _held(model, prompts, fits, gates)
    edits = injection_edits(model, fit.gates, fit.embedding)
    asked = Queries.of(model, prompts)
    for variant in variants:
        if variant.factor == "position":
            n_tokens = None if variant.name == ALL_TOKENS else int(variant.name.removeprefix("last_"))
            found[variant.name] = _at_last_tokens(model, asked, edits, n_tokens)
        elif variant.metric == "exact":
            texts = generate_answers(model, prompts, edits, every_step=variant.name == EVERY_STEP)
            pairs = zip(texts, queries, strict=True)
            found[variant.name] = np.array([exact_match(text, query.outputs) for text, query in pairs])
    return found


def _held(
    model: LensModel, prompts: Sequence[Prompt], fits: Mapping[str, SiteFit], gates: Mapping[str, HeadGates]
) -> dict[str, np.ndarray]:
    """Ask under all gates that are used at the last prompt token, those of one mixing rule together."""
    held, default = CachedQueries(model, prompts), fits[DEFAULT]
    rules = {name: fits.get(name, default).config.mix for name in gates}
    found: dict[str, np.ndarray] = {}
    for rule in dict.fromkeys(rules.values()):
        names = [name for name in gates if rules[name] == rule]
        alphas = torch.tensor(np.stack([gates[name].values for name in names]))
        answers = held.answers(alphas, torch.tensor(default.embedding.mean[None]), rule=rule)
        found |= dict(zip(names, answers.right.cpu().numpy(), strict=True))
    return found


@torch.no_grad()
def _at_last_tokens(model: LensModel, asked: Queries, edits: Sequence[Edit], n_tokens: int | None) -> np.ndarray:
    """(query): 1 where right when the last `n_tokens` prompt tokens, or all of them, are edited; whole prompts."""
    right = np.zeros(len(asked), dtype=np.float32)
    for group, batch in prompt_batches(model, asked.ids):
        # Prompts stand at the right end of a batch; what is edited before a shorter one is padding that nobody reads.
        width = batch.tokens.shape[1]
        columns = [None] if n_tokens is None else range(-min(n_tokens, width), 0)
        placed = [replace(edit, column=column) for edit in edits for column in columns]
        right[group] = asked.only(group).right(model.forward(batch, placed)).cpu().numpy()
    return right


def _notes(fits: Mapping[str, SiteFits]) -> tuple[str, ...]:
    return tuple(
        f"the fit of {fit.task!r} under {name} is {fit.status}"
        for name, found in fits.items()
        for fit in found.values()
        if fit.status in ("diverged", "nonfinite")
    )
