"""HookedTransformer, which TransformerLens has up to 3.9, as a host."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from site_lens.models.base import LensModel


class HookedTransformerModel(LensModel):
    """A `HookedTransformer` as a host; make one with `wrap_model`."""

    def _write(self, layer: int, z: Float[Tensor, "row head d_head"]) -> Float[Tensor, "row d_model"]:
        attention = self.host.blocks[layer].attn
        written: Tensor = torch.einsum("rhd,hdm->rm", z.to(attention.W_O), attention.W_O) + attention.b_O
        return written

    def _empty_cache(self, n_rows: int) -> Any:
        from transformers import DynamicCache

        cfg = self.host.cfg
        cache = DynamicCache()
        shape = (n_rows, cfg.n_key_value_heads or cfg.n_heads, 0, cfg.d_head)
        for layer, block in enumerate(self.host.blocks):  # which may stand on different devices
            nothing = torch.empty(shape, dtype=cfg.dtype, device=next(block.parameters()).device)
            cache.update(nothing, nothing, layer)
        return cache

    def _logits(self, tokens: Tensor, mask: Tensor, positions: Tensor, cache: Any | None, last_only: bool) -> Tensor:
        n_new = tokens.shape[1]
        # HookedTransformer counts positions from the mask itself; what is masked does not move them past the context.
        new = mask[:, -n_new:] * (positions < self.encoder.n_ctx)
        past = None if cache is None else _Cache(cache, mask[:, :-n_new])
        with _last_column(self.host.unembed) if last_only else nullcontext():
            logits: Tensor = self.host(tokens, attention_mask=new, past_kv_cache=past)
        return logits


@dataclass(frozen=True, slots=True)
class _Cache:
    """A Hugging Face cache as HookedTransformer asks for it."""

    cache: Any
    mask: Int[Tensor, "row pos"]

    def __getitem__(self, layer: int) -> "_Layer":
        return _Layer(self.cache.layers[layer])

    def append_attention_mask(self, new: Int[Tensor, "row new"]) -> Int[Tensor, "row pos"]:
        return torch.cat([self.mask, new], dim=1)


CACHED_TO_TOKENS = "row head pos d_head -> row pos head d_head"
TOKENS_TO_CACHED = "row pos head d_head -> row head pos d_head"


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer of it: keys and values are (row pos head d_head) here, (row head pos d_head) in the cache."""

    layer: Any

    @property
    def past_keys(self) -> Float[Tensor, "row pos head d_head"]:
        keys: Tensor = rearrange(self.layer.keys, CACHED_TO_TOKENS)
        return keys

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        all_keys, all_values = self.layer.update(rearrange(keys, TOKENS_TO_CACHED), rearrange(values, TOKENS_TO_CACHED))
        return rearrange(all_keys, CACHED_TO_TOKENS), rearrange(all_values, CACHED_TO_TOKENS)


@contextmanager
def _last_column(unembed: torch.nn.Module) -> Iterator[None]:
    """Give the unembedding the last column alone: logits of whole prompts over a large vocabulary fill the memory."""
    handle = unembed.register_forward_pre_hook(lambda module, inputs: inputs[0][:, -1:])
    try:
        yield
    finally:
        handle.remove()
