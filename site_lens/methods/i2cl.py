"""I2CL: context vectors of single demonstrations, mixed into both blocks of every layer by calibrated scalars."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.activations.queries import Queries
from site_lens.methods.in_context_vector import demonstrations
from site_lens.methods.method import Method
from site_lens.methods.training import first_token_losses
from site_lens.methods.validation import valid_losses, valid_questions
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.models.hooks import Edit, HookPoint
from site_lens.records.progress import progress_bar
from site_lens.selectors.context import ComparisonContext
from site_lens.selectors.validation import Checkpoint, Chosen, choose_checkpoint
from site_lens.tasks.prompt_sampling import zero_shot_prompts
from site_lens.tasks.task import Example

HOOK_POINTS: tuple[HookPoint, ...] = ("attn_out", "mlp_out")
"""Where context vectors are taken and mixed in."""

START = (0.1, 1.0)
"""a and b before calibration."""

WEIGHT_DECAY = 1e-3
NOISE = 0.001
"""Standard deviation of the noise in training, as a share of the norm of what it is added to."""

WARM_UP = 0.05
"""Share of the steps over which the learning rate rises."""

ROWS_PER_STEP = 2
"""Demonstrations of each step; these five numbers are those of the paper and its code."""


def context_scalars(context: ComparisonContext, task: str) -> Method:
    """Mix the mean block outputs of single demonstrations into every layer at every token, by four scalars a layer.

    The output of attention and that of the MLP become b out + a v each, v the mean over `config.n_shots`
    demonstrations, each run alone, of that output at the last token. The scalars are calibrated on the same
    demonstrations as queries. Generated tokens are left alone: the source calibrates and measures the first token of an
    answer only.

    Reference: Li et al., arXiv 2405.14660 (I2CL), section 3, and their code (LzVv123456/I2CL), which draws as many
    demonstrations of each class; these tasks have no classes. Theirs needs no other labels than those of the
    demonstrations: it keeps the last scalars of one learning rate. Here both are chosen on valid, as for every rival.
    """
    rows = demonstrations(context, task)
    vectors = context_vectors(context, rows)
    chosen = calibrate(context, task, rows, vectors)
    return replace(
        _mixed(vectors, chosen.state),
        n_labelled=len(rows) + context.labelled("valid", task=task),
        n_trained=chosen.state.numel(),
        stored_bytes=vectors.nbytes + chosen.state.nbytes,
        notes=chosen.notes,
    )


def context_vectors(context: ComparisonContext, rows: Sequence[Example]) -> Float[Tensor, "layer site d_model"]:
    """Return the mean block outputs at the last token of demonstrations, each run alone.

    A demonstration ends with its output separator, as in the code: the vector is that of the token behind an answer.
    """
    texts = [context.config.template.demonstration_text(row) for row in rows]

    def outputs(batch: Batch) -> Float[Tensor, "row layer site d_model"]:
        return torch.stack([context.model.last_outputs(batch, hook_point) for hook_point in HOOK_POINTS], dim=2)

    return context.mean_over(texts, outputs)


def mixing(
    vectors: Float[Tensor, "layer site d_model"],
    scalars: Float[Tensor, "*row layer site 2"],
    noise: Callable[[Tensor], Tensor] | None = None,
) -> list[Edit]:
    """Build the edits that turn every block output into b out + a v at every token.

    Args:
        vectors: v of every layer and site.
        scalars: a and b of every layer and hook_point, the same for all prompts or one set a prompt.
        noise: What is added to a mixed output, made of it; nothing when None.
    """

    def mix(layer: int, i: int, out: Float[Tensor, "row pos d_model"]) -> Tensor:
        a, b = scalars[..., layer, i, :, None, None].to(out.device).unbind(-3)
        mixed: Tensor = b * out + a * vectors[layer, i].to(out.device)
        return mixed if noise is None else mixed + noise(mixed)

    return [
        Edit(layer, partial(mix, layer, i), None, hook_point)
        for layer in range(len(vectors))
        for i, hook_point in enumerate(HOOK_POINTS)
    ]


def calibrate(
    context: ComparisonContext, task: str, rows: Sequence[Example], vectors: Float[Tensor, "layer site d_model"]
) -> Chosen[Float[Tensor, "layer site 2"]]:
    """Choose the scalars under which demonstrations, asked without any other, predict their first answer tokens.

    AdamW over `config.context_epochs` passes of `ROWS_PER_STEP` rows a step, whole prompts forward and backward; the
    rate rises over the first steps and falls along a cosine. The learning rates to try, multiples of
    `config.context_lr`, are run side by side, with the same noise.

    Raises:
        FitError: The loss became nonfinite at every rate.
    """
    model, config = context.model, context.config
    queries = Queries.of(model, zero_shot_prompts(rows, config.template))
    checked = valid_questions(context, task)
    stream = context.stream(task, "context scalars")
    rates = config.rates(config.context_lr)
    noise = _noise(model, int(stream.integers(2**31)), len(rates))
    start = torch.tensor(START, device=model.device).repeat(len(vectors), len(HOOK_POINTS), 1)
    scalars = [start.clone().requires_grad_() for _ in rates]
    groups = [{"params": [of_rate], "lr": lr} for of_rate, lr in zip(scalars, rates, strict=True)]
    adam = torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY)
    cuts = range(ROWS_PER_STEP, len(queries), ROWS_PER_STEP)
    passes = [np.split(stream.permutation(len(queries)), cuts) for _ in range(config.context_epochs)]
    drawn = [rows_of_step.tolist() for steps in passes for rows_of_step in steps]
    n_steps = len(drawn)
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, partial(share_of_rate, n_steps=n_steps))
    checkpoints: dict[float, list[Checkpoint[Tensor]]] = {lr: [] for lr in rates}
    with progress_bar(n_steps, "I2CL scalars", unit="step", progress=context.progress) as bar:
        for step in range(n_steps + 1):
            if config.evaluates_at(step, n_steps):
                states = [of_rate.detach().clone() for of_rate in scalars]
                losses = valid_losses(context, checked, [_mixed(vectors, state) for state in states])
                for lr, loss, state in zip(rates, losses, states, strict=True):
                    checkpoints[lr].append(Checkpoint(step, loss, state))
            if step < n_steps:
                n = len(drawn[step])
                adam.zero_grad()
                with torch.enable_grad():
                    edits = mixing(vectors, torch.stack(scalars).repeat_interleave(n, 0), noise)
                    of_step = first_token_losses(model, queries.only(drawn[step] * len(rates)), edits).sum() / n
                    torch.autograd.backward(of_step)
                adam.step()
                schedule.step()
                bar.update()
    return choose_checkpoint(f"context_scalars of {task!r}", checkpoints, n_steps=n_steps)


def _mixed(vectors: Tensor, scalars: Tensor) -> Method:
    return Method("context_scalars", edits=lambda model: mixing(vectors, scalars))


def share_of_rate(step: int, *, n_steps: int) -> float:
    """Return the share of the learning rate at a step: a linear rise, times a half cosine over all steps."""
    rise = min(1.0, (step + 1) / max(1, round(WARM_UP * n_steps)))
    return rise * (1 + math.cos(math.pi * step / n_steps)) / 2


def _noise(model: LensModel, seed: int, n_rates: int) -> Callable[[Tensor], Tensor]:
    """Return the noise of training, the same for the rows of every learning rate."""
    generator = torch.Generator(model.device).manual_seed(seed)

    def noise(out: Tensor) -> Tensor:
        shape = (len(out) // n_rates, *out.shape[1:])
        drawn = torch.randn(shape, generator=generator, device=model.device).repeat(n_rates, 1, 1).to(out.device)
        size: Tensor = NOISE * out.detach().norm(dim=-1, keepdim=True)
        return drawn * size

    return noise
