"""KV cache of prompt prefixes, in Hugging Face's cache objects.

A cache layer grows by *replacing* its `keys` and `values`, or its recurrent and convolution states, so a shallow copy
of cache and layers is a view that grows without touching the original. Layers with a sliding window keep fewer columns
than the prefix has; states have none.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from site_lens.models.two_part import TwoPart, joined
from site_lens.records.errors import ModelError

KNOWN_LAYERS = (
    "DynamicLayer", "DynamicSlidingWindowLayer", "RecurrentLayer", "RecurrentAttentionLayer", "DummyLayer",
)  # fmt: skip
"""Cache layers of which we know that a shallow copy is a view. DummyLayer holds nothing: its layer has no past, or
reads the keys and values of an earlier one."""
STATES = ("conv_states", "recurrent_states")
"""What a layer without attention keeps: states by number, (row ...) each, some of which may be None."""


class Prefix:
    """Frozen keys and values of the first tokens of some prompts, left-padded. Using one never changes it."""

    def __init__(self, cache: Any, lengths: Int[Tensor, " row"], width: int) -> None:
        unknown = {type(layer).__name__ for layer in cache.layers} - set(KNOWN_LAYERS)
        if unknown:
            raise ModelError(
                f"the model keeps its past in {', '.join(sorted(unknown))}, neither in plain keys and values nor in "
                "states that are replaced; prefix caching is not supported for it"
            )
        self._cache = cache
        self.lengths = lengths
        self.width = width
        """Columns, padding included."""
        self._versions = self._state_versions()

    def was_written_into(self) -> bool:
        """Whether model code has changed recurrent or convolution states in place since this prefix was made."""
        return self._state_versions() != self._versions

    def _state_versions(self) -> list[int]:
        return [part._version for layer in self._cache.layers for part in _states(layer)]

    def _parts(self) -> list[Tensor]:
        """Return all keys and values, and the states of layers without attention."""
        columns = [getattr(layer, name, None) for layer in self._cache.layers for name in ("keys", "values")]
        return [part for part in columns if part is not None] + [p for la in self._cache.layers for p in _states(la)]

    @property
    def n_bytes(self) -> int:
        """Memory of the keys and values, and of the states of layers without attention."""
        return sum(part.nbytes for part in self._parts())

    @property
    def layout(self) -> tuple[Any, ...]:
        """Shapes of all that it holds: prefixes of one layout can be filled with each other's contents."""
        return self.width, *(
            (tuple(part.shape), *(tuple(each.shape) for each in _memory(part))) for part in self._parts()
        )

    def copied(self) -> "Prefix":
        """Return a copy in memory of its own."""
        cache = self.view()
        for layer in cache.layers:
            for name in ("keys", "values"):
                if (part := getattr(layer, name, None)) is not None:
                    setattr(layer, name, part.copied() if isinstance(part, TwoPart) else part.clone())
            _set_states(layer, [layer], lambda states: states[0].clone())
        return Prefix(cache, self.lengths.clone(), self.width)

    def fill(self, other: "Prefix") -> None:
        """Overwrite what it holds, in place, with the contents of another prefix of the same layout."""
        mine, theirs = (
            [prefix.lengths, *(each for part in prefix._parts() for each in _memory(part))] for prefix in (self, other)
        )
        torch._foreach_copy_(mine, theirs)
        self._versions = self._state_versions()

    def widened(self, multiple: int) -> "Prefix":
        """Pad the rows on the left until their columns are a multiple of a number."""
        width = -(-self.width // multiple) * multiple
        return self if width == self.width else _joined([self], self.lengths, width, lambda parts: parts[0])

    def view(self) -> Any:
        """Return a cache that may grow; this prefix stays as it is."""
        cache = copy.copy(self._cache)
        cache.layers = [copy.copy(layer) for layer in self._cache.layers]
        return cache

    def two_part_view(self, times: int = 1) -> Any:
        """Return a cache that may grow, whose keys and values are not copied when it does; see `TwoPart`.

        Its rows are those of the prefix so many times over, one round below the other.
        """
        cache = self.view()
        for layer in cache.layers:
            if _has_columns(layer):
                layer.keys, layer.values = _two_part(layer.keys, times), _two_part(layer.values, times)
        return cache

    def repeated(self, times: int) -> "Prefix":
        """Return the rows so many times over, one round below the other; the rounds share their keys and values."""
        if times == 1:
            return self
        if any(_states(layer) for layer in self._cache.layers):
            return self.rows(torch.arange(len(self.lengths)).repeat(times))
        return Prefix(self.two_part_view(times), self.lengths.repeat(times), self.width)

    def rows(self, index: Int[Tensor, " chosen"] | Int[np.ndarray, " chosen"] | Sequence[int]) -> "Prefix":
        """Choose rows (with repetition, in any order); the padding that none of them needs is cut off."""
        chosen = torch.as_tensor(index, device=self.lengths.device)
        lengths = self.lengths[chosen]
        # First the columns, which is a view, then the rows: a tenth of the time of `keys[index]` and a cut.
        return _joined(
            [self], lengths, int(lengths.max()), lambda parts: parts[0].index_select(0, chosen.to(parts[0].device))
        )

    @staticmethod
    def concat(prefixes: Sequence["Prefix"]) -> "Prefix":
        """Put the rows of several prefixes below each other, padded on the left to the widest."""
        if len(prefixes) == 1 and not any(getattr(layer, "is_sliding", False) for layer in prefixes[0]._cache.layers):
            return prefixes[0]  # as it is; a sliding layer is a view that would keep all of its columns alive
        lengths = torch.cat([prefix.lengths for prefix in prefixes])
        return _joined(prefixes, lengths, max(prefix.width for prefix in prefixes), torch.cat)


def _joined(prefixes: Sequence[Prefix], lengths: Tensor, width: int, join: Callable[[list[Tensor]], Tensor]) -> Prefix:
    """Return one prefix, `width` columns wide, made from some.

    Args:
        prefixes: The prefixes.
        lengths: Tokens of each row.
        width: Its columns.
        join: Takes the same part of all prefixes, (row ...) each, to one with the rows of all or some.
    """
    cache = prefixes[0].view()
    for layer, *same in zip(cache.layers, *(prefix._cache.layers for prefix in prefixes), strict=True):
        _set_states(layer, same, join)
        if getattr(layer, "keys", None) is not None:
            layer.keys = join([_resized(other, other.keys, width) for other in same])
            layer.values = join([_resized(other, other.values, width) for other in same])
            if layer.is_sliding:
                layer.cumulative_length = width  # how many columns went by
    return Prefix(cache, lengths, width)


def _has_columns(layer: Any) -> bool:
    """Whether a cache layer holds keys and values of a token or more."""
    keys = getattr(layer, "keys", None)
    return keys is not None and keys.ndim == 4 and keys.shape[-2] > 0


def _two_part(part: Tensor, times: int) -> TwoPart:
    return part if isinstance(part, TwoPart) and times == 1 else TwoPart(joined(part), times=times)


def _memory(part: Tensor) -> tuple[Tensor, ...]:
    """Return the tensors that a part of a cache lies in."""
    if not isinstance(part, TwoPart):
        return (part,)
    return (part.frozen,) if part.tail is None else (part.frozen, part.tail)


def _states(layer: Any) -> tuple[Tensor, ...]:
    """Return the recurrent and convolution states of a cache layer."""
    return tuple(part for name in STATES for part in getattr(layer, name, {}).values() if part is not None)


def _set_states(layer: Any, sources: Sequence[Any], join: Callable[[list[Tensor]], Tensor]) -> None:
    """Replace each state of a cache layer, if it has any, by what `join` makes of that state of some layers."""
    for name in STATES if hasattr(layer, STATES[0]) else ():
        of_sources = [getattr(source, name) for source in sources]
        states = {
            i: None if of_sources[0][i] is None else join([each[i] for each in of_sources]) for i in of_sources[0]
        }
        setattr(layer, name, states)


def _resized(layer: Any, part: Tensor, width: int) -> Tensor:
    """Cut or pad keys or values, (row head pos d_head), on the left to what a layer keeps of `width` columns."""
    columns = min(width, layer.sliding_window - 1) if layer.is_sliding else width
    have = part.shape[-2]
    return part[..., have - columns :, :] if have >= columns else F.pad(part, (0, 0, columns - have, 0))
