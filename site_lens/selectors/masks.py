"""Bernoulli masks over heads, learned by REINFORCE: no gradient goes through the model.

A mask replaces the z of its heads by the task embedding at the last prompt token. Every step draws masks for one query,
and moves the probability of each head towards the masks of low loss.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from site_lens.core.digests import seed_stream
from site_lens.core.errors import FitError
from site_lens.core.heads import HeadSet
from site_lens.core.sampling import zero_shot_prompts
from site_lens.core.scores import HeadScores
from site_lens.core.tasks import Task
from site_lens.interventions.asking import Asked
from site_lens.interventions.holding import HeldPrompts
from site_lens.interventions.patching import injection
from site_lens.interventions.prefixes import Indices, PrefixSchedule
from site_lens.interventions.progress import progress_bar
from site_lens.selectors.settings import ComparisonConfig
from site_lens.selectors.workbench import Workbench, once

FIRST_LOGIT = -1.0
"""Every head begins with probability 0.27 (Huang et al. 2024, released code)."""

LEAST = 1e-3
"""Masks are drawn from probabilities between this and 1 minus this; also keeps losses that are all alike from being
blown up when they are standardised (same)."""

N_CANDIDATES, N_JUDGED = 10, 50
"""Masks drawn at the end, and rows of train on which the best of them is found (same)."""


@dataclass(frozen=True, slots=True)
class _Learned:
    """What REINFORCE found for one task."""

    probabilities: Float[Tensor, "layer head"]
    rows: frozenset[int]
    """Rows of train that it asked."""


@once
def bernoulli_masks(bench: Workbench) -> dict[str, HeadScores]:
    """Learn for every head the probability with which a mask of low loss holds it.

    The score is that probability, in [0, 1]; it begins at 0.27. A mask replaces z by the task embedding, hard, at the
    last prompt token. `config.mask_steps` steps of one query of train and `config.masks_per_step` masks each, Adam at
    `config.mask_lr`.

    Reference: Huang et al., arXiv 2406.15334, section 3.2 and released code. Theirs asks 100 rows; here each step asks
    any row of train. Theirs replaces z at every generated token; here once, as SITE does.
    """
    config, grid = bench.config, bench.model.grid
    return {
        name: HeadScores(
            grid=grid,
            values=found.probabilities.cpu().numpy() * grid.mask,
            selector="bernoulli_masks",
            meaning="probability with which the learned masks put the task embedding in the head's place; high: masks "
            "that hold the head lower the loss",
            task=name,
            n_forwards=config.n_prompts + config.mask_steps * config.masks_per_step,
            n_labelled=len(found.rows | set(bench.embeddings()[name].labelled_rows)),
        )
        for name, found in _learned(bench).items()
    }


@once
def best_masks(bench: Workbench) -> dict[str, HeadSet]:
    """Draw some masks of the learned probabilities, and keep the one of lowest loss on rows of train.

    Which rows these are does not depend on the masks; `mask_labelled` counts them.
    """
    grid, found = bench.model.grid, {}
    for name, learned in _learned(bench).items():
        rows = judged_rows(bench, name)
        train = bench.tasks[name].train
        held = HeldPrompts(bench.model, zero_shot_prompts([train[i] for i in rows], bench.config.template))
        stream = seed_stream(bench.config.seed, bench.tasks[name].digest, "candidate masks")
        drawn = stream.random((N_CANDIDATES, *grid.shape))
        masks = (drawn < learned.probabilities.clamp(LEAST, 1 - LEAST).cpu().numpy()) & grid.mask
        answers = held.answers(torch.tensor(masks, dtype=torch.float32), bench.mean_z(name)[None])
        found[name] = HeadSet.from_mask(grid, masks[int(answers.log_prob.mean(1).argmax())])
    return found


def judged_rows(bench: Workbench, task: str) -> list[int]:
    """Draw the rows of train on which the masks of a task are compared."""
    one = bench.tasks[task]
    stream = seed_stream(bench.config.seed, one.digest, "judged masks")
    return sorted(stream.choice(len(one.train), min(N_JUDGED, len(one.train)), replace=False).tolist())


def mask_labelled(bench: Workbench, task: str) -> int:
    """Count the rows of train behind a task's best mask: of the embedding, of REINFORCE, and of the choice."""
    shown = set(bench.embeddings()[task].labelled_rows)
    return len(shown | _learned(bench)[task].rows | set(judged_rows(bench, task)))


@once
def _learned(bench: Workbench) -> dict[str, _Learned]:
    """Run REINFORCE for all tasks side by side."""
    asked = _Queries(bench)
    tasks = list(bench.tasks.values())
    streams = [seed_stream(bench.config.seed, task.digest, "masks") for task in tasks]
    mask = torch.tensor(bench.model.grid.mask)
    with progress_bar(bench.config.mask_steps, "learning masks", unit="step", progress=bench.progress) as bar:

        def losses(step: int, masks: Bool[Tensor, "task sample layer head"]) -> Float[Tensor, "task sample"]:
            bar.update()
            return asked.losses(step, masks)

        found = learn_probabilities(losses, streams, mask, bench.config)
    rows = asked.rows.T.tolist()
    return {task.name: _Learned(p, frozenset(own)) for task, p, own in zip(tasks, found, rows, strict=True)}


