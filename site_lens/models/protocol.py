"""Everything the rest of the package knows of a model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from site_lens.core.heads import Head, HeadGrid
from site_lens.core.provenance import ModelIdentity
from site_lens.models.tokens import Encoder


@dataclass(frozen=True, slots=True)
class Batch:
    """Left-padded prompts: every last prompt token stands in the last column."""

    tokens: Int[Tensor, "row pos"]
    lengths: Int[Tensor, " row"]
    """(row): tokens of each prompt, padding not counted."""

    @classmethod
    def of(cls, ids: Sequence[Sequence[int]], *, pad: int, device: torch.device) -> "Batch":
        """Pad lists of token ids on the left."""
        width = max(len(row) for row in ids)
        padded = [[pad] * (width - len(row)) + list(row) for row in ids]
        return cls(torch.tensor(padded, device=device), torch.tensor([len(row) for row in ids], device=device))

    def __len__(self) -> int:
        return len(self.lengths)

    def without_tail(self, n_tokens: int) -> "Batch":
        """Drop the last `n_tokens` columns."""
        return Batch(self.tokens[:, :-n_tokens], self.lengths - n_tokens)


def left_mask(lengths: Int[Tensor, " row"], width: int) -> Int[Tensor, "row pos"]:
    """(row pos): 1 in the last `lengths` columns of `width`, 0 before; made from lengths, never from token ids."""
    columns = torch.arange(width, device=lengths.device)
    return (columns >= (width - lengths)[:, None]).long()


def left_positions(lengths: Int[Tensor, " row"], width: int) -> Int[Tensor, "row pos"]:
    """(row pos): place of each token in its left-padded prompt, from 0; padding has place 0."""
    columns = torch.arange(width, device=lengths.device)
    return (columns - (width - lengths)[:, None]).clamp(min=0)


class Prefix(Protocol):
    """Frozen keys and values of the first tokens of some prompts, left-padded. Using one never changes it."""

    lengths: Int[Tensor, " row"]

    @property
    def width(self) -> int:
        """Columns, padding included."""
        ...

    @property
    def n_bytes(self) -> int:
        """Memory held by the keys and values."""
        ...

    def rows(self, index: Int[Tensor, " chosen"]) -> "Prefix":
        """Choose rows (with repetition, in any order); the padding that none of them needs is cut off."""
        ...


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of one layer's z at one column of the tokens that a call passes through the model.

    `change` takes and returns (row head d_head), float32; it must be pure. The host slices the column out,
    casts, and puts the result back out of place, which keeps autograd intact.
    """

    layer: int
    change: Callable[[Float[Tensor, "row head d_head"]], Float[Tensor, "row head d_head"]]
    column: int = -1


class LensModel(Protocol):
    """A decoder whose per-head outputs z can be read and changed at `blocks.{l}.attn.hook_z`."""

    identity: ModelIdentity
    encoder: Encoder
    device: torch.device

    @property
    def grid(self) -> HeadGrid:
        """The heads of the model."""
        ...

    def last_z(self, batch: Batch) -> Float[Tensor, "row layer head d_head"]:
        """Return z of every head at the last prompt token, float32; computes no logits."""
        ...

    def attention(self, batch: Batch, heads: Sequence[Head]) -> Float[Tensor, "row head query key"]:
        """Return the attention of some heads after the softmax, float32, in the order of the heads.

        Raises:
            ModelError: The model does not show its attention.
        """
        ...

    def prefill(self, *batches: Batch) -> Prefix:
        """Compute keys and values of all tokens of some batches, without gradients and without logits.

        Their rows stand below each other in the prefix, in order.
        """
        ...

    def decode(
        self, prefix: Prefix, tail: Int[Tensor, "row tail"], edits: Sequence[Edit] = ()
    ) -> tuple[Float[Tensor, "row tail vocab"], Prefix]:
        """Run the tokens that follow a prefix, and return their logits (float32) and the grown prefix.

        A tail may be padded on the right: later tokens never change earlier logits.
        """
        ...

    def forward(self, batch: Batch, edits: Sequence[Edit] = ()) -> Float[Tensor, "row vocab"]:
        """Run whole prompts and return the logits at the last token, float32: the plain path, without a cache."""
        ...
