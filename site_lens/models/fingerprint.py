"""Fingerprint of a model: its identity, without hashing all of its weights."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from site_lens.heads.head_set import HeadGrid
from site_lens.models.identity import WEIGHTS_FROM, ModelIdentity, widths_if_ragged
from site_lens.models.plain_transformers import config_of
from site_lens.models.quantization import quantization_of
from site_lens.models.tokenization import Encoder
from site_lens.records.errors import ModelError
from site_lens.records.hashing import digest_json

SPLIT = {"split_qkv_matrix": ("q", "k", "v"), "split_gate_up_matrix": ("gate", "in")}
"""Parts into which TransformerBridge splits a projection, by the method of the module that does so. They are copies."""

N_SAMPLED = 4
"""Numbers sampled of every weight for the weights digest."""


def identify(
    host: Any, z_shapes: Sequence[tuple[int, ...] | None], encoder: Encoder, *, name: str, revision: str | None
) -> ModelIdentity:
    """Describe a hooked model.

    Args:
        host: The TransformerLens model.
        z_shapes: Shape of z of each layer, (row pos head d_head), as a probe run saw it; None for one without heads.
        encoder: The tokenizer under its BOS policy.
        name: What to call the model.
        revision: Revision of the checkpoint, if one was asked for.

    Raises:
        ModelError: z is not (row pos head d_head).
    """
    wrong = [(layer, shape) for layer, shape in enumerate(z_shapes) if shape and len(shape) != 4]
    if wrong:
        raise ModelError(f"z of layer {wrong[0][0]} has shape {wrong[0][1]}; needs (row pos head d_head)")
    widths = tuple(shape[3] if shape else 0 for shape in z_shapes)
    weights = original_weights(host)
    value_bias = _has_value_bias(host)
    grid = HeadGrid(tuple(shape[2] if shape else 0 for shape in z_shapes))
    config = config_of(host)
    return ModelIdentity(
        name=name,
        architecture=str(getattr(host.cfg, "architecture", None) or host.cfg.original_architecture),
        host=type(host).__name__,
        grid=grid,
        d_head=max(widths),
        d_head_per_layer=widths_if_ragged(widths),
        dtype=str(next(w.dtype for w in weights if w.is_floating_point())).removeprefix("torch."),
        # HookedTransformer folds unless told not to; a bias that is still there was not folded.
        processing="folded" if getattr(host, "compatibility_mode", True) and not value_bias else "raw",
        value_bias=value_bias,
        bos=encoder.bos,
        weights_digest=weights_digest(weights),
        tokenizer_digest=encoder.digest,
        revision=revision,
        n_kv_heads=shared_kv_heads(host.cfg, grid),
        quantization=quantization_of(config),
        weights_from=getattr(config, WEIGHTS_FROM, None),
    )


def shared_kv_heads(cfg: Any, grid: HeadGrid) -> int | None:
    """Read how many key-value heads the heads of a layer share; None unless it is one number for all layers.

    Both hosts have it as `n_key_value_heads`, which may be None or, for latent attention, a number that fits no layer.
    """
    by_layer = getattr(cfg, "per_layer_num_key_value_heads", None) or [cfg.n_key_value_heads]
    numbers = {n for n in by_layer if n is not None}
    heads = {n for n in grid.heads_per_layer if n}
    if len(numbers) != 1 or len(heads) != 1:
        return None
    (n_kv_heads,), (n_heads,) = numbers, heads
    return int(n_kv_heads) if n_kv_heads < n_heads and n_heads % n_kv_heads == 0 else None


def _has_value_bias(host: Any) -> bool:
    for block in host.blocks:
        try:
            bias = block.attn.b_V
        except (AttributeError, NotImplementedError):  # what the bridge raises without a bias, and for latent attention
            continue
        if isinstance(bias, Tensor) and bool((bias != 0).any()):
            return True
    return False


def original_weights(host: nn.Module) -> list[nn.Parameter]:
    """Return the weights of a model without the copies that a TransformerBridge adds to them."""
    copies = {
        id(weight)
        for module in host.modules()
        for method, parts in SPLIT.items()
        if hasattr(module, method)
        for part in parts
        for weight in getattr(module, part).parameters()
    }
    return [weight for weight in host.parameters() if id(weight) not in copies]


def weights_digest(weights: Iterable[nn.Parameter]) -> str:
    """Hash shapes and a few numbers of weights, whatever the parameters are called.

    A vector of zeros counts as none: TransformerBridge 3.9 gives every unembedding a bias of zeros. Packed weights are
    left out: how they are packed depends on the machine.
    """
    samples = []
    for weight in weights:
        if not weight.is_floating_point() or (weight.ndim == 1 and not weight.any()):
            continue
        flat = weight.detach().reshape(-1)
        index = np.linspace(0, flat.numel() - 1, N_SAMPLED).round().astype(np.int64)
        picked = flat[torch.from_numpy(index).to(flat.device)].float().cpu()
        samples.append([list(weight.shape), [f"{number:.6g}" for number in picked.tolist()]])
    return digest_json(sorted(samples))
