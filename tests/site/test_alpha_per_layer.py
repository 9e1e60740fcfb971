"""One alpha a layer instead of one a head."""

import numpy as np
import pytest

import site_lens as sl
from site_lens.heads.scores import HeadGates
from site_lens.models.base import LensModel
from tests.conftest import Tasks
from tests.tiny_models import random_model, tiny_config
from tests.tiny_tokenizers import tiny_tokenizer

HEADS = sl.SiteConfig(n_steps=10, n_prompts=3, n_shots=2, n_valid=5)
LAYERS = HEADS.replace(alpha_per="layer")


@pytest.fixture(scope="module")
def one_head(tmp_path_factory: pytest.TempPathFactory) -> LensModel:
    """A random model of two layers with a single head each."""
    folder, tokenizer = tmp_path_factory.mktemp("one_head"), tiny_tokenizer("demo")
    config = tiny_config("gpt2", vocab_size=len(tokenizer))
    config.n_head = 1
    random_model(config).save_pretrained(folder)
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
