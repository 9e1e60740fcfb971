"""Attention scores on repeated random tokens: induction, previous-token and duplicate-token."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.heads.scores import HeadScores
from site_lens.models.batch import Batch
from site_lens.records.hashing import seed_stream
from site_lens.selectors.context import ComparisonContext, each_task, once
from site_lens.selectors.indirect_effect import on_grid

N_SEQUENCES, N_TOKENS = 32, 50
"""Sequences, and random tokens in each, which are then repeated (Yin and Steinhardt 2025: 1000 of 50; over 32 the means
are stable to about 0.01). A shorter context takes fewer."""

HEADS_AT_ONCE = 2**26
"""Attention weights to hold at a time: heads are looked at in groups of that many numbers."""


@each_task
def induction(context: ComparisonContext, task: str) -> HeadScores:
    """Mean attention from a repeated token to the one behind its first occurrence.

    Reference: Olsson et al., arXiv 2209.11895 (prefix matching).
    """
    return _scores(context, task, "induction", "mean attention to the token behind the same token's first occurrence")


@each_task
def previous_token(context: ComparisonContext, task: str) -> HeadScores:
    """Mean attention to the token before; reference: Elhage et al. 2021."""
    return _scores(context, task, "previous_token", "mean attention to the token before")


@each_task
def duplicate_token(context: ComparisonContext, task: str) -> HeadScores:
    """Mean attention from a repeated token to its first occurrence; reference: Wang et al., arXiv 2211.00593."""
    return _scores(context, task, "duplicate_token", "mean attention to the same token's first occurrence")


def _scores(context: ComparisonContext, task: str, name: str, meaning: str) -> HeadScores:
    """Give every task the same scores: they belong to the model."""
    measured, n_groups = _measured(context)
    meaning += " on repeated random tokens, in [0, 1]; the same for every task"
    return context.head_scores(task, name, measured[name], meaning, n_forwards=N_SEQUENCES * n_groups, n_labelled=0)


@once
def _measured(context: ComparisonContext) -> tuple[dict[str, np.ndarray], int]:
    """Measure all three on the same sequences, (layer head) each; and count how often these were passed."""
    model, grid = context.model, context.model.grid
    tokens = repeated_tokens(context)
    width, n_before = tokens.shape[1], len(model.encoder.begin)
    batch = Batch.of(tokens.tolist(), pad=model.encoder.pad, device=model.device)
    heads = list(grid)
    at_once = max(1, HEADS_AT_ONCE // (len(tokens) * width**2))
    parts = [
        token_scores(model.attention(batch, heads[start : start + at_once]), n_before)
        for start in range(0, len(heads), at_once)
    ]
    return {name: on_grid(grid, torch.cat([part[name] for part in parts])) for name in parts[0]}, len(parts)


def repeated_tokens(context: ComparisonContext) -> np.ndarray:
    """(sequence token): BOS where the model has one, random ordinary tokens, and the same tokens again."""
    encoder = context.model.encoder
    stream = seed_stream(context.config.seed, "repeated tokens")
    n = min(N_TOKENS, (encoder.n_ctx - len(encoder.begin)) // 2)
    drawn = stream.choice(encoder.ordinary_tokens, (N_SEQUENCES, n))
    begin = np.full((N_SEQUENCES, len(encoder.begin)), encoder.begin, dtype=np.int64)
    return np.concatenate([begin, drawn, drawn], axis=1)


def token_scores(patterns: Float[Tensor, "row head query key"], n_before: int) -> dict[str, Float[Tensor, " head"]]:
    """Read the three scores off attention to sequences that are `n_before` tokens and then the same tokens twice."""
    n = (patterns.shape[-1] - n_before) // 2
    query = torch.arange(n_before + n, n_before + 2 * n, device=patterns.device)
    every = torch.arange(1, patterns.shape[-1], device=patterns.device)
    return {
        "induction": patterns[:, :, query, query - n + 1].mean((0, 2)),
        "previous_token": patterns[:, :, every, every - 1].mean((0, 2)),
        "duplicate_token": patterns[:, :, query, query - n].mean((0, 2)),
    }
