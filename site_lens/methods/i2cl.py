"""I2CL: context vectors of single demonstrations, mixed into both blocks of every layer by calibrated scalars."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from site_lens.activations.prefill import prompt_batches
from site_lens.activations.queries import Queries
from site_lens.methods.in_context_vector import demonstrations
from site_lens.methods.method import Method
from site_lens.methods.validation import valid_losses, valid_questions
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.models.hooks import Edit, HookPoint
from site_lens.records.hashing import seed_stream
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
    scalars = chosen.state
    return Method(
        "context_scalars",
        edits=lambda model: mixing(vectors, scalars),
        n_labelled=len(rows) + context.labelled("valid", task=task),
        n_trained=scalars.numel(),
        stored_bytes=sum(part.numel() * part.element_size() for part in (vectors, scalars)),
        notes=chosen.notes,
    )


def context_vectors(context: ComparisonContext, rows: Sequence[Example]) -> Float[Tensor, "layer site d_model"]:
    """Return the mean block outputs at the last token of demonstrations, each run alone.

    A demonstration ends with its output separator, as in the code: the vector is that of the token behind an answer.
    """
    model, template = context.model, context.config.template
    ids = model.encoder.encode([template.demonstration_text(row) for row in rows])
    sums = []
    for _, batch in prompt_batches(model, ids):
        sums.append(torch.stack([model.last_outputs(batch, hook_point).sum(0) for hook_point in HOOK_POINTS], dim=1))
    return torch.stack(sums).sum(0) / len(rows)


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
    stream = seed_stream(config.seed, context.tasks[task].digest, "context scalars")
    rates = config.rates(config.context_lr)
    noise = _noise(model, int(stream.integers(2**31)), len(rates))
    start = torch.tensor(START, device=model.device).repeat(len(vectors), len(HOOK_POINTS), 1)
    scalars = [start.clone().requires_grad_() for _ in rates]
    groups = [{"params": [of_rate], "lr": lr} for of_rate, lr in zip(scalars, rates, strict=True)]
    adam = torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY)
    steps_a_pass = math.ceil(len(queries) / ROWS_PER_STEP)
    n_steps = config.context_epochs * steps_a_pass
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
                if step % steps_a_pass == 0:
                    order = stream.permutation(len(queries)).tolist()
                drawn = order[step % steps_a_pass * ROWS_PER_STEP :][:ROWS_PER_STEP]
                _step(model, queries.only(drawn), vectors, scalars, noise, adam)
                schedule.step()
                bar.update()
    return choose_checkpoint(f"context_scalars of {task!r}", checkpoints, n_steps=n_steps)


def _mixed(vectors: Tensor, scalars: Tensor) -> Method:
    return Method("context_scalars", edits=lambda model: mixing(vectors, scalars))


@torch.enable_grad()
def _step(
    model: LensModel,
    drawn: Queries,
    vectors: Float[Tensor, "layer site d_model"],
    scalars: Sequence[Float[Tensor, "layer site 2"]],
    noise: Callable[[Tensor], Tensor],
    adam: torch.optim.Optimizer,
) -> None:
    """Take one step of every learning rate, each with its own scalars, on the same rows."""
    places = list(range(len(drawn))) * len(scalars)
    edits = mixing(vectors, torch.stack(list(scalars)).repeat_interleave(len(drawn), 0), noise)
    adam.zero_grad()
    loss = first_token_losses(model, drawn.only(places), edits).sum() / len(drawn)
    loss.backward()  # type: ignore[no-untyped-call]  # torch types it in part
    adam.step()


def first_token_losses(model: LensModel, queries: Queries, edits: Sequence[Edit]) -> Float[Tensor, " row"]:
    """Return the cross-entropy of the first answer tokens under edits, in nats; whole prompts, with gradients."""
    batch = Batch.of(queries.ids, pad=model.encoder.pad, device=model.device)
    return F.cross_entropy(model.forward(batch, edits), queries.targets(model.device), reduction="none")


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
