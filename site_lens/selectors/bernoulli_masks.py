"""Bernoulli masks over heads, learned by REINFORCE: no gradient goes through the model.

A mask replaces the z of its heads by an embedding of the task at the last prompt token. Every step draws masks for one
query, and moves the probability of each head towards the masks of low loss.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from site_lens.activations.cached_queries import CachedQueries
from site_lens.activations.embedding import TaskEmbedding
from site_lens.activations.injection import injection
from site_lens.activations.prefill import Indices, PrefixSchedule
from site_lens.activations.queries import Queries
from site_lens.heads.head_set import HeadSet
from site_lens.heads.scores import HeadScores
from site_lens.records.errors import FitError
from site_lens.records.progress import progress_bar
from site_lens.selectors.config import ComparisonConfig
from site_lens.selectors.context import ComparisonContext, once
from site_lens.selectors.validation import Checkpoint, choose_checkpoint
from site_lens.tasks.prompt_sampling import zero_shot_prompts

FIRST_LOGIT = -1.0
"""Every head begins with probability 0.27 (Huang et al. 2024, released code)."""

LEAST = 1e-3
"""Masks are drawn from probabilities between this and 1 minus this; also keeps losses that are all alike from being
blown up when they are standardised (same)."""

N_CANDIDATES, N_JUDGED = 10, 50
"""Masks drawn at the end, and rows of train on which the best of them is found (same); so many are drawn to judge a
checkpoint, too."""


@once
def bernoulli_masks(context: ComparisonContext) -> dict[str, HeadScores]:
    """Learn for every head the probability with which a mask of low loss holds it.

    The score is that probability, in [0, 1]; it begins at 0.27. A mask replaces z by an embedding, hard, at the last
    prompt token: the mean of `config.mask_prompts` prompts of `config.mask_shots`, the source's 100 and 4 by default.
    `config.mask_steps` steps of one query of train and `config.masks_per_step` masks each, Adam at multiples of
    `config.mask_lr`; checkpoint and learning rate are chosen by the mean loss of some masks on valid. All tasks and
    learning rates run side by side.

    Reference: Huang et al., arXiv 2406.15334, section 3.2 and released code. Theirs asks 100 rows; here each step asks
    any row of train. Theirs replaces z at every generated token; here once, as SITE does. Theirs keeps the last step of
    one rate.
    """
    config, rates = context.config, context.config.rates(context.config.mask_lr)
    streams = [context.stream(task, "masks") for task in context.tasks]
    steps = learn_probabilities(
        MaskedQueries(context).losses, streams, torch.tensor(context.model.grid.mask), config, progress=context.progress
    )
    checkpoints: dict[str, dict[float, list[Checkpoint[Tensor]]]] = {
        task: {lr: [] for lr in rates} for task in context.tasks
    }
    with closing(steps):  # and with it the progress bar, should an evaluation fail
        for step, reached in steps:
            for (task, runs), of_rates in zip(checkpoints.items(), reached, strict=True):
                for lr, p, loss in zip(rates, of_rates, valid_losses(context, task, of_rates), strict=True):
                    runs[lr].append(Checkpoint(step, loss, p))
    return {task: _scores(context, task, runs) for task, runs in checkpoints.items()}


def _scores(context: ComparisonContext, task: str, runs: dict[float, list[Checkpoint[Tensor]]]) -> HeadScores:
    """Choose probabilities on valid, and count what they cost."""
    config = context.config
    chosen = choose_checkpoint(f"masks of {task!r}", runs, n_steps=config.mask_steps)
    meaning = (
        "probability with which the learned masks put the task embedding in the head's place; high: masks that hold "
        "the head lower the loss"
    )
    n_evaluated = len(next(iter(runs.values()))) * N_CANDIDATES * len(context.valid_rows(task))
    n_forwards = (config.mask_prompts or config.n_prompts) + len(runs) * (
        config.mask_steps * config.masks_per_step + n_evaluated
    )
    n_labelled = len(_rows_behind(context, task)) + context.labelled("valid", task=task)
    values, costs = chosen.state.numpy(), {"n_forwards": n_forwards, "n_labelled": n_labelled}
    return context.head_scores(task, "bernoulli_masks", values, meaning, **costs, notes=chosen.notes)


def mask_embeddings(context: ComparisonContext) -> dict[str, TaskEmbedding]:
    """Return what masks put in the place of z."""
    return context.embeddings(context.config.mask_prompts, context.config.mask_shots)


def _mask_mean(context: ComparisonContext, task: str) -> Float[Tensor, "1 layer head d_head"]:
    return torch.tensor(mask_embeddings(context)[task].mean, device=context.model.device)[None]


@once
def best_masks(context: ComparisonContext) -> dict[str, HeadSet]:
    """Draw some masks of the learned probabilities, and keep the one of lowest loss on rows of train.

    Which rows these are does not depend on the masks; `mask_labelled` counts them.
    """
    grid, best = context.model.grid, {}
    for task, scores in bernoulli_masks(context).items():
        rows = [context.tasks[task].train[i] for i in judged_rows(context, task)]
        queries = CachedQueries(context.model, zero_shot_prompts(rows, context.config.template))
        masks = _drawn(context, task, "candidate masks", torch.tensor(scores.values))
        answers = queries.answers(masks.float(), _mask_mean(context, task))
        best[task] = HeadSet.from_mask(grid, masks[int(answers.log_prob.mean(1).argmax())].numpy())
    return best


def judged_rows(context: ComparisonContext, task: str) -> list[int]:
    """Draw the rows of train on which the masks of a task are compared."""
    n = len(context.tasks[task].train)
    return sorted(context.stream(task, "judged masks").choice(n, min(N_JUDGED, n), replace=False).tolist())


def _asked_rows(context: ComparisonContext, task: str) -> Indices:
    """(step): the row of train that a task asks at each step."""
    n_rows, n_steps = len(context.tasks[task].train), context.config.mask_steps
    return context.stream(task, "mask queries").integers(n_rows, size=n_steps)


def _rows_behind(context: ComparisonContext, task: str) -> set[int]:
    """Return the rows of train behind the learned probabilities: of the embedding, and of REINFORCE."""
    return {*mask_embeddings(context)[task].labelled_rows, *_asked_rows(context, task).tolist()}


def mask_labelled(context: ComparisonContext, task: str) -> int:
    """Count the rows behind a task's best mask: of the probabilities, and of both choices."""
    return len(_rows_behind(context, task).union(judged_rows(context, task))) + context.labelled("valid", task=task)


