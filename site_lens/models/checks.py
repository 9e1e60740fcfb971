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
from site_lens.models.hooks import Edit, z_edits
from site_lens.models.identity import ModelIdentity
from site_lens.models.locking import on_model
from site_lens.models.plain_transformers import config_of
from site_lens.records.errors import ModelError
from site_lens.records.type_checks import checked_methods

TOLERANCES = {
    "float32": (1e-4, 1e-4), "float64": (1e-4, 1e-4),
    "bfloat16": (0.1, 0.25), "float16": (0.02, 0.05), "int8": (0.1, 0.25),
}  # fmt: skip
"""Largest gaps between two ways to compute the same, by precision: of logits, in units of their standard deviation, and
of the gradient of gates, in units of its largest entry."""

N_TOKENS = 4
COMPARED = (3, 4, 40)
"""Tokens of the prompts on which a model is compared with plain transformers when it is loaded."""

State = Literal["ok", "fail", "skipped"]


def precision(identity: ModelIdentity) -> str:
    """Return what limits how exactly a model computes: eight-bit products, or its number format.

    Which columns int8 keeps in floating point depends on all rows of a call: a prompt differs between batches.
    """
    return "int8" if identity.quantization == "int8" else identity.dtype


def tolerances(identity: ModelIdentity) -> tuple[float, float]:
    """Return the largest gaps of logits and of gradients that are good, see `TOLERANCES`."""
    return TOLERANCES.get(precision(identity), TOLERANCES["int8"])


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


@dataclass(frozen=True, slots=True)
class Probe:
    """A model with the prompts that it is checked on, and edits of all of its heads."""

    model: LensModel
    batch: Batch
    clean: Float[Tensor, "row vocab"]
    """Logits of the prompts without an edit."""
    edits_of: Callable[[Float[Tensor, "layer head"], int], list[Edit]]
    """Makes edits of a column from gates alpha, which change nothing where they are 0."""

    def edits(self, alpha: float, column: int = -1) -> list[Edit]:
        """Return the edits under one alpha for all heads."""
        return self.edits_of(torch.full(self.model.grid.shape, alpha, device=self.model.device), column)

    def edited(self, alpha: float) -> float:
        """Return by how much an edit of the last token changes the logits."""
        return self.gap(self.model.forward(self.batch, self.edits(alpha)), self.clean)

    def gap(self, a: Tensor, b: Tensor) -> float:
        """Return the largest difference of logits, in units of their standard deviation."""
        return float((a - b).abs().max()) / (float(self.clean.std()) or 1.0)

    def alone(self, row: int) -> Batch:
        """Return one prompt without padding."""
        length = int(self.batch.lengths[row])
        return Batch(self.batch.tokens[row : row + 1, -length:], self.batch.lengths[row : row + 1])

    def padding(self) -> float:
        """Compare left-padded rows with the rows alone."""
        alone = [self.model.forward(self.alone(row))[0] for row in range(len(self.batch))]
        return self.gap(torch.stack(alone), self.clean)

    def decode(self, batch: Batch, n_tail: int, edits: Sequence[Edit] = ()) -> Float[Tensor, "row vocab"]:
        """Return the logits at the last token, with all but a tail from a cached prefix."""
        prefix = self.model.prefill(batch.without_tail(n_tail))
        return self.model.decode(prefix, batch.tokens[:, -n_tail:], edits)[0][:, -1]

    def both_ways(self, n_tail: int, edits: Sequence[Edit]) -> tuple[Tensor, Tensor]:
        """Return the logits at the last token, (row vocab), with a tail behind a cached prefix and of whole prompts."""
        return self.decode(self.batch, n_tail, edits), self.model.forward(self.batch, edits)

    def cached(self, alpha: float, n_tail: int) -> float:
        """Compare logits behind a cached prefix with those of whole prompts, under edits of the tail's first token."""
        return self.gap(*self.both_ways(n_tail, self.edits(alpha, -n_tail)))

    @torch.enable_grad()
    def gradient(self, at: float, n_tail: int) -> float:
        """Compare the gradients of alpha behind a cached prefix and in whole prompts.

        They show what logits do not: packed weights, or states of a cache, through which no gradient passes.
        """
        alpha = torch.full(self.model.grid.shape, at, device=self.model.device, requires_grad=True)
        gradients = []
        for logits in self.both_ways(n_tail, self.edits_of(alpha, -n_tail)):
            # Every row weighs differently, so that rows that are mixed up do not add up to the same.
            weights = torch.arange(1.0, len(self.batch) + 1, device=logits.device)
            loss = (logits.logsumexp(-1) - logits[:, int(self.batch.tokens[0, -1])]) @ weights
            if not loss.requires_grad:
                return math.inf  # alpha never reached the logits
            gradients.append(torch.autograd.grad(loss, alpha)[0])
        gap, largest = float((gradients[0] - gradients[1]).abs().max()), float(gradients[1].abs().max())
        if largest > 0:
            return gap / largest
        # Behind the last layer nothing reads earlier tokens: of its heads, all but the last token have no gradient.
        return gap if n_tail > 1 and not any(self.model.grid.heads_per_layer[:-1]) else math.inf


def quick_probe(model: LensModel) -> Probe:
    """Return what a quick check measures on: two short prompts, and edits that scale z by 1 - alpha."""

    def scaled(alpha: Tensor, column: int) -> list[Edit]:
        def change(layer: int, z: Tensor) -> Tensor:
            return z * (1 - alpha[layer, : z.shape[-2], None]).to(z.device)

        return z_edits(model.grid.heads_per_layer, change, column)

    rows = synthetic_prompts(model.encoder.vocabulary, (N_TOKENS, N_TOKENS - 1))
    batch = Batch.of(rows, pad=model.encoder.pad, device=model.device)
    return Probe(model, batch, model.forward(batch), scaled)


@on_model
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
    probe = quick_probe(model)
    logits, gradients = tolerances(model.identity)
    measured = (
        ("identity_edit", probe.edited(0.0), logits, "logits after an edit that changes nothing"),
        ("cached_equals_full", max(probe.cached(0.0, 1), probe.cached(1.0, 1)), logits, "cached against full logits"),
        ("padding", probe.padding(), logits, "logits of a left-padded row against the row alone"),
        ("edit_has_effect", probe.edited(1.0), logits, "logits after zeroing z, which must differ"),
        ("gradient", probe.gradient(0.0, 1), gradients, "gradient, cached and full"),
    )
    return tuple(judge(*check) for check in measured)


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
    tolerance, _ = TOLERANCES["float32"] if strict else tolerances(model.identity)
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
    config = config_of(model.host)
    alibi = getattr(config, "model_type", "") == "falcon" and getattr(config, "alibi", False)
    return bool(alibi) or not getattr(config, "scale_attn_weights", True)


def refuse_if_failed(checks: Sequence[ModelCheck], name: str) -> None:
    """Raise ModelError, with the measured gaps, if any check failed."""
    failed = [check for check in checks if check.state == "fail"]
    if failed:
        gaps = "; ".join(f"{c.code}: {c.meaning}, gap {c.value:.3g}, threshold {c.threshold:.3g}" for c in failed)
        units = "logits in units of their standard deviation, gradients of the largest entry"
        raise ModelError(f"{name} cannot be used: {gaps} ({units})")
