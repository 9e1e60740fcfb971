"""Everything the rest of the package knows of a model."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from site_lens.heads.head_set import Head, HeadGrid
from site_lens.models.identity import ModelIdentity
from site_lens.models.tokenization import Encoder


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


HookPoint = Literal["z", "attn_out", "mlp_out", "residual"]
"""Where in a layer something is read or changed: `z`, the heads' outputs before W_O, (head d_head); `attn_out` and
`mlp_out`, what the two blocks add to the residual stream, and `residual`, the stream behind the layer, (d_model)."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of one layer at one column, or at all columns, of the tokens that a call passes through the model.

    `change` takes and returns (row head d_head) at z and (row d_model) at the other sites, with a `pos` axis behind
    `row` where all columns are changed; float32. It must be pure. The host slices the column out, casts, and puts the
    result back out of place, which keeps autograd intact.
    """

    layer: int
    change: Callable[[Tensor], Tensor]
    column: int | None = -1
    """Column of the tokens of the call; None changes all of them, padding included."""
    hook_point: HookPoint = "z"


class LensModel(Protocol):
    """A decoder whose per-head outputs z can be read and changed at `blocks.{l}.attn.hook_z`."""

    identity: ModelIdentity
    encoder: Encoder
    device: torch.device

    @property
    def grid(self) -> HeadGrid:
        """The heads of the model."""
        ...

    def locked(self) -> AbstractContextManager[None]:
        """Lock the model for this thread for as long as the context lasts; every method does so itself.

        Raises:
            ModelError: Hooks of others hang on the model, or it is not what it was when it was wrapped.
        """
        ...

    def last_z(self, batch: Batch) -> Float[Tensor, "row layer head d_head"]:
        """Return z of every head at the last prompt token, float32; computes no logits."""
        ...

    def last_outputs(self, batch: Batch, hook_point: HookPoint) -> Float[Tensor, "row layer d_model"]:
        """Return what stands at a site other than z of every layer at the last prompt token, float32.

        Raises:
            ModelError: The model does not show it.
        """
        ...

    def project(
        self, layer: int, z: Float[Tensor, "row head d_head"], *, bias: bool = False
    ) -> Float[Tensor, "row d_model"]:
        """Return what heads with these outputs write together, float32: z through W_O, with or without its bias.

        Models that normalise behind attention (Gemma 2 and 3, OLMo 2) add something else to the residual stream.
        """
        ...

    def attention(self, batch: Batch, heads: Sequence[Head]) -> Float[Tensor, "row head query key"]:
        """Return the attention of some heads after the softmax, float32, in the order of the heads.

        Raises:
            ModelError: The model does not show its attention.
        """
        ...

    def prefill(self, *batches: Batch, edits: Sequence[Edit] = ()) -> Prefix:
        """Compute keys and values of all tokens of some batches, without gradients and without logits.

        Their rows stand below each other in the prefix, in order. Edits act on every batch.
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

    def plain_logits(self, prompt: Sequence[int]) -> Float[Tensor, " vocab"]:
        """Return the logits at the last token of a prompt as plain transformers computes them, float32.

        Raises:
            ModelError: There is no plain model to ask; the message says why.
        """
        ...
