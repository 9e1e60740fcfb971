"""Attention samples hold what the model's heads attend to, as the plain module computes it."""

import numpy as np
import torch

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.records.assets import DEMO_MODEL


def test_patterns_are_those_of_the_plain_model(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> None:
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


def test_every_query_token_gives_all_of_its_attention_to_what_came_before(
    demo: LensModel, demo_tasks: dict[str, sl.Task]
) -> None:
    sample = sl.sample_attention(demo, demo_tasks["antonym"], ["L1H1"], n_shots=(0, 1, 5))
    assert sample.n_shots == (0, 1, 5)
    for i in range(3):
        pattern = sample.pattern(i)[0]
        np.testing.assert_allclose(pattern.sum(axis=-1), 1, atol=1e-5)
        assert not np.triu(pattern, 1).any()
    short = len(sample.tokens[0])
    assert not sample.patterns[0, :, short:].any()


def test_a_padded_batch_shows_the_attention_of_each_row_in_its_last_columns(demo: LensModel) -> None:
    ids = demo.encoder.encode(["Q: hot\nA: cold\n\nQ: big\nA:", "Q: hot\nA:"])
    head = [sl.Head(3, 2)]
    both = demo.attention(Batch.of(ids, pad=demo.encoder.pad, device=demo.device), head)
    alone = demo.attention(Batch.of(ids[1:], pad=demo.encoder.pad, device=demo.device), head)
    n = len(ids[1])
    assert (both[1, 0, -n:, -n:] - alone[0, 0]).abs().max() < 1e-5