def _drawn(
    context: ComparisonContext, task: str, purpose: str, p: Float[Tensor, "*rate layer head"]
) -> Bool[Tensor, "*rate candidate layer head"]:
    """Draw `N_CANDIDATES` masks of each of some maps of probabilities, all of them by the same numbers."""
    grid = context.model.grid
    uniform = torch.tensor(context.stream(task, purpose).random((N_CANDIDATES, *grid.shape)))
    return _masks_of(p[..., None, :, :], uniform, torch.tensor(grid.mask))


def valid_losses(context: ComparisonContext, task: str, probabilities: Float[Tensor, "rate layer head"]) -> list[float]:
    """Return the mean cross-entropy on valid, in nats, of masks drawn from each of some maps of probabilities.

    All maps, at all times, are drawn from by the same numbers, so that differences are theirs alone.
    """
    masks = _drawn(context, task, "valid masks", probabilities)
    prompts = zero_shot_prompts(context.valid_rows(task), context.config.template)
    queries = CachedQueries(context.model, prompts, budget_bytes=context.budget_bytes)
    answers = queries.answers(masks.flatten(0, 1).float(), _mask_mean(context, task))
    losses: list[float] = (-answers.log_prob.view(len(probabilities), -1).mean(1)).tolist()
    return losses


def learn_probabilities(
    losses: Callable[[int, Bool[Tensor, "task sample layer head"]], Float[Tensor, "task sample"]],
    streams: Sequence[np.random.Generator],
    mask: Bool[Tensor, "layer head"],
    config: ComparisonConfig,
    *,
    progress: bool | None = None,
) -> Generator[tuple[int, Float[Tensor, "task rate layer head"]], None, None]:
    """Learn the probabilities of masks from their losses alone; yield steps taken and probabilities, to be evaluated.

    Args:
        losses: Gives the loss of every mask of a step, those of all learning rates in a row.
        streams: Source of the draws of each task, so that a task's masks do not depend on the others; learning rates
            share them.
        mask: Where the grid has heads.
        config: Steps, masks a step, and learning rates.
        progress: Show a progress bar.

    Raises:
        FitError: A loss was not finite.
    """
    rates = config.rates(config.mask_lr)
    logits = [torch.full((len(streams), *mask.shape), FIRST_LOGIT) for _ in rates]
    adam = torch.optim.Adam([{"params": [logit], "lr": lr} for logit, lr in zip(logits, rates, strict=True)])
    shape = (config.masks_per_step, *mask.shape)
    with progress_bar(config.mask_steps, "learning masks", unit="step", progress=progress) as bar:
        for step in range(config.mask_steps + 1):
            p = torch.sigmoid(torch.stack(logits, 1))
            if config.evaluates_at(step, config.mask_steps):
                yield step, p
            if step == config.mask_steps:
                return
            bar.update()
            uniform = torch.tensor(np.stack([stream.random(shape, dtype=np.float32) for stream in streams]))
            masks = _masks_of(p[:, :, None], uniform[:, None], mask)
            by_mask = losses(step, masks.flatten(1, 2)).cpu()
            if not bool(by_mask.isfinite().all()):
                raise FitError(f"the loss of a mask was not finite after {step} steps; use dtype='float32'")
            for i, logit in enumerate(logits):
                of_rate = by_mask.view(masks.shape[:3])[:, i]
                logit.grad = reinforce(logit.flatten(1), masks[:, i].flatten(2), of_rate).view_as(logit)
            adam.step()


