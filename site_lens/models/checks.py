"""Quick checks of a model, measured on a few tokens before anything is built on it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.models.hooks import Edit
from site_lens.models.identity import ModelIdentity
from site_lens.models.kv_cache import Prefix
from site_lens.records.errors import ModelError
from site_lens.records.type_checks import checked_methods

TOLERANCE = {"float32": 1e-4, "float64": 1e-4, "bfloat16": 0.1, "float16": 0.02, "int8": 0.1}
"""Largest gap between two ways to compute the same logits, in units of their standard deviation."""
GRADIENT_TOLERANCE = {"float32": 1e-4, "float64": 1e-4, "bfloat16": 0.25, "float16": 0.05, "int8": 0.25}
"""Largest gap between two ways to compute the gradient of gates, in units of its largest entry."""

N_TOKENS = 4
COMPARED = (3, 4, 40)
"""Tokens of the prompts on which a model is compared with plain transformers when it is loaded."""

State = Literal["ok", "fail", "skipped"]


def precision(identity: ModelIdentity) -> str:
    """Return what limits how exactly a model computes: eight-bit products, or its number format.

    Which columns int8 keeps in floating point depends on all rows of a call: a prompt differs between batches.
    """
    return "int8" if identity.quantization == "int8" else identity.dtype


def synthetic_prompts(vocabulary: int, lengths: Sequence[int]) -> list[list[int]]:
    """Return prompts of these lengths, always the same tokens, whatever they mean."""
    return [[(7 * i + 5 * row + 11) % vocabulary for i in range(length)] for row, length in enumerate(lengths)]


@checked_methods
@dataclass(frozen=True, slots=True)
class ModelCheck:
    """One measured property of a model."""

    code: str
    state: State
    value: float | None
    """None where the property was not measured."""
    threshold: float
    """Largest value that is good; of `edit_has_effect`, the largest that is not."""
    meaning: str
    """What the value is; why it was not measured, where it is None."""


def judge(code: str, value: float | str, threshold: float, meaning: str) -> ModelCheck:
    """Compare a measured value with its threshold; a text says why nothing was measured."""
    if isinstance(value, str):
        return ModelCheck(code, "skipped", None, threshold, value)
    # A gap that is not a number fails either way: no comparison with it holds.
    good = value > threshold if code == "edit_has_effect" else value <= threshold
    return ModelCheck(code, "ok" if good else "fail", value, threshold, meaning)


def quick_check(model: LensModel) -> tuple[ModelCheck, ...]:
    """Measure the properties that everything else is built on.

    Returns:
        Checks `identity_edit` (an edit that changes nothing changes no logit), `edit_has_effect` (zeroing z changes
        them), `cached_equals_full` (prefix and one token give what whole prompts give, edits included), `padding` (a
        left-padded row gives what it gives alone) and `gradient` (that of a factor on z of each head is the same behind
        a prefix and in whole prompts). Values are gaps in units of the logits' standard deviation, of the gradient in
        units of its largest entry.

    Raises:
        ModelError: The model's code writes into the states of a cached prefix.
    """
    rows = synthetic_prompts(model.encoder.vocabulary, (N_TOKENS, N_TOKENS - 1))
    batch, short = (Batch.of(ids, pad=model.encoder.pad, device=model.device) for ids in (rows, rows[1:]))
    clean = model.forward(batch)
    unit = float(clean.std()) or 1.0

    def gap(a: Tensor, b: Tensor) -> float:
        return float((a - b).abs().max()) / unit

    attending = [layer for layer, n in enumerate(model.grid.heads_per_layer) if n]
    unchanged = [Edit(layer, torch.clone) for layer in attending]
    zeroing = [Edit(layer, torch.zeros_like) for layer in attending]
    zeroed = model.forward(batch, zeroing)
    prefix = model.prefill(batch.without_tail(1))
    cached, cached_zeroed = (model.decode(prefix, batch.tokens[:, -1:], edits)[0][:, -1] for edits in ([], zeroing))
    cached_gap = max(gap(cached, clean), gap(cached_zeroed, zeroed))
    tolerance = TOLERANCE.get(precision(model.identity), 0.1)
    gradient_tolerance = GRADIENT_TOLERANCE.get(precision(model.identity), 0.25)
    measured = (
        ("identity_edit", gap(model.forward(batch, unchanged), clean), "logits after an edit that changes nothing"),
        ("cached_equals_full", cached_gap, "cached against full logits"),
        ("padding", gap(model.forward(short), clean[1:]), "logits of a left-padded row against the row alone"),
        ("edit_has_effect", gap(zeroed, clean), "logits after zeroing z, which must differ"),
    )
    gradient = judge("gradient", _gradient_gap(model, batch, prefix), gradient_tolerance, "gradient, cached and full")
    return *(judge(code, value, tolerance, meaning) for code, value, meaning in measured), gradient


@torch.enable_grad()
def _gradient_gap(model: LensModel, batch: Batch, prefix: Prefix) -> float:
    """Compare the gradients of a factor on z of each head behind a prefix and in whole prompts.

    They show what logits do not: packed weights, or states of a cache, through which no gradient passes.
    """
    gradients = []
    for cached in (True, False):
        factors = torch.ones(model.grid.shape, device=model.device, requires_grad=True)
        edits = _scaling(factors, model.grid.heads_per_layer)
        logits = model.decode(prefix, batch.tokens[:, -1:], edits)[0][:, -1] if cached else model.forward(batch, edits)
        if not logits.requires_grad:
            return math.inf  # the factors never reached the logits
        gradients.append(torch.autograd.grad((logits.logsumexp(-1) - logits[:, 0]).sum(), factors)[0])
    largest = float(gradients[1].abs().max())
    return float((gradients[0] - gradients[1]).abs().max()) / largest if largest > 0 else math.inf


def _scaling(factors: Float[Tensor, "layer head"], heads_per_layer: Sequence[int]) -> list[Edit]:
    """Multiply z of every head by its factor."""

    def change(layer: int, n: int) -> Callable[[Tensor], Tensor]:
        return lambda z: z * factors[layer, :n, None].to(z.device)

    return [Edit(layer, change(layer, n)) for layer, n in enumerate(heads_per_layer) if n]


def same_as_transformers(model: LensModel, lengths: Sequence[int] = COMPARED) -> ModelCheck:
    """Compare the hooked model's logits with those of plain transformers, each prompt alone.

    Args:
        model: The model.
        lengths: Tokens of the prompts, which are synthetic; at most the context of each.

    Returns:
        Check `same_as_transformers`: the largest gap at a last token, in units of the logits' standard deviation.
        Skipped where there is no plain model to compare with.
    """
    encoder, reason = model.encoder, ""
    gaps: dict[int, float] = {}
    for row in synthetic_prompts(encoder.vocabulary, [min(length, encoder.n_ctx) for length in lengths]):
        try:
            plain = model.plain_logits(row)
        except ModelError as error:
            reason = str(error)
            continue
        ours = model.forward(Batch.of([row], pad=encoder.pad, device=model.device))[0]
        gaps[len(row)] = float((ours.detach() - plain).abs().max() / (float(plain.std()) or 1.0))
    strict = _is_known_to_deviate(model)
    tolerance = TOLERANCE.get("float32" if strict else precision(model.identity), 0.1)
    if not gaps:
        return judge("same_as_transformers", f"not compared: {reason}", tolerance, "")
    stretched = encoder.context.stretched_from
    notes = {
        f"logits against plain transformers, prompts of {', '.join(map(str, gaps))} tokens": True,
        f"longer ones were not compared: {reason}": reason,
        f"none beyond the {stretched} that its positions were stretched from (doctor: --longest)": (
            stretched is not None and max(gaps) <= stretched
        ),
        "TransformerLens is known to compute its attention otherwise (ALiBi of Falcon, unscaled scores)": strict,
    }
    largest = float(torch.tensor([*gaps.values()]).max())  # NaN stays NaN
    return judge("same_as_transformers", largest, tolerance, "; ".join(note for note, holds in notes.items() if holds))


def _is_known_to_deviate(model: LensModel) -> bool:
    """Tell whether TransformerLens computes a model otherwise, by less than bfloat16 rounds."""
    config = getattr(getattr(model.host, "original_model", None), "config", None)
    alibi = getattr(config, "model_type", "") == "falcon" and getattr(config, "alibi", False)
    return bool(alibi) or not getattr(config, "scale_attn_weights", True)


def refuse_if_failed(checks: Sequence[ModelCheck], name: str) -> None:
    """Raise ModelError, with the measured gaps, if any check failed."""
    failed = [check for check in checks if check.state == "fail"]
    if failed:
        gaps = "; ".join(f"{c.code}: {c.meaning}, gap {c.value:.3g}, threshold {c.threshold:.3g}" for c in failed)
        units = "logits in units of their standard deviation, gradients of the largest entry"
        raise ModelError(f"{name} cannot be used: {gaps} ({units})")