def learn_probabilities(
    losses: Callable[[int, Bool[Tensor, "task sample layer head"]], Float[Tensor, "task sample"]],
    streams: Sequence[np.random.Generator],
    mask: Bool[Tensor, "layer head"],
    config: ComparisonConfig,
) -> Float[Tensor, "task layer head"]:
    """Learn the probabilities of masks from their losses alone.

    Args:
        losses: Gives the loss of every mask of a step.
        streams: Source of the draws of each task, so that a task's masks do not depend on the others.
        mask: Where the grid has heads.
        config: Steps, masks a step, and learning rate.

    Raises:
        FitError: A loss was not finite.
    """
    logits = torch.full((len(streams), *mask.shape), FIRST_LOGIT)
    adam = torch.optim.Adam([logits], lr=config.mask_lr)
    shape = (config.masks_per_step, *mask.shape)
    for step in range(config.mask_steps):
        drawn = torch.tensor(np.stack([stream.random(shape, dtype=np.float32) for stream in streams]))
        masks = (drawn < torch.sigmoid(logits).clamp(LEAST, 1 - LEAST)[:, None]) & mask
        found = losses(step, masks).cpu()
        if not bool(found.isfinite().all()):
            raise FitError(f"the loss of a mask was not finite after {step} steps; use dtype='float32'")
        logits.grad = reinforce(logits.flatten(1), masks.flatten(2), found).view_as(logits)
        adam.step()
    return torch.sigmoid(logits)


def reinforce(
    logits: Float[Tensor, "*task head"], masks: Bool[Tensor, "*task sample head"], losses: Float[Tensor, "*task sample"]
) -> Float[Tensor, "*task head"]:
    """Estimate the slope of the expected loss in the logits, in units of the spread of the losses.

    The mean over the samples of (loss - mean) / (sd + 0.001) times the slope of the log-probability of the mask, which
    is mask - probability for a Bernoulli variable, and 0 where the probability is cut.

    Args:
        logits: Logit of each head.
        masks: Masks drawn from them.
        losses: Loss of each mask, in nats.
    """
    p = torch.sigmoid(logits)
    free = (p > LEAST) & (p < 1 - LEAST)
    centred = losses - losses.mean(-1, keepdim=True)
    standardised = centred / (losses.std(-1, keepdim=True) + LEAST)
    slope = (masks.to(p.dtype) - p[..., None, :]) * free[..., None, :]
    return (standardised[..., None] * slope).mean(-2)


class _Queries:
    """The training queries of all tasks: one a task and step, asked under many masks at once."""

    def __init__(self, bench: Workbench) -> None:
        config, tasks = bench.config, list(bench.tasks.values())
        self._model, self._n_tasks = bench.model, len(tasks)
        self.rows = np.stack([_drawn_rows(task, config) for task in tasks], axis=1)
        """(step task): the row of train that is asked."""
        prompts = [zero_shot_prompts(task.train, config.template) for task in tasks]
        firsts = np.cumsum([0] + [len(task.train) for task in tasks])[:-1]
        used, places = np.unique(self.rows + firsts, return_inverse=True)
        every = [prompt for own in prompts for prompt in own]
        self._asked = Asked.of(bench.model, [every[i] for i in used])
        self._tail, self._targets = self._asked.tail(bench.model.device), self._asked.targets(bench.model.device)
        # (step row): tasks one after the other, each with all its masks.
        self._questions: Indices = np.repeat(places.reshape(self.rows.shape), config.masks_per_step, axis=1)
        ids, steps = self._asked.ids, list(self._questions)
        self._schedule = PrefixSchedule(bench.model, ids, steps, budget_bytes=bench.budget_bytes)
        self._embeddings = torch.stack([bench.mean_z(task.name) for task in tasks])

    @torch.no_grad()
    def losses(self, step: int, masks: Bool[Tensor, "task sample layer head"]) -> Float[Tensor, "task sample"]:
        """Return the cross-entropy of the first answer token of a step's queries under every mask, in nats."""
        device = self._model.device
        gates = masks.flatten(0, 1).to(device, torch.float32)
        owners = torch.arange(self._n_tasks, device=device).repeat_interleave(masks.shape[1])
        found = torch.zeros(len(gates), device=device)
        for places, prefix in self._schedule.take(step):
            rows = torch.tensor(places, device=device)
            questions = torch.tensor(self._questions[step][places], device=device)
            edits = injection(
                gates[rows], self._embeddings, owners[rows], heads_per_layer=self._model.grid.heads_per_layer
            )
            logits = self._model.decode(prefix, self._tail[questions], edits)[0][:, -1]
            found[rows] = F.cross_entropy(logits, self._targets[questions], reduction="none")
        return found.view(masks.shape[:2])


def _drawn_rows(task: Task, config: ComparisonConfig) -> Indices:
    """(step): the row of train that a task asks at each step."""
    stream = seed_stream(config.seed, task.digest, "mask queries")
    return stream.integers(len(task.train), size=config.mask_steps)
