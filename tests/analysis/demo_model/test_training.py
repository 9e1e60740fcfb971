import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from analysis.demo_model.mixture import Mixture
from analysis.demo_model.recipe import Recipe
from analysis.demo_model.training import LOG_NAME, STATE_NAME, Run, build_model, train
from analysis.demo_model.working_copy import causal_mask, working_copy

SMALL = Recipe(
    n_steps=20,
    n_layers=2,
    d_model=32,
    d_mlp=64,
    n_heads=4,
    n_key_value_heads=2,
    d_head=8,
    n_early=0,
    batch={"short": 8, "medium": 4, "mapping": 2, "repeat": 2},
    n_warmup=4,
    learning_rate=1e-2,
)


@pytest.fixture(scope="module")
def mixture() -> Mixture:
    return Mixture()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def trained(recipe: Recipe, mixture: Mixture, folder: Path | None = None) -> Run:
    run = Run(recipe, mixture)
    train(run, folder=folder)
    return run


def test_twenty_steps_lower_the_loss_and_write_a_model_that_loads(mixture: Mixture, tmp_path: Path) -> None:
    first = trained(replace(SMALL, n_steps=1), mixture)
    run = trained(replace(SMALL, mixed_mask=True), mixture, tmp_path)
    assert run.log[-1]["step"] == SMALL.n_steps
    assert run.log[-1]["loss_short"] < first.log[-1]["loss_short"] - 0.2
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    ids = torch.tensor([AutoTokenizer.from_pretrained(tmp_path)("Q: hot\nA:").input_ids])
    torch.testing.assert_close(loaded(ids).logits, run.model(ids).logits, atol=0.05, rtol=0.05)
    lines = (tmp_path / LOG_NAME).read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0])["recipe"]["mixed_mask"] is True
    assert json.loads(lines[-1]) == run.log[-1]


def test_a_run_that_was_taken_up_again_ends_like_one_without_a_pause(mixture: Mixture, tmp_path: Path) -> None:
    recipe = replace(SMALL, n_steps=6)
    whole = trained(recipe, mixture)
    before = Run(recipe, mixture)
    for _ in range(3):
        before.advance()
    before.keep(tmp_path / STATE_NAME)
    after = Run(recipe, mixture)
    after.take_up(tmp_path / STATE_NAME)
    assert after.step == 3
    train(after)
    for expected, found in zip(whole.model.parameters(), after.model.parameters(), strict=True):
        assert torch.equal(found, expected)
    assert {**after.log[-1], "seconds": 0} == {**whole.log[-1], "seconds": 0}


def test_the_working_copy_computes_what_the_model_does(mixture: Mixture) -> None:
    model = build_model(SMALL, mixture.tokenizer)
    copied = working_copy(model).float()
    copied.load_state_dict(model.state_dict())
    ids = torch.randint(3, 1000, (2, 70), generator=torch.Generator().manual_seed(0))
    mask = causal_mask(70, ids.device).float()
    expected, found = model(ids).logits, copied(ids, attention_mask=mask).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    for logits in (expected, found):
        logits[0, -1].logsumexp(-1).backward()
    for (name, weight), other in zip(model.named_parameters(), copied.parameters(), strict=True):
        assert weight.grad is not None and other.grad is not None
        torch.testing.assert_close(other.grad, weight.grad, atol=1e-5, rtol=1e-3, msg=name)
