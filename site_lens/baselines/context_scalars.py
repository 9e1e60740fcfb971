"""I2CL: context vectors of single demonstrations, mixed into both blocks of every layer by calibrated scalars."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from site_lens.baselines.in_context_vector import demonstrations
from site_lens.core.digests import seed_stream
from site_lens.core.errors import FitError
from site_lens.core.sampling import zero_shot_prompts
from site_lens.core.tasks import Example
from site_lens.interventions.asking import Asked
from site_lens.interventions.methods import Method
from site_lens.interventions.prefixes import prompt_batches
from site_lens.interventions.progress import progress_bar
from site_lens.models.protocol import Batch, Edit, LensModel, Site
from site_lens.selectors.workbench import Workbench

SITES: tuple[Site, ...] = ("attn_out", "mlp_out")
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


def context_scalars(bench: Workbench, task: str) -> Method:
    """Mix the mean block outputs of single demonstrations into every layer at every token, by four scalars a layer.

    The output of attention and that of the MLP become b out + a v each, v the mean over `config.n_shots`
    demonstrations, each run alone, of that output at the last token. The scalars are calibrated on the same
    demonstrations as queries; nothing is chosen on valid. Generated tokens are left alone: the source calibrates and
    measures the first token of an answer only.

    Reference: Li et al., arXiv 2405.14660 (I2CL), section 3, and their code (LzVv123456/I2CL), which draws as many
    demonstrations of each class; these tasks have no classes.
    """
    rows = demonstrations(bench, task)
    vectors = context_vectors(bench, rows)
    scalars = calibrate(bench, task, rows, vectors)
    return Method(
        "context_scalars",
        edits=lambda model: mixing(vectors, scalars),
        n_labelled=len(rows),
        n_trained=scalars.numel(),
        stored_bytes=sum(part.numel() * part.element_size() for part in (vectors, scalars)),
    )


def context_vectors(bench: Workbench, rows: Sequence[Example]) -> Float[Tensor, "layer site d_model"]:
    """Return the mean block outputs at the last token of demonstrations, each run alone.

    A demonstration ends with its output separator, as in the code: the vector is that of the token behind an answer.
    """
    model, template = bench.model, bench.config.template
    ids = model.encoder.encode([template.demonstration_text(row) for row in rows])
    sums = []
    for _, batch in prompt_batches(model, ids):
        sums.append(torch.stack([model.last_outputs(batch, site).sum(0) for site in SITES], dim=1))
    return torch.stack(sums).sum(0) / len(rows)


def mixing(
    vectors: Float[Tensor, "layer site d_model"],
    scalars: Float[Tensor, "layer site 2"],
    noise: Callable[[Tensor], Tensor] | None = None,
) -> list[Edit]:
    """Build the edits that turn every block output into b out + a v at every token.

    Args:
        vectors: v of every layer and site.
        scalars: a and b of every layer and site.
        noise: What is added to a mixed output, made of it; nothing when None.
    """

    def mix(layer: int, i: int, out: Float[Tensor, "row pos d_model"]) -> Tensor:
        a, b = scalars[layer, i].to(out.device)
        mixed: Tensor = b * out + a * vectors[layer, i].to(out.device)
        return mixed if noise is None else mixed + noise(mixed)

    return [
        Edit(layer, partial(mix, layer, i), None, site) for layer in range(len(vectors)) for i, site in enumerate(SITES)
    ]


def calibrate(
    bench: Workbench, task: str, rows: Sequence[Example], vectors: Float[Tensor, "layer site d_model"]
) -> Float[Tensor, "layer site 2"]:
    """Return the scalars under which demonstrations, asked without any other, predict their first answer tokens.

    AdamW over `config.context_epochs` passes of `ROWS_PER_STEP` rows a step, whole prompts forward and backward; the
    rate rises over the first steps and falls along a cosine.

    Raises:
        FitError: A scalar became nonfinite.
    """
    model, config = bench.model, bench.config
    asked = Asked.of(model, zero_shot_prompts(rows, config.template))
    stream = seed_stream(config.seed, bench.tasks[task].digest, "context scalars")
    noise = _noise(model, int(stream.integers(2**31)))
    scalars = torch.tensor(START, device=model.device).repeat(len(vectors), len(SITES), 1).requires_grad_()
    adam = torch.optim.AdamW([scalars], lr=config.context_lr, weight_decay=WEIGHT_DECAY)
    n_steps = config.context_epochs * math.ceil(len(asked) / ROWS_PER_STEP)
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, partial(share_of_rate, n_steps=n_steps))
    with torch.enable_grad(), progress_bar(n_steps, "I2CL scalars", unit="step", progress=bench.progress) as bar:
        for _ in range(config.context_epochs):
            order = stream.permutation(len(asked)).tolist()
            for start in range(0, len(order), ROWS_PER_STEP):
                adam.zero_grad()
                drawn = asked.only(order[start : start + ROWS_PER_STEP])
                loss = first_token_loss(model, drawn, mixing(vectors, scalars, noise))
                loss.backward()  # type: ignore[no-untyped-call]  # torch types it in part
                adam.step()
                schedule.step()
                bar.update()
    if not bool(scalars.isfinite().all()):
        raise FitError(f"the scalars of task {task!r} became nonfinite; use dtype='float32', or a smaller context_lr")
    return scalars.detach()


def first_token_loss(model: LensModel, asked: Asked, edits: Sequence[Edit]) -> Float[Tensor, ""]:
    """Return the mean cross-entropy of the first answer tokens under edits, in nats; whole prompts, with gradients."""
    batch = Batch.of(asked.ids, pad=model.encoder.pad, device=model.device)
    return F.cross_entropy(model.forward(batch, edits), asked.targets(model.device))


def share_of_rate(step: int, *, n_steps: int) -> float:
    """Return the share of the learning rate at a step: a linear rise, times a half cosine over all steps."""
    rise = min(1.0, (step + 1) / max(1, round(WARM_UP * n_steps)))
    return rise * (1 + math.cos(math.pi * step / n_steps)) / 2


def _noise(model: LensModel, seed: int) -> Callable[[Tensor], Tensor]:
    generator = torch.Generator(model.device).manual_seed(seed)

    def noise(out: Tensor) -> Tensor:
        drawn = torch.randn(out.shape, generator=generator, device=model.device).to(out.device)
        size: Tensor = NOISE * out.detach().norm(dim=-1, keepdim=True)
        return drawn * size

    return noise
