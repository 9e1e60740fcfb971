"""One alpha a layer instead of one a head."""

import numpy as np
import pytest
import torch
import transformers

import site_lens as sl
from site_lens.heads.scores import HeadGates
from site_lens.models.base import LensModel
from site_lens.records.assets import DEMO_MODEL
from tests.conftest import Tasks

HEADS = sl.SiteConfig(n_steps=20, n_prompts=8, n_shots=4, n_valid=10)
LAYERS = HEADS.replace(alpha_per="layer")


@pytest.fixture(scope="module")
def one_head(tmp_path_factory: pytest.TempPathFactory) -> LensModel:
    """A random model of two layers with a single head each."""
    folder = tmp_path_factory.mktemp("one_head")
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO_MODEL)
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer), n_layer=2, n_head=1, n_embd=16, n_positions=256, bos_token_id=2, eos_token_id=2
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return sl.load_model(folder, dtype="float32", device="cpu")


@pytest.mark.parametrize("init", [0.5, "random"])
def test_where_layers_have_one_head_both_are_the_same_fit(one_head: LensModel, demo_tasks: Tasks, init: float) -> None:
    task = demo_tasks["antonym"]
    each, shared = (sl.fit_site(one_head, task, config.replace(init=init))["antonym"] for config in (HEADS, LAYERS))
    assert np.array_equal(each.trace.alphas, shared.trace.alphas)
    assert np.array_equal(each.trace.loss, shared.trace.loss)
    assert np.ptp(each.trace.alphas[-1] - each.trace.alphas[0]) > 0


def test_a_warm_start_gives_each_layer_the_mean_of_its_heads(demo: LensModel, demo_tasks: Tasks) -> None:
    warm = HeadGates.constant(demo.grid, 0.0).replace(values=np.linspace(0.1, 0.9, 48).reshape(6, 8))
    fit = sl.fit_site(demo, demo_tasks["antonym"], LAYERS.replace(n_steps=1), warm_starts={"antonym": warm})["antonym"]
    assert np.allclose(fit.trace.alphas[0], warm.values.mean(1, keepdims=True), atol=1e-6)
