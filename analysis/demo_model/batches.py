"""Batches of training sequences: padded tokens, their loss weights and what may attend to what."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.demo_model.mixture import Kind, Mixture
from analysis.demo_model.recipe import Recipe
from analysis.demo_model.sequences import TrainingSequence
from analysis.demo_model.working_copy import BLOCKED, causal_mask


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences padded on the right; a causal model never looks at the padding."""

    ids: Tensor
    weights: Tensor
    mask: Tensor
    """What is added to attention scores."""

    @classmethod
    def of(cls, sequences: Sequence[TrainingSequence], *, pad: int, mixed_mask: bool = False) -> "Batch":
        """Pad sequences to the longest."""
        n_tokens = max(len(sequence.ids) for sequence in sequences)

        def padded(rows: Iterator[Sequence[float]], fill: float) -> Tensor:
            return torch.tensor([[*row, *[fill] * (n_tokens - len(row))] for row in rows])

        mask = causal_mask(n_tokens, torch.device("cpu"))
        if mixed_mask:
            examples = padded((sequence.examples for sequence in sequences), -2)
            in_query = padded((sequence.in_query for sequence in sequences), False)
            mask = _query_mask(examples, in_query)
        ids = padded((sequence.ids for sequence in sequences), pad)
        return cls(ids, padded((sequence.weights for sequence in sequences), 0.0), mask)

    def to(self, device: torch.device) -> "Batch":
        """Move to a device."""
        return Batch(self.ids.to(device), self.weights.to(device), self.mask.to(device))


def _query_mask(examples: Tensor, in_query: Tensor) -> Tensor:
    """Let tokens of queries attend to their own example and BOS alone, so that the task enters behind the query."""
    same = (examples[:, :, None] == examples[:, None, :]) | (examples[:, None, :] == -1)
    n_tokens = examples.shape[1]
    causal = torch.ones(n_tokens, n_tokens).tril().bool()
    allowed = causal & (same | ~in_query.bool()[:, :, None])
    return torch.zeros(allowed.shape, dtype=torch.bfloat16).masked_fill(~allowed, BLOCKED)[:, None]


def batches_of_step(step: int, recipe: Recipe, mixture: Mixture, rng: random.Random) -> dict[Kind, Batch]:
    """Draw the batches of a step, one of each kind."""
    counts = dict(recipe.batch if step < recipe.late_from else recipe.late_batch)
    if step < recipe.n_early:
        freed = counts.pop("long", 0)
        counts["mapping"] = counts.get("mapping", 0) + freed
        counts["repeat"] = counts.get("repeat", 0) + freed // 2
    found: dict[Kind, Batch] = {}
    for kind, count in counts.items():
        restricted = recipe.mixed_mask and kind != "repeat" and rng.random() < 0.5
        drawn = [mixture.draw(kind, rng) for _ in range(count)]
        found[kind] = Batch.of(drawn, pad=mixture.tokenizer.pad_token_id, mixed_mask=restricted)
    return found
