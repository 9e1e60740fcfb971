"""Attention scores: those of TransformerLens' detection patterns, and 1 for a head that does nothing else."""

import pytest
import torch
from transformer_lens import head_detector

import site_lens as sl
from site_lens.selectors.attention_scores import induction, previous_token, token_scores
from tests.conftest import Bench

N = 9
DETECTED = {
    "induction": head_detector.get_induction_head_detection_pattern,
    "previous_token": head_detector.get_previous_token_head_detection_pattern,
    "duplicate_token": head_detector.get_duplicate_token_head_detection_pattern,
}


@pytest.mark.parametrize("name", DETECTED)
def test_scores_are_the_attention_on_the_detection_patterns_of_transformer_lens(name: str) -> None:
    tokens = torch.arange(N).repeat(2)[None]
    drawn = torch.randn(4, 3, 2 * N, 2 * N, generator=torch.Generator().manual_seed(0))
    patterns = drawn.masked_fill(torch.ones(2 * N, 2 * N).triu(1).bool(), -torch.inf).softmax(-1)
    looked_for = DETECTED[name](tokens).float()
    counted = looked_for.sum(-1) > 0  # queries that have something to look at
    plain = (patterns * looked_for).sum(-1)[:, :, counted].mean((0, 2))
    assert torch.allclose(token_scores(patterns, 0)[name], plain, atol=1e-6)


def test_the_planted_previous_token_head_and_the_induction_heads_behind_the_first_layers_of_the_demo_model_are_found(
    planted_bench: sl.ComparisonContext, bench: Bench
) -> None:
    planted = previous_token(planted_bench)["direct_u"]
    assert planted.top(1) == sl.HeadSet.of(planted.grid, ["L0H0"])
    scores = induction(bench(sl.ComparisonConfig(), "antonym"))["antonym"]
    assert scores.values.max() > 0.2
    assert scores.top(1) <= ~sl.HeadSet.of(scores.grid, [f"L0H{i}" for i in range(8)])
