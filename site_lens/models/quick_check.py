"""Does this model do what the method needs? Measured on four tokens before anything is built on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from site_lens.models.identity import ModelIdentity
from site_lens.models.protocol import Batch, Edit, LensModel
from site_lens.models.transformers_logits import made_up
from site_lens.records.errors import ModelError
from site_lens.records.type_checks import checked_methods

TOLERANCE = {"float32": 1e-4, "float64": 1e-4, "bfloat16": 0.1, "float16": 0.02, "int8": 0.1}
"""Largest gap between two ways to compute the same logits, in units of their standard deviation."""

N_TOKENS = 4
COMPARED = (3, 4, 40)
"""Tokens of the prompts on which a model is compared with plain transformers when it is loaded."""

State = Literal["ok", "fail", "skipped"]


def precision(identity: ModelIdentity) -> str:
    """Name what limits how exactly a model computes: eight-bit products, or its number format.

    Which columns int8 keeps in floating point depends on all rows of a call: a prompt differs between batches.
    """
    return "int8" if identity.quantization == "int8" else identity.dtype


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


def judge(code: str, found: float | str, threshold: float, meaning: str) -> ModelCheck:
    """Compare what was measured with its threshold; a text says why nothing was measured."""
    if isinstance(found, str):
        return ModelCheck(code, "skipped", None, threshold, found)
    # A gap that is not a number fails either way: no comparison with it holds.
    good = found > threshold if code == "edit_has_effect" else found <= threshold
    return ModelCheck(code, "ok" if good else "fail", found, threshold, meaning)


def self_check(model: LensModel) -> tuple[ModelCheck, ...]:
    """Measure the properties that everything else is built on.

    Returns:
        Checks `identity_edit` (an edit that changes nothing changes no logit), `edit_has_effect` (zeroing z changes
        them), `cached_equals_full` (prefix and one token give what whole prompts give, edits included) and
        `padding` (a left-padded row gives what it gives alone). Values are gaps in units of the logits' standard
        deviation.
    """
    batch, short = _probe(model)
    clean = model.forward(batch)
    unit = float(clean.std()) or 1.0

    def gap(one: Tensor, other: Tensor) -> float:
        return float((one - other).abs().max()) / unit

    zeroing = [Edit(layer, torch.zeros_like) for layer in range(model.grid.n_layers)]
    zeroed = model.forward(batch, zeroing)
    prefix = model.prefill(batch.without_tail(1))
    cached, _ = model.decode(prefix, batch.tokens[:, -1:])
    again, _ = model.decode(prefix, batch.tokens[:, -1:], zeroing)
    tolerance = TOLERANCE.get(precision(model.identity), 0.1)
    same = [Edit(layer, torch.clone) for layer in range(model.grid.n_layers)]
    cached_gap = max(gap(cached[:, -1], clean), gap(again[:, -1], zeroed))
    measured = (
        ("identity_edit", gap(model.forward(batch, same), clean), "logits after an edit that changes nothing"),
        ("cached_equals_full", cached_gap, "cached against full logits"),
        ("padding", gap(model.forward(short), clean[1:]), "logits of a left-padded row against the row alone"),
        ("edit_has_effect", gap(zeroed, clean), "logits after zeroing z, which must differ"),
    )

    return tuple(judge(code, found, tolerance, meaning) for code, found, meaning in measured)


def same_as_transformers(model: LensModel, lengths: Sequence[int] = COMPARED) -> ModelCheck:
    """Compare the hooked model's logits with those of plain transformers, each prompt alone.

    Args:
        model: The model.
        lengths: Tokens of the prompts, made up; at most the context of each.

    Returns:
        Check `same_as_transformers`: the largest gap at a last token, in units of the logits' standard deviation.
        Skipped where there is no plain model to ask.
    """
    encoder, compared, reason = model.encoder, {}, ""
    for row in made_up(encoder.vocabulary, [min(length, encoder.n_ctx) for length in lengths]):
        try:
            plain = model.plain_logits(row)
        except ModelError as error:
            reason = str(error)
            continue
        ours = model.forward(Batch.of([row], pad=encoder.pad, device=model.device))[0]
        compared[len(row)] = float((ours.detach() - plain).abs().max() / (float(plain.std()) or 1.0))
    strict = _known_to_deviate(model)
    tolerance = TOLERANCE.get("float32" if strict else precision(model.identity), 0.1)
    if not compared:
        return judge("same_as_transformers", f"not compared: {reason}", tolerance, "")
    said = [f"logits against plain transformers, prompts of {', '.join(map(str, compared))} tokens"]
    if reason:
        said.append(f"longer ones were not compared: {reason}")
    stretched = encoder.context.stretched_from
    if stretched is not None and max(compared) <= stretched:
        said.append(f"none beyond the {stretched} that its positions were stretched from (doctor: --longest)")
    if strict:
        said.append("TransformerLens is known to compute its attention otherwise (ALiBi of Falcon, unscaled scores)")
    return judge("same_as_transformers", float(torch.tensor([*compared.values()]).max()), tolerance, "; ".join(said))


def _known_to_deviate(model: LensModel) -> bool:
    """Say whether a model is one of those that TransformerLens computes otherwise, by less than bfloat16 rounds."""
    config = getattr(getattr(getattr(model, "host", None), "original_model", None), "config", None)
    alibi = getattr(config, "model_type", "") == "falcon" and getattr(config, "alibi", False)
    return bool(alibi) or not getattr(config, "scale_attn_weights", True)


def refuse_if_failed(checks: Sequence[ModelCheck], name: str) -> None:
    """Raise ModelError, with the measured gaps, if any check failed."""
    failed = [check for check in checks if check.state == "fail"]
    if failed:
        gaps = "; ".join(f"{c.code}: {c.meaning}, gap {c.value:.3g}, threshold {c.threshold:.3g}" for c in failed)
        raise ModelError(f"{name} cannot be used: {gaps} (in units of the logits' standard deviation)")


def _probe(model: LensModel) -> tuple[Batch, Batch]:
    """Two prompts of 4 and 3 tokens as one batch, and the second alone."""
    rows = made_up(model.encoder.vocabulary, (N_TOKENS, N_TOKENS - 1))
    pad = model.encoder.pad
    return Batch.of(rows, pad=pad, device=model.device), Batch.of(rows[1:], pad=pad, device=model.device)
