"""Hugging Face caches whose recurrent and convolution states are assigned, never written into."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import Cache, LinearAttentionAndFullAttentionLayer, LinearAttentionLayer


class _Assigning:
    """Mixin of cache layers whose shallow copy is a view.

    Those of transformers copy new states into the old tensors: that would change every view of a prefix, and autograd
    refuses it.
    """

    conv_states: dict[int, Tensor | None]
    recurrent_states: dict[int, Tensor | None]
    has_previous_state: dict[int, bool]

    def __init__(self, number_of_states: int) -> None:
        super().__init__(number_of_states=number_of_states)  # type: ignore[call-arg]
        self.record_past = True  # else the model's code writes into the convolution states that it is given

    def update_conv_state(
        self,
        conv_states: Float[Tensor, "row channel new"],
        state_idx: int = 0,
        conv_kernel_size: int | None = None,
        **options: Any,
    ) -> Float[Tensor, "row channel pos"]:
        """Return old and new columns, and keep as many of the last ones as the kernel is wide."""
        old = self.conv_states[state_idx]
        whole = conv_states if old is None else torch.cat([old, conv_states], dim=-1)
        width = conv_kernel_size or (whole if old is None else old).shape[-1]
        kept = F.pad(whole, (width - whole.shape[-1], 0))  # which cuts where it is negative
        self.conv_states = self.conv_states | {state_idx: kept}
        self.has_previous_state = self.has_previous_state | {state_idx: True}
        return whole

    def update_recurrent_state(
        self, recurrent_states: Float[Tensor, "row ..."], state_idx: int = 0, **options: Any
    ) -> Float[Tensor, "row ..."]:
        """Replace a state."""
        self.recurrent_states = self.recurrent_states | {state_idx: recurrent_states}
        return recurrent_states


class RecurrentLayer(_Assigning, LinearAttentionLayer):  # type: ignore[misc]
    """Cache layer of a layer without attention."""


class RecurrentAttentionLayer(_Assigning, LinearAttentionAndFullAttentionLayer):  # type: ignore[misc]
    """Cache layer of a layer that has both, attention and a recurrence."""


ASSIGNING = {
    LinearAttentionLayer: RecurrentLayer,
    LinearAttentionAndFullAttentionLayer: RecurrentAttentionLayer,
}


def empty_cache(config: Any) -> Any:
    """Return a cache without a column, with a layer for every one of a model that needs one."""
    cache = DynamicCache(config=config)
    if hasattr(Cache, "is_recording_past"):  # model code of older transformers writes into states in any case
        cache.layers = [
            ASSIGNING[type(layer)](layer.number_of_states) if type(layer) in ASSIGNING else layer
            for layer in cache.layers
        ]
    return cache
