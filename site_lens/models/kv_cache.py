"""KV cache of prompt prefixes, in Hugging Face's cache objects.

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


class Prefix:
    """Frozen keys and values of the first tokens of some prompts, left-padded. Using one never changes it."""

    def __init__(self, cache: Any, lengths: Int[Tensor, " row"], width: int) -> None:
        unknown = {type(layer).__name__ for layer in cache.layers} - set(KNOWN_LAYERS)
        if unknown:
            raise ModelError(
                f"the model keeps its past in {', '.join(sorted(unknown))}, not in plain keys and values; "
                "prefix caching is not supported for it"
            )
        self._cache = cache
        self.lengths = lengths
        self.width = width
        """Columns, padding included."""

    @property
    def n_bytes(self) -> int:
        """Memory of the keys and values."""
        return sum(part.nbytes for layer in self._cache.layers for part in (layer.keys, layer.values))

    def view(self) -> Any:
        """Return a cache that may grow; this prefix stays as it is."""
        cache = copy.copy(self._cache)
        cache.layers = [copy.copy(layer) for layer in self._cache.layers]
        return cache

    def rows(self, index: Int[Tensor, " chosen"]) -> "Prefix":
        """Choose rows (with repetition, in any order); the padding that none of them needs is cut off."""
        lengths = self.lengths[index]
        width = int(lengths.max())
        cache = self.view()
        for layer in cache.layers:
            # First the columns, which is a view, then the rows: a tenth of the time of `keys[index]` and a cut.
            layer.keys, layer.values = (
                _resized(layer, part, width).index_select(0, index.to(part.device))
                for part in (layer.keys, layer.values)
            )
        return Prefix(cache, lengths, width)._with_length()

    @classmethod
    def concat(cls, prefixes: Sequence["Prefix"]) -> "Prefix":
        """Put the rows of several prefixes below each other, padded on the left to the widest."""
        if len(prefixes) == 1 and not any(layer.is_sliding for layer in prefixes[0]._cache.layers):
            return prefixes[0]  # as it is; a sliding layer is a view that would keep all of its columns alive
        width = max(prefix.width for prefix in prefixes)
        cache = prefixes[0].view()
        for layer, *same in zip(cache.layers, *(prefix._cache.layers for prefix in prefixes), strict=True):
            layer.keys = torch.cat([_resized(other, other.keys, width) for other in same])
            layer.values = torch.cat([_resized(other, other.values, width) for other in same])
        return cls(cache, torch.cat([prefix.lengths for prefix in prefixes]), width)._with_length()

    def _with_length(self) -> "Prefix":
        """Tell layers with a sliding window how many columns went by."""
        for layer in self._cache.layers:
            if layer.is_sliding:
                layer.cumulative_length = self.width
        return self


def _resized(layer: Any, part: Tensor, width: int) -> Tensor:
    """Cut or pad keys or values, (row head pos d_head), on the left to what a layer keeps of `width` columns."""
    columns = min(width, layer.sliding_window - 1) if layer.is_sliding else width
    have = part.shape[-2]
    return part[..., have - columns :, :] if have >= columns else F.pad(part, (0, 0, columns - have, 0))
