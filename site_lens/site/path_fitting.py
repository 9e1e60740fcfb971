"""Fitting of head paths: SITE under rising prices of a head, each from the gates of the last one."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from site_lens.activations.cached_queries import CachedQueries
from site_lens.activations.prefix_settings import PREFIX_BUDGET
from site_lens.heads.head_set import HeadSet
from site_lens.heads.scores import HeadGates
from site_lens.models.base import LensModel
from site_lens.models.identity import library_versions
from site_lens.models.locking import on_model
from site_lens.records.base import Float32
from site_lens.records.bounds import check_sizes
from site_lens.records.errors import InputError
from site_lens.site.fit import SiteConfig, SiteFit, SiteFits
from site_lens.site.fitting import embedded_jobs, fit_variants
from site_lens.site.head_path import (
    CONTENTS,
    FEW_PRICES,
    OPEN,
    PRICES,
    Content,
    HeadPath,
    HeadPaths,
    PathFit,
    choose_fit,
)
from site_lens.site.plan import SiteJob
from site_lens.tasks.prompt_sampling import sampled, zero_shot_prompts
from site_lens.tasks.prompt_template import PromptTemplate
from site_lens.tasks.task import Task, task_list

PRICE_BATCH = 8
"""Fewest training queries a step at each price but 0: with the single one of the published loop the price, which has no
noise, would win over the loss, which has."""


@dataclass(frozen=True, slots=True)
class PathSettings:
    """Prices, starts and steps of a path, where None leaves them to the size of the model."""

    prices: tuple[float, ...]
    n_starts: int
    n_steps: int
    """Steps at each price but 0."""

    @classmethod
    def of(
        cls, model: LensModel, config: SiteConfig, prices: Sequence[float] | None, n_starts: int | None,
        n_price_steps: int | None,
    ) -> "PathSettings":  # fmt: skip
        """Fill in what was left open; see `fit_path`."""
        is_large = model.is_large
        return cls(
            prices=tuple((FEW_PRICES if is_large else PRICES) if prices is None else prices),
            n_starts=n_starts or (1 if is_large else 3),
            n_steps=n_price_steps or math.ceil(config.n_steps * (0.3 if is_large else 0.6)),
        )


@dataclass(frozen=True, slots=True)
class _Walk:
    """Fits of one task, content and start under several prices."""

    content: Content
    job: SiteJob
    """What is fitted at price 0."""
    fits: dict[float, SiteFit]
    """Fits by price, that at 0 first."""

    def at(self, price: float, n_steps: int) -> SiteJob:
        """Return what is fitted at a further price: from the gates of the nearest price between it and 0."""
        nearest = max((other for other in self.fits if other * price >= 0), key=abs)
        config = self.fits[0.0].config.replace(
            head_price=price, n_steps=n_steps, eval_every=n_steps, keep="last", patience=None,
            batch_size=max(self.job.config.batch_size, PRICE_BATCH),
        )  # fmt: skip
        return replace(self.job, config=config, warm_start=self.fits[nearest].gates)

    def listed(self) -> list[tuple[PathFit, SiteFit]]:
        """Return every fit, and what it is."""
        config, content = self.job.config, self.content
        return [
            (PathFit(content=content, price=price, seed=config.seed, init=config.init, kept_start=fit.kept_start), fit)
            for price, fit in self.fits.items()
        ]


@on_model
def fit_path(
    model: LensModel,
    tasks: Task | Mapping[str, Task] | Iterable[Task],
    config: SiteConfig | None = None,
    *,
    prices: Sequence[float] | None = None,
    contents: Sequence[Content] = ("task", "zero"),
    n_starts: int | None = None,
    n_price_steps: int | None = None,
    full_grid: bool = False,
    fits: Mapping[Content, SiteFits] | None = None,
    template: PromptTemplate | None = None,
    budget_bytes: int = PREFIX_BUDGET,
    progress: bool | None = None,
) -> HeadPaths:
    """Fit SITE under several prices of a head, and choose the smallest head set that does as well as any, on valid.

    Every task is fitted at price 0, as by `fit_site`, and from there under one rising price after the other, each from
    the gates of the last; prices below 0 fall from there in the same way. The first start has the seed and init of
    `config`; each further one the next seed, its own embedding and queries, and a random init, so that their agreement
    says how sure a set is. Gates are rounded at 0.5 and measured on the rows of valid; `choose_fit` states the rule of
    choice. Controls are fitted once, at the chosen price. All fits that can go side by side share one batch.

    Args:
        model: The model.
        tasks: The tasks.
        config: Settings of the fits at price 0; those of `fits`, or the fast defaults, when None. Further prices keep
            the last alphas.
        prices: Nats per unit of alpha, rising, at least one above 0; 0 is always among them. When None, `PRICES`, or
            `FEW_PRICES` on models of more than 50 million weights.
        contents: "task", and the controls beside it: "zero" (gates alone) and "shuffled" (shuffled answers).
        n_starts: Fits of every task at every price; when None, 3, or 1 on such models.
        n_price_steps: Steps at each price but 0; when None, 60 % of those at 0, or 30 % on such models.
        full_grid: Fit controls at every price of 0 or more instead of the chosen one alone.
        fits: Fits at price 0 that were made before, by content, to begin with instead of making them again: of each
            task that of the lowest seed. Further starts have the same settings and the seeds behind it.
        template: How examples become text; the paper's, or that of `fits`, when None.
        budget_bytes: Bytes of prefixes to hold at a time.
        progress: Show progress bars; on a terminal and in notebooks only when None.

    Returns:
        One path a task. A task with a fit that is not finite has none; read what `fit_site` says of it.

    Raises:
        InputError: Prices do not rise, or none is above 0, a count is out of its bounds, a task has too few rows, the
            settings ask for a control, or `fits` lack a task, or were made with other settings or another template.

    Example:
        >>> import site_lens as sl
        >>> model, tasks = sl.load_model("demo"), sl.load_tasks("demo", ["antonym"])
        >>> config = sl.SiteConfig(n_prompts=4, n_shots=3, n_steps=10)
        >>> path = sl.fit_path(model, tasks, config, prices=(0, 0.01), n_starts=1, n_price_steps=5)["antonym"]
        >>> path.prices()
        (0.0, 0.01)
    """
    listed, given = task_list(tasks), fits or {}
    first = [given["task"].first(task.name) for task in listed] if "task" in given else []
    base = _base(config, template, first)
    check_sizes(n_starts=n_starts, n_steps=n_price_steps, budget_bytes=budget_bytes)
    settings = PathSettings.of(model, base, prices, n_starts, n_price_steps)
    _check(base, settings.prices, contents)
    options: dict[str, Any] = {"budget_bytes": budget_bytes, "progress": progress}
    jobs = _first_jobs(model, listed, base, settings.n_starts, first, template, progress)
    walks = _first_fits(model, jobs, contents, given, options)
    further = [float(price) for price in settings.prices if price]
    own = [walk for walk in walks if walk.content == "task"]
    _walk(model, [(walk, further) for walk in own], settings.n_steps, options)
    paths = {}
    for task in listed:
        fitted = [made for walk in own if walk.job.task is task for made in walk.listed()]
        if all(fit.status != "nonfinite" for _, fit in fitted):
            paths[task] = _chosen(model, task, base, fitted, budget_bytes)
    controls = [walk for walk in walks if walk.content != "task" and walk.job.task in paths]
    rising = [price for price in further if price > 0]
    _walk(
        model,
        [(walk, rising if full_grid else _price_of_choice(paths[walk.job.task])) for walk in controls],
        settings.n_steps,
        options,
    )
    for walk in controls:
        task = walk.job.task
        paths[task] = _with_control(model, paths[task], task, walk.listed(), budget_bytes)
    return HeadPaths(paths.values())


def _base(config: SiteConfig | None, template: PromptTemplate | None, first: Sequence[SiteFit]) -> SiteConfig:
    """Return the settings of the first start, whose fits may have been made before.

    Raises:
        InputError: Those fits differ in settings or template from what is asked for, or from each other.
    """
    if not first:
        return config or SiteConfig()
    base = (config or first[0].config).replace(seed=max(fit.seed for fit in first))
    for fit in first:
        if _alike(fit.config) != _alike(base) or fit.template != (template or first[0].template):
            raise InputError(
                f"the fit of {fit.task!r} that the path should begin with has other settings than the further starts: "
                "hand in its config and template, or leave both out, and fit tasks of several settings apart"
            )
    return base


def _alike(config: SiteConfig) -> SiteConfig:
    """Return what settings of fits of one path have in common: all but start, seed, and the loss that a task needs."""
    return config.replace(seed=0, init=0.5, loss="auto")


def check_path(
    model: LensModel, config: SiteConfig, prices: Sequence[float] | None = None, n_starts: int | None = None
) -> None:
    """Refuse what `fit_path` would refuse of its settings, before anything is fitted.

    Raises:
        InputError: See `fit_path`.
    """
    check_sizes(n_starts=n_starts)
    _check(config, PathSettings.of(model, config, prices, n_starts, None).prices, ("task", "zero"))


def _check(config: SiteConfig, prices: Sequence[float], contents: Sequence[Content]) -> None:
    if config.shared or config.embedding != "task" or config.null != "none" or config.head_price:
        raise InputError("a path sets head_price and controls itself; leave head_price, embedding, null, shared alone")
    for price in prices:
        config.replace(head_price=price)  # which has bounds
    if list(prices) != sorted(set(prices)) or not prices or prices[-1] <= 0:
        raise InputError(f"needs rising prices, at least one of them above 0, got {tuple(prices)}")
    if len(set(contents)) < len(contents) or "task" not in contents or set(contents) - set(CONTENTS):
        raise InputError(f"needs each content once, 'task' among them, of {CONTENTS}, got {tuple(contents)}")


def _price_of_choice(path: HeadPath) -> list[float]:
    """Return the price at which controls are fitted, if they need a further fit."""
    return [path.chosen.price] if path.chosen is not None and path.chosen.price else []


def _first_jobs(
    model: LensModel, tasks: Sequence[Task], config: SiteConfig, n_starts: int, first: Sequence[SiteFit],
    template: PromptTemplate | None, progress: bool | None,
) -> list[list[SiteJob]]:  # fmt: skip
    """Return what is fitted at price 0 with the task embedding, from every start; the first fits may be there."""
    jobs: list[list[SiteJob]] = []
    if first:
        template = first[0].template
        jobs.append([SiteJob(task, fit.config, fit.embedding) for task, fit in zip(tasks, first, strict=True)])
    for i in range(len(jobs), n_starts):
        settings = config.replace(seed=config.seed + i, init="random" if i else config.init)
        made = embedded_jobs(model, tasks, settings, template=template, progress=progress)
        for place, fit in enumerate(first):  # whose config says which loss the task needs
            made[place] = replace(made[place], config=settings.replace(loss=fit.config.loss))
        jobs.append(made)
    return jobs


def _first_fits(
    model: LensModel, jobs: Sequence[Sequence[SiteJob]], contents: Sequence[Content],
    given: Mapping[Content, SiteFits], options: Mapping[str, Any],
) -> list[_Walk]:  # fmt: skip
    """Make the fits at price 0 that were not given: of the task embedding from every start, of controls from one."""
    wanted = [(content, i) for content in contents for i in range(len(jobs) if content == "task" else 1)]
    variants = {
        f"{content} {i}": [_with_content(job, content) for job in jobs[i]]
        for content, i in wanted
        if i or content not in given
    }
    fitted = fit_variants(model, variants, throw=False, **options)
    walks = []
    for content, i in wanted:
        fits = fitted.get(f"{content} {i}") or given[content]
        walks += [_Walk(content, _with_content(job, content), {0.0: fits.first(job.task.name)}) for job in jobs[i]]
    return walks


def _with_content(job: SiteJob, content: Content) -> SiteJob:
    if content == "zero":  # adding zeros, or scaling a head back to its own norm, would change nothing
        return replace(job, config=job.config.replace(embedding="zero", mix="convex"))
    return job if content == "task" else replace(job, config=job.config.replace(null="shuffled_answers"))


def _walk(
    model: LensModel, walks: Sequence[tuple[_Walk, Sequence[float]]], n_steps: int, options: Mapping[str, Any]
) -> None:
    """Fit walks under their prices, from 0 upwards and downwards, all walks side by side."""
    going = [(walk, [p for p in prices if p > 0], [p for p in reversed(prices) if p < 0]) for walk, prices in walks]
    for step in range(max((len(prices) for _, *ways in going for prices in ways), default=0)):
        next_ones = [(walk, prices[step]) for walk, *ways in going for prices in ways if step < len(prices)]
        variants = {str(i): [walk.at(price, n_steps)] for i, (walk, price) in enumerate(next_ones)}
        made = fit_variants(model, variants, throw=False, **options)
        for (walk, price), fits in zip(next_ones, made.values(), strict=True):
            (walk.fits[price],) = fits.values()


def _chosen(
    model: LensModel, task: Task, config: SiteConfig, made: Sequence[tuple[PathFit, SiteFit]], budget_bytes: int
) -> HeadPath:
    """Measure the fits of a task, rounded, and choose a set."""
    fits, site_fits = zip(*made, strict=True)
    plain = site_fits[0].replace(gates=HeadGates.constant(model.grid, 0.0, mix=site_fits[0].config.mix))
    loss, right = _rounded(model, task, [plain, *site_fits], config, budget_bytes)
    gates = np.stack([fit.gates.values for fit in site_fits])
    choice = choose_fit(fits, (gates > OPEN).sum((1, 2)).tolist(), loss[1:], right[1:], loss[0], right[0])
    found: dict[str, Any] = {}
    if choice is not None:
        sparse = _sparse(site_fits[choice], site_fits[choice].gates.above(OPEN), loss.shape[1], site_fits)
        gain_alone = _gain_alone(model, task, sparse, loss[0], config, budget_bytes)
        found = {"sparse": sparse, "gain_alone": gain_alone}
    return HeadPath(
        task=task.name,
        fits=fits,
        gates=gates,
        loss=loss[1:],
        right=right[1:],
        zero_shot_loss=loss[0],
        zero_shot_right=right[0],
        choice=choice,
        n_forwards=_n_forwards(site_fits, loss.shape[1], len({fit.seed for fit in fits})),
        **found,
        config=config,
        template=plain.template,
        task_digest=task.digest,
        family=task.family,
        model=model.identity,
        versions=library_versions(),
        notes=_notes(site_fits),
    )


def _gain_alone(
    model: LensModel, task: Task, sparse: SiteFit, zero_shot: Float32, config: SiteConfig, budget_bytes: int
) -> tuple[float, ...]:
    """Return what each head of a set gains over zero-shot when it alone is replaced, in nats on valid."""
    heads = list(sparse.gates.above(OPEN))
    each = [
        sparse.replace(gates=HeadGates.of(HeadSet.of(model.grid, [head]), task=task.name, mix=sparse.gates.mix))
        for head in heads
    ]
    loss, _ = _rounded(model, task, each, config, budget_bytes)
    return tuple(float(zero_shot.mean(dtype=np.float64) - row.mean(dtype=np.float64)) for row in loss)


def _n_forwards(fits: Sequence[SiteFit], n_valid: int, n_starts: int) -> int:
    """Count the prompts passed: embeddings, training, evaluations of the fits, and the rounded gates on valid."""
    evaluated = sum(len(fit.trace.eval_steps) + 1 for fit in fits) * n_valid
    return n_starts * fits[0].config.n_prompts + 2 * sum(fit.trace.train_rows.size for fit in fits) + evaluated


def _with_control(
    model: LensModel, path: HeadPath, task: Task, made: Sequence[tuple[PathFit, SiteFit]], budget_bytes: int
) -> HeadPath:
    """Add the fits of a control to a path."""
    fits, site_fits = zip(*made, strict=True)
    loss, right = _rounded(model, task, site_fits, path.config, budget_bytes)
    alone = path.gates_alone
    if path.chosen is not None and path.sparse is not None and fits[0].content == "zero":
        at_choice = site_fits[[fit.price for fit in fits].index(path.chosen.price)]
        n_heads = min(len(path.chosen.heads), len(at_choice.gates.above(OPEN)))
        alone = _sparse(at_choice, at_choice.gates.top(n_heads), loss.shape[1], [*site_fits, path.sparse])
    return path.replace(
        fits=path.fits + fits,
        gates=np.concatenate([path.gates, [fit.gates.values for fit in site_fits]]),
        loss=np.concatenate([path.loss, loss]),
        right=np.concatenate([path.right, right]),
        gates_alone=alone,
    )


def _sparse(fit: SiteFit, heads: HeadSet, n_valid: int, used: Iterable[SiteFit]) -> SiteFit:
    """Return a fit with its gates rounded: open at some heads, closed at all others.

    Its labelled rows are those of every fit that the choice was made from, and the rows of valid that it was made on.
    """
    rows = sorted({row for each in used for row in each.labelled_rows})
    gates = HeadGates.of(heads, task=fit.task, mix=fit.config.mix)
    return fit.replace(gates=gates, labelled_rows=tuple(rows), n_valid=n_valid)


def _notes(fits: Sequence[SiteFit]) -> tuple[str, ...]:
    """Return the notes of all fits, each once, and one where fits and the choice of a set look at different losses."""
    notes = dict.fromkeys(note for fit in fits for note in fit.notes)
    if fits[0].config.loss == "answer":
        notes |= {"gates were fitted on the whole answer; the set was chosen by the loss of its first token": None}
    return tuple(notes)


def _rounded(
    model: LensModel, task: Task, fits: Sequence[SiteFit], config: SiteConfig, budget_bytes: int
) -> tuple[Float32, Float32]:
    """Return losses and right answers on valid, (fit query) each, under the rounded gates of fits of one content."""
    rows = sampled(task.valid, config.n_valid)
    queries = CachedQueries(model, zero_shot_prompts(rows, fits[0].template), budget_bytes=budget_bytes)
    gates = torch.tensor(np.stack([fit.gates.hard(OPEN).values for fit in fits]))
    means = torch.tensor(np.stack([fit.embedding.mean for fit in fits]))
    answers = queries.answers(gates, means, torch.arange(len(fits)), rule=fits[0].config.mix)
    return -answers.log_prob.float().cpu().numpy(), answers.right.float().cpu().numpy()
