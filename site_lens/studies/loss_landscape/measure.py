"""The optimisation landscape of one task: many fits at once, and the losses on lines and a plane between them."""

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import numpy as np
import torch

from site_lens.activations.cached_queries import CachedQueries
from site_lens.activations.capture import capture_embeddings
from site_lens.activations.embedding import TaskEmbedding
from site_lens.heads.scores import MixRule
from site_lens.models.base import LensModel
from site_lens.models.identity import library_versions
from site_lens.models.locking import on_model
from site_lens.records.base import Float32
from site_lens.records.bounds import check_sizes
from site_lens.records.errors import InputError
from site_lens.records.hashing import seed_stream
from site_lens.site.fit import SiteConfig, SiteFit
from site_lens.site.fitting import fit_variants
from site_lens.site.plan import SiteJob
from site_lens.studies.loss_landscape.result import PLANE, FitLandscape, LandscapeFit
from site_lens.tasks.prompt_sampling import sampled, zero_shot_prompts
from site_lens.tasks.prompt_template import PromptTemplate
from site_lens.tasks.task import Example, Task

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
    embedding = capture_embeddings(
        model,
        [task],
        n_prompts=base.n_prompts,
        n_shots=base.n_shots,
        seed=base.seed,
        template=template,
        progress=progress,
    )[task.name]
    configs = _configs(base, n_fits, [*constants, *["random"] * len(constants)], lrs, n_steps, stream)
    configs += [one.replace(null="shuffled_answers") for one in (configs * (1 + n_nulls // n_fits))[:n_nulls]]
    seeds = stream.choice(2**31, len(configs), replace=False)
    jobs = [SiteJob(task, one.replace(seed=int(own)), embedding) for one, own in zip(configs, seeds, strict=True)]
    fits = list(fit_variants(model, {task.name: jobs}, throw=False, progress=progress)[task.name].values())
    loss = _Loss(model, sampled(task.test, max_queries), embedding, base.mix)
    return FitLandscape(
        task=task.name,
        fits=tuple(_settings(fit) for fit in fits),
        **_measured(fits, loss, max_lines, stream),
        seed=seed,
        embedding_digest=embedding.digest,
        task_digest=task.digest,
        model=model.identity,
        versions=library_versions(),
    )


def _configs(
    base: SiteConfig,
    n_fits: int,
    starts: Sequence[object],
    lrs: Sequence[float],
    n_steps: Sequence[int],
    stream: np.random.Generator,
) -> list[SiteConfig]:
    """Go through the starts in turn; each meets the settings in an order of its own, all of them before any twice."""
    settings = list(product(lrs, n_steps))
    orders = [stream.permutation(len(settings)) for _ in starts]
    found = []
    for i in range(n_fits):
        turn, which = divmod(i, len(starts))
        lr, steps = settings[orders[which][turn % len(settings)]]
        found.append(base.replace(init=starts[which], lr=lr, n_steps=steps))
    return found


class _Loss:
    """First-token cross-entropy on held-out rows, in nats, at any alphas."""

    def __init__(self, model: LensModel, rows: Sequence[Example], embedding: TaskEmbedding, rule: MixRule) -> None:
        self._held = CachedQueries(model, zero_shot_prompts(rows, embedding.template))
        self._mean, self._rule = torch.tensor(embedding.mean)[None], rule

    def answers(self, maps: Float32) -> tuple[Float32, Float32]:
        """Return the losses, one a map of (... layer head), and the right answers (... query)."""
        flat = torch.tensor(maps.reshape(-1, *maps.shape[-2:]), dtype=torch.float32)
        found = self._held.answers(flat, self._mean, rule=self._rule)
        losses, right = -found.log_prob.mean(1).cpu().numpy(), found.right.cpu().numpy()
        return losses.reshape(maps.shape[:-2]), right.reshape(*maps.shape[:-2], -1)

    def __call__(self, maps: Float32) -> Float32:
        return self.answers(maps)[0]


def _measured(fits: Sequence[SiteFit], loss: _Loss, max_lines: int, stream: np.random.Generator) -> dict[str, Any]:
    """Take the losses at the fits, at their starts, on the lines and in the plane."""
    alphas = np.stack([fit.gates.values for fit in fits])
    losses, right = loss.answers(alphas)
    own = [i for i, fit in enumerate(fits) if fit.config.null == "none"]
    improved = [i for i in own if fits[i].status not in ("diverged", "nonfinite")]
    lines = _lines(improved, losses, max_lines, stream)
    way = np.linspace(0, 1, N_POINTS)[:, None, None]
    plane = _furthest(improved if len(improved) >= 3 else own, losses, alphas)
    a, b, c = (alphas[i] for i in plane)
    u, v = (x[..., None, None] for x in np.meshgrid(PLANE, PLANE))
    return {
        "alphas": alphas,
        "start_losses": loss(np.stack([_start(fit) for fit in fits])),
        "losses": losses,
        "right": right,
        "lines": tuple(lines),
        "profiles": [loss((1 - way) * alphas[i] + way * alphas[j]) for i, j in lines] or np.zeros((0, N_POINTS)),
        "plane": plane,
        "slice": loss(np.clip(a + u * (b - a) + v * (c - a), 0, 1)),
    }


def _settings(fit: SiteFit) -> LandscapeFit:
    config = fit.config
    return LandscapeFit(
        start=config.init, lr=config.lr, n_steps=config.n_steps, seed=config.seed, null=config.null != "none",
        status=fit.status,
    )  # fmt: skip


def _start(fit: SiteFit) -> Float32:
    """(layer head): alphas before the first step; a fit that was never evaluated is still there."""
    return fit.trace.alphas[0] if len(fit.trace.alphas) else fit.gates.values


def _lines(fits: Sequence[int], losses: Float32, most: int, stream: np.random.Generator) -> list[tuple[int, int]]:
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