def _masks_of(p: Tensor, uniform: Tensor, mask: Tensor) -> Tensor:
    """Draw masks: a head of the grid is in one where its number is below its probability."""
    return (uniform < p.clamp(LEAST, 1 - LEAST)) & mask


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


class MaskedQueries:
    """The training queries of all tasks: one a task and step, asked under many masks at once."""

    def __init__(self, context: ComparisonContext) -> None:
        config, model, device = context.config, context.model, context.model.device
        self._model = model
        self.rows = np.stack([_asked_rows(context, task) for task in context.tasks], axis=1)
        """(step task): the row of train that is asked."""
        train = [row for task in context.tasks.values() for row in task.train]
        firsts = np.cumsum([0] + [len(task.train) for task in context.tasks.values()])[:-1]
        used, places = np.unique(self.rows + firsts, return_inverse=True)
        queries = Queries.of(model, zero_shot_prompts([train[i] for i in used], config.template))
        self._tail, self._targets = queries.tail(device), queries.targets(device)
        # (step row): tasks one after the other, each with its masks of all learning rates.
        n_masks = config.masks_per_step * len(config.rate_factors)
        self._questions: Indices = np.repeat(places.reshape(self.rows.shape), n_masks, axis=1)
        self._schedule = PrefixSchedule(model, queries.ids, list(self._questions), budget_bytes=context.budget_bytes)
        self._embeddings = torch.cat([_mask_mean(context, task) for task in context.tasks])

    @torch.no_grad()
    def losses(self, step: int, masks: Bool[Tensor, "task sample layer head"]) -> Float[Tensor, "task sample"]:
        """Return the cross-entropy of the first answer token of a step's queries under every mask, in nats."""
        device, heads_per_layer = self._model.device, self._model.grid.heads_per_layer
        gates = masks.flatten(0, 1).to(device, torch.float32)
        owners = torch.arange(len(masks), device=device).repeat_interleave(masks.shape[1])
        losses = torch.zeros(len(gates), device=device)
        for places, prefix in self._schedule.take(step):
            rows = torch.tensor(places, device=device)
            questions = torch.tensor(self._questions[step][places], device=device)
            edits = injection(gates[rows], self._embeddings, owners[rows], heads_per_layer=heads_per_layer)
            logits = self._model.decode(prefix, self._tail[questions], edits)[0][:, -1]
            losses[rows] = F.cross_entropy(logits, self._targets[questions], reduction="none")
        return losses.view(masks.shape[:2])
