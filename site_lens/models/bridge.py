"""TransformerBridge, of TransformerLens 3.9 and 4, behind the protocol."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.core.errors import ModelError
from site_lens.core.provenance import ModelIdentity
from site_lens.models.host import Call, HostModel
from site_lens.models.plain import as_transformers_made_it, plain_logits
from site_lens.models.tokens import Encoder


class BridgeModel(HostModel):
    """A `TransformerBridge` that follows the protocol `LensModel`; make one with `load_model` or `wrap_model`."""

    def __init__(self, host: Any, encoder: Encoder, identity: ModelIdentity) -> None:
        super().__init__(host, encoder, identity)
        if not hasattr(host.original_model, "config"):
            raise ModelError(
                f"{identity.name} has no Hugging Face model underneath (a bridge from boot_native?) and keeps no cache "
                "of keys and values; boot one with TransformerBridge.boot_transformers"
            )
        self._takes = _parameter_names(host.original_model)

    def plain_logits(self, prompt: Sequence[int]) -> Float[Tensor, " vocab"]:
        """Return the logits of plain transformers at the last token; see `LensModel.plain_logits`."""
        if tuple(prompt) in self.known:
            return super().plain_logits(prompt)
        if self.host.compatibility_mode:
            raise ModelError("its weights were processed by TransformerLens (compatibility mode)")
        with as_transformers_made_it(self.host.original_model) as hf_model:
            return plain_logits(hf_model, prompt).to(self.device)

    def _write(self, layer: int, z: Float[Tensor, "row head d_head"]) -> Float[Tensor, "row d_model"]:
        module = self.host.blocks[layer].attn.o
        weights = next(module.parameters())
        dtype = weights.dtype if weights.is_floating_point() else None  # quantised weights cast by themselves
        written: Tensor = module(z.flatten(1).to(device=weights.device, dtype=dtype))
        return written

    def _empty_cache(self, n_rows: int) -> Any:
        from transformers import DynamicCache

        return DynamicCache(config=self.host.original_model.config)

    def _logits(self, call: Call) -> Float[Tensor, "row new vocab"]:
        # Positions are explicit: a mask alone is not enough for absolute positions under left padding
        # (TransformerLens 3.x is off by 0.25 in GPT-2's logits).
        options: dict[str, Any] = {"position_ids": call.positions.clamp(max=self.encoder.n_ctx - 1)}
        if call.last_only:
            options["logits_to_keep"] = 1
        if self._takes is not None:
            options = {name: value for name, value in options.items() if name in self._takes}
        past = {"use_cache": False} if call.cache is None else {"past_key_values": call.cache}
        logits: Tensor = self.host(call.tokens, attention_mask=call.mask, **past, **options)
        return logits


def keep_dtype_of_rotated(bridge: Any) -> None:
    """Make queries and keys keep their number format when positions are rotated into them.

    OLMo and Cohere rotate in float32 and cast back; TransformerLens leaves out the cast, and in bfloat16 the product of
    attention and values then fails.
    """
    dtype = next(weight.dtype for weight in bridge.parameters() if weight.is_floating_point())
    if dtype == torch.float32:
        return
    for block in getattr(bridge, "blocks", ()):
        for name in ("hook_rot_q", "hook_rot_k"):
            point = getattr(getattr(block, "attn", None), name, None)
            if isinstance(point, torch.nn.Module):
                point.register_forward_hook(lambda _, args, rotated: rotated.to(dtype))


def _parameter_names(hf_model: Any) -> set[str] | None:
    """What the model's forward takes by name (models with ALiBi have no positions); None when a wrapper hides it."""
    parameters = inspect.signature(hf_model.forward).parameters
    hidden = any(parameter.kind == parameter.VAR_POSITIONAL for parameter in parameters.values())
    return None if hidden else set(parameters)
