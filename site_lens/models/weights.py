"""Output of heads, read off the weights: copying scores, and tokens behind the final norm and the unembedding."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.heads.head_set import Head
from site_lens.models.base import LensModel
from site_lens.models.locking import on_model_no_grad
from site_lens.records.errors import ModelError
from site_lens.records.library_errors import translated_errors

VOCABULARY_AT_ONCE = 2**14
"""Tokens of the vocabulary to multiply at a time."""


@on_model_no_grad
def copying_scores(model: LensModel, heads: Sequence[Head]) -> list[float]:
    """Score how far heads copy: whether attending to a token raises the logit of that same token.

    The score is the sum of the eigenvalues of W_E W_V W_O W_U over the sum of their sizes, in [-1, 1]: 1 where every
    eigenvalue is positive. Gains and centring of the norms around it are counted in, their division is not. What lies
    between embedding and head, and between head and logits, is left out; deep heads read a stream that is no longer
    the embedding, so a low score does not say that a head copies nothing.

    Raises:
        ModelError: The weights cannot be read: they are quantised, attention is latent (MLA), or layers differ in the
            width of their heads (Gemma 4), where TransformerLens does not cut weights into heads.

    Reference: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits", copying heads.
    """
    host = model.host
    embed, unembed = _readable(host.embed, "W_E"), _readable(host.unembed, "W_U")
    if embed.shape != unembed.T.shape:
        raise ModelError(f"embedding {tuple(embed.shape)} and unembedding {tuple(unembed.shape)} are no pair")
    # The product over the whole vocabulary has the eigenvalues of one of d_head by d_head.
    around = torch.zeros(len(unembed), len(unembed), device=unembed.device)
    for start in range(0, len(embed), VOCABULARY_AT_ONCE):
        chosen = slice(start, start + VOCABULARY_AT_ONCE)
        around += unembed[:, chosen].float() @ embed[chosen].float().to(around.device)
    around = _through(host.ln_final, around.T).T
    return [_copying(host.blocks[head.layer], head, around) for head in heads]


def _copying(block: Any, head: Head, around: Float[Tensor, "d_model d_model"]) -> float:
    reads, writes = _readable(block.attn, "W_V"), _readable(block.attn, "W_O")
    group = len(writes) // len(reads)  # query heads that share values
    value = reads[head.head // group].float().to(around.device)
    output = writes[head.head].float().to(around.device)
    before, after = getattr(block, "ln1", None), getattr(block, "ln1_post", None)
    seen = value if before is None else _through(before, value.T).T
    written = output if after is None else output * _gain(after, output)[0]
    eigenvalues = torch.linalg.eigvals((written @ around @ seen).double().cpu())
    total = float(eigenvalues.abs().sum())
    return float(eigenvalues.real.sum()) / total if total > 0 else 0.0


@on_model_no_grad
def direct_logits(model: LensModel, layer: int, z: Float[Tensor, "row head d_head"]) -> Float[Tensor, "row vocab"]:
    """Pass what heads of a layer write through the final norm and the unembedding alone, float32.

    What a zero vector gives, the bias, is taken off. It says what is written towards tokens directly; what later
    layers make of it is left out (the logit lens, with all that is known against it in early layers).

    Raises:
        ModelError: This kind of model has no final norm and unembedding that can be called.

    Reference: nostalgebraist 2020, "interpreting GPT: the logit lens".
    """
    host = model.host
    written = model.project(layer, z)
    after = getattr(host.blocks[layer], "ln1_post", None)
    if after is not None:
        written = written * _gain(after, written)[0]
    weight = next((weight for weight in host.unembed.parameters() if weight.is_floating_point()), None)
    if weight is None:
        raise ModelError("the unembedding has no weights in floating point")
    given = torch.cat([written, torch.zeros_like(written[:1])])[None].to(weight.device, weight.dtype)
    logits: Tensor = host.unembed(host.ln_final(given))[0].float().to(model.device)
    return logits[:-1] - logits[-1]


def _readable(module: Any, name: str) -> Tensor:
    with translated_errors(lambda reason: ModelError(f"{name} cannot be read: {reason}")):
        weight = getattr(module, name)
    if not isinstance(weight, Tensor) or not weight.is_floating_point():
        raise ModelError(f"{name} cannot be read: its numbers are quantised")
    return weight


def _through(norm: Any, rows: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
    """Multiply covectors by what a norm does to its input but for its division: centring, then the gain.

    A covector w reads w . (gain * (x - mean x)) of a stream x, so its own mean goes after the gain.
    """
    gain, centres = _gain(norm, rows)
    seen = rows * gain
    return seen - seen.mean(1, keepdim=True) if centres else seen


def _gain(norm: Any, rows: Float[Tensor, "row d_model"]) -> tuple[Float[Tensor, " d_model"], bool]:
    """Return what a norm multiplies each coordinate of rows by, and whether it centres.

    Both are read off its answers, as every norm keeps its gain elsewhere.
    """
    up = 1.0 - 2.0 * (torch.arange(rows.shape[1], device=rows.device) % 2)  # of mean 0 and mean square 1
    own = next(norm.parameters(), up)
    given = torch.stack([up, -up, up + 1]).to(own.device, own.dtype)
    answer, opposite, shifted = norm(given[None])[0].float().to(rows.device)
    gain = (answer - opposite) / 2 * up  # biases cancel
    return gain, torch.allclose(shifted, answer, rtol=1e-2, atol=1e-4)
