"""Measuring of a loss landscape: many fits of one task at once, and the losses on lines and a plane between them."""

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
from numpy.random import Generator

from site_lens.activations.capture import capture_embeddings
from site_lens.models.base import LensModel
from site_lens.models.identity import library_versions
from site_lens.models.locking import on_model
from site_lens.records.base import Float32
from site_lens.records.bounds import check_sizes
from site_lens.records.errors import InputError
from site_lens.records.hashing import seed_stream
from site_lens.site.fit import FAILED, SiteConfig, SiteFit
from site_lens.site.fitting import fit_variants
from site_lens.site.plan import SiteJob
from site_lens.studies.loss_landscape.result import PLANE, FitLandscape, LandscapeFit
from site_lens.studies.measure import ask, zero_shot_queries
from site_lens.tasks.prompt_template import PromptTemplate
from site_lens.tasks.task import Task

N_POINTS = 11
"""Points of a line, both ends among them."""


@on_model
def fit_landscape(
    model: LensModel,
    task: Task,
    config: SiteConfig | None = None,
    *,
    n_fits: int = 32,
    n_nulls: int = 8,
    constants: Sequence[float] = (0.1, 0.5, 0.9),
    lrs: Sequence[float] = (0.05, 0.2, 0.5),
    n_steps: Sequence[int] = (50, 100, 200),
    max_queries: int = 96,
    max_lines: int = 128,
    template: PromptTemplate | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> FitLandscape:
    """Fit a task many times in one batch, and measure whether the fits lie in one basin.

    All fits mix in the same embedding. Half of them start at random alphas, half at a constant; every kind of start
    meets learning rates and numbers of steps in an order of its own, and every fit draws its own queries. Losses are
    taken on a sample of the test rows, the one that `evaluate` takes.

    Args:
        model: The model.
        task: The task.
        config: Further settings of every fit; the fast defaults when None.
        n_fits: Fits of the task, at least 3; below 8 that improve there is no verdict.
        n_nulls: Further fits to shuffled answers, with the settings of the first fits.
        constants: Alphas to start from at every head.
        lrs: Learning rates.
        n_steps: Numbers of steps.
        max_queries: Held-out rows at most.
        max_lines: Straight lines at most: from the best fit to all others, then between pairs drawn by the seed.
        template: How examples become text; the paper's when None.
        seed: Seed of embedding, settings, fits and lines.
        progress: Show progress bars; on a terminal and in notebooks only when None.

    Raises:
        InputError: There are too few fits, settings or rows.

    Reference: lines and barriers: Frankle et al., arXiv 1912.05671, section 3; slice through three optima: Garipov et
    al., arXiv 1802.10026, section 3.
    """
    check_sizes(n_fits=n_fits, n_nulls=n_nulls, max_queries=max_queries, max_lines=max_lines, seed=seed)
    if not (constants and lrs and n_steps):
        raise InputError(
            f"a landscape needs a start, a learning rate and a number of steps; got {constants}, {lrs} and {n_steps}"
        )
    base, stream = (config or SiteConfig()).replace(seed=seed), seed_stream(seed, task.digest, "landscape")
    if base.shared or base.embedding != "task" or base.null != "none":
        raise InputError("a landscape is that of one task's own fit; leave shared, embedding and null as they are")
    drawn = base.model_dump(include={"n_prompts", "n_shots", "seed"})
    embedding = capture_embeddings(model, [task], **drawn, template=template, progress=progress)[task.name]
    inits, settings = [*constants, *["random"] * len(constants)], list(product(lrs, n_steps))
    configs = _configs(base, n_fits, inits, settings, stream)
    configs += [each.replace(null="shuffled_answers") for each in (configs * (1 + n_nulls // n_fits))[:n_nulls]]
    seeds = stream.choice(2**31, len(configs), replace=False)
    jobs = [SiteJob(task, each.replace(seed=int(s)), embedding) for each, s in zip(configs, seeds, strict=True)]
    fits = list(fit_variants(model, {task.name: jobs}, throw=False, progress=progress)[task.name].values())
    alphas = np.stack([fit.gates.values for fit in fits])
    starts = np.stack([fit.trace.alphas[0] if len(fit.trace.alphas) else fit.gates.values for fit in fits])
    queries = zero_shot_queries(model, task, max_queries, embedding.template)

    def answers(maps: Float32) -> tuple[Float32, Float32]:
        """Return losses, one a map of (... layer head), and right answers, (... query)."""
        right, log_prob = ask(queries, fits[0], maps, [embedding.mean])
        return -log_prob.mean(-1), right

    losses, right = answers(alphas)
    own = [i for i, fit in enumerate(fits) if fit.config.null == "none"]
    improved = [i for i in own if fits[i].status not in FAILED]
    lines = _lines(improved, losses, max_lines, stream)
    way = np.linspace(0, 1, N_POINTS)[:, None, None]
    plane = _furthest(improved if len(improved) >= 3 else own, losses, alphas)
    a, b, c = (alphas[i] for i in plane)
    u, v = (x[..., None, None] for x in np.meshgrid(PLANE, PLANE))
    return FitLandscape(
        task=task.name,
        fits=tuple(_settings(fit) for fit in fits),
        alphas=alphas,
        start_losses=answers(starts)[0],
        losses=losses,
        right=right,
        lines=tuple(lines),
        profiles=[answers((1 - way) * alphas[i] + way * alphas[j])[0] for i, j in lines] or np.zeros((0, N_POINTS)),
        plane=plane,
        slice=answers(np.clip(a + u * (b - a) + v * (c - a), 0, 1))[0],
        seed=seed,
        embedding_digest=embedding.digest,
        task_digest=task.digest,
        model=model.identity,
        versions=library_versions(),
    )


def _configs(
    base: SiteConfig, n_fits: int, starts: Sequence[object], settings: Sequence[tuple[float, int]], stream: Generator
) -> list[SiteConfig]:
    """Go through the starts in turn; each meets the settings in an order of its own, all of them before any twice."""
    orders = [stream.permutation(len(settings)) for _ in starts]
    configs = []
    for i in range(n_fits):
        turn, start = divmod(i, len(starts))
        lr, steps = settings[orders[start][turn % len(settings)]]
        configs.append(base.replace(init=starts[start], lr=lr, n_steps=steps))
    return configs


def _settings(fit: SiteFit) -> LandscapeFit:
    shared = fit.config.model_dump(include={"lr", "n_steps", "seed"})
    return LandscapeFit(start=fit.config.init, null=fit.config.null != "none", status=fit.status, **shared)


def _lines(fits: Sequence[int], losses: Float32, most: int, stream: Generator) -> list[tuple[int, int]]:
    """List pairs of fits: the best one with each other, then pairs of the others, drawn where they are too many."""
    if not fits:
        return []
    best = min(fits, key=lambda i: losses[i])
    star = [(best, i) for i in fits if i != best]
    others = [pair for pair in combinations(fits, 2) if best not in pair]
    return [*star, *(others[i] for i in stream.permutation(len(others)))][:most]


def _furthest(fits: Sequence[int], losses: Float32, alphas: Float32) -> tuple[int, int, int]:
    """Choose the best fit, the one furthest from it, and the one furthest from both, by Euclidean distance."""
    flat = alphas.reshape(len(alphas), -1)
    chosen = [min(fits, key=lambda i: losses[i])]
    while len(chosen) < 3:
        apart = {i: min(np.linalg.norm(flat[i] - flat[j]) for j in chosen) for i in fits if i not in chosen}
        chosen.append(max(apart, key=lambda i: apart[i]))
    return chosen[0], chosen[1], chosen[2]
