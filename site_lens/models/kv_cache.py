"""Prefixes held in Hugging Face's cache objects.

A cache layer grows by *replacing* its `keys` and `values` by longer ones, so a shallow copy of cache and layers is a
view that grows without touching the original. Layers with a sliding window keep fewer columns than the prefix has.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from site_lens.records.errors import ModelError

KNOWN_LAYERS = ("DynamicLayer", "DynamicSlidingWindowLayer")
"""Cache layers of which we know that a shallow copy is a view."""


class CachePrefix:
    """Keys and values of left-padded prompts in a Hugging Face cache."""

    def __init__(self, cache: Any, lengths: Int[Tensor, " row"], width: int) -> None:
        strangers = {type(layer).__name__ for layer in cache.layers} - set(KNOWN_LAYERS)
        if strangers:
            raise ModelError(
                f"the model keeps its past in {', '.join(sorted(strangers))}, not in plain keys and values; "
                "prefix caching is not supported for it"
            )
        self._cache = cache
        self.lengths = lengths
        self._width = width

    @property
    def width(self) -> int:
        """Columns, padding included."""
        return self._width

    @property
    def n_bytes(self) -> int:
        """Memory held by the keys and values."""
        return sum(part.numel() * part.element_size() for layer in self._cache.layers for part in _parts(layer))

    def view(self) -> Any:
        """Return a cache that may grow; this prefix stays as it is."""
        cache = copy.copy(self._cache)
        cache.layers = [copy.copy(layer) for layer in self._cache.layers]
        return cache

    def rows(self, index: Int[Tensor, " chosen"]) -> "CachePrefix":
        """Choose rows; the padding that none of them needs is cut off."""
        lengths = self.lengths[index]
        width = int(lengths.max())
        cache = self.view()
        for layer in cache.layers:
            columns = _columns(layer, width)
            # First the columns, which is a view, then the rows: a tenth of the time of `part[index]` and a cut.
            chosen = [_fit(part, columns).index_select(0, index.to(part.device)) for part in _parts(layer)]
            _set_parts(layer, chosen, width)
        return CachePrefix(cache, lengths, width)

    @classmethod
    def concat(cls, prefixes: Sequence["CachePrefix"]) -> "CachePrefix":
        """Put the rows of several prefixes below each other, padded on the left to the widest."""
        if len(prefixes) == 1 and not any(layer.is_sliding for layer in prefixes[0]._cache.layers):
            return prefixes[0]  # as it is; a sliding layer is a view that would keep all of its columns alive
        width = max(prefix.width for prefix in prefixes)
        cache = prefixes[0].view()
        for i, layer in enumerate(cache.layers):
            columns = _columns(layer, width)
            stacks = zip(*(_parts(prefix._cache.layers[i]) for prefix in prefixes), strict=True)
            _set_parts(layer, [torch.cat([_fit(part, columns) for part in stack]) for stack in stacks], width)
        return cls(cache, torch.cat([prefix.lengths for prefix in prefixes]), width)


def _parts(layer: Any) -> tuple[Tensor, Tensor]:
    return layer.keys, layer.values


def _set_parts(layer: Any, parts: Sequence[Tensor], width: int) -> None:
    layer.keys, layer.values = parts
    if layer.is_sliding:
        layer.cumulative_length = width


def _columns(layer: Any, width: int) -> int:
    """Columns that a layer keeps of a prefix `width` columns wide."""
    return min(width, layer.sliding_window - 1) if layer.is_sliding else width


def _fit(part: Tensor, columns: int) -> Tensor:
    """Cut or pad (row head pos d_head) on the left to `columns` columns."""
    have = part.shape[-2]
    return part[..., have - columns :, :] if have >= columns else F.pad(part, (0, 0, columns - have, 0))
