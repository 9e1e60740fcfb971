"""Batches of left-padded prompts, their attention masks and their positions."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor


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
    """(row pos): position of each token in its left-padded prompt, from 0; padding has position 0."""
    columns = torch.arange(width, device=lengths.device)
    return (columns - (width - lengths)[:, None]).clamp(min=0)
