"""Attention samples hold what the model's heads attend to, as the plain module computes it."""

import numpy as np
import torch

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.records.assets import DEMO_MODEL
from tests.conftest import Tasks


def test_patterns_are_those_of_the_plain_model(demo: LensModel, demo_tasks: Tasks) -> None:
    import transformers

    sample = sl.sample_attention(demo, demo_tasks["antonym"], ["L2H3", "L0H1", "L2H0"])
    plain = transformers.AutoModelForCausalLM.from_pretrained(
        DEMO_MODEL, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    for i, tokens in enumerate(sample.tokens):
        ids = demo.encoder.encode(["".join(tokens).removeprefix("<s>")])
        with torch.no_grad():
            layers = plain(torch.tensor(ids), output_attentions=True).attentions
        expected = np.stack([layers[layer][0, head].numpy() for layer, head in ((2, 3), (0, 1), (2, 0))])
        assert np.abs(sample.pattern(i) - expected).max() < 1e-5
