"""Backward rules: laws of GIM and RelP on models where they are known, and models on which they cannot act."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import site_lens as sl
from site_lens.models.backward_rules import GIM, RELP, BackwardRules, backward_rules
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.models.hooks import Edit, HookPoint
from site_lens.records.errors import ModelError
from tests.conftest import Models
from tests.hooked_transformers import ARCHITECTURES as HOOKED
from tests.tiny_models import random_model, tiny_config
from tests.tiny_tokenizers import tiny_tokenizer

BATCH = Batch.of([[5, 6, 7, 8, 9], [9, 3, 3, 5, 11]], pad=0, device=torch.device("cpu"))
FLAT = 1e8
"""Number under the root of a norm beside which everything else is nothing: such a norm is linear."""
THROUGH = BackwardRules(softmax="gradient", linear_activations=True)


def saved(folder: Path, config: Any, change: Callable[[Any], None]) -> LensModel:
    """Load a random model of a config whose weights are changed."""
    model, tokenizer = random_model(config), tiny_tokenizer("demo")
    with torch.no_grad():
        change(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return sl.load_model(folder, dtype="float32", device="cpu")


def config_of(kind: str, **changes: Any) -> Any:
    config = tiny_config(kind, vocab_size=len(tiny_tokenizer("demo")))
    config.update(changes)
    return config


def widen_norms(model: Any) -> None:
    """Undo the division by the root of FLAT."""
    for module in model.modules():
        if "norm" in type(module).__name__.lower():
            module.weight.mul_(FLAT**0.5)


def gradient(
    model: LensModel, rules: BackwardRules | None, layer: int, hook_point: HookPoint = "z", column: int | None = -1
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a value, what stands for its gradient, and the logit that it is the gradient of, one a row."""
    kept: list[Tensor] = []

    def change(old: Tensor) -> Tensor:
        kept[:] = [old.detach(), torch.zeros_like(old, requires_grad=True)]
        return old + kept[1]

    with backward_rules(model, rules) if rules else nullcontext():
        logit = model.forward(BATCH, [Edit(layer, change, column=column, hook_point=hook_point)])[:, 7]
        (found,) = torch.autograd.grad(logit.sum(), kept[1])
    return kept[0], found, logit.detach()


def relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> LensModel:
    """A llama with linear norms, even attention, and MLPs that write nothing: z goes to the logits by sums alone."""

    def change(model: Any) -> None:
        widen_norms(model)
        for layer in model.model.layers:
            layer.self_attn.q_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()

    return saved(tmp_path_factory.mktemp("linear"), config_of("llama", rms_norm_eps=FLAT), change)


def test_where_z_goes_to_the_logits_by_sums_alone_relp_is_the_gradient_and_gim_in_the_last_layer(
    linear: LensModel,
) -> None:
    for layer in range(2):
        plain = gradient(linear, None, layer)[1]
        assert relative(gradient(linear, RELP, layer)[1], plain) < 1e-4
        assert relative(gradient(linear, THROUGH, layer)[1], plain) < 1e-4
    assert relative(gradient(linear, GIM, 1)[1], gradient(linear, None, 1)[1]) < 1e-4


def test_gim_halves_what_goes_through_the_values_of_a_later_layer(linear: LensModel) -> None:
    plain = gradient(linear, None, 0)[1]
    whole = gradient(linear, replace(GIM, halve_attention=False), 0)[1]
    assert relative(whole, plain) < 1e-4
    zeroed = Edit(1, torch.zeros_like)  # the last layer's heads write nothing: what is left goes past them
    shift = torch.zeros(2, 4, 8, requires_grad=True)
    logit = linear.forward(BATCH, [Edit(0, lambda z: z + shift), zeroed])[:, 7]
    (direct,) = torch.autograd.grad(logit.sum(), shift)
    assert relative(gradient(linear, GIM, 0)[1], (direct + plain) / 2) < 1e-4
    assert relative(direct, plain) > 0.01


def test_a_softmax_passes_on_the_gradient_of_one_at_a_temperature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(model: Any) -> None:
        widen_norms(model)
        for layer in model.model.layers:
            layer.mlp.down_proj.weight.zero_()
            layer.self_attn.q_proj.weight.mul_(300)  # sharp attention, of which temperature makes something else

    model = saved(tmp_path, config_of("llama", rms_norm_eps=FLAT), change)
    plain = gradient(model, None, 0)[1]
    rules = BackwardRules(softmax="temperature")
    assert relative(gradient(model, replace(rules, temperature=1.0), 0)[1], plain) < 1e-5
    found, softmax = gradient(model, rules, 0)[1], torch.nn.functional.softmax
    assert relative(found, plain) > 1e-3

    def hot(scores: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
        as_if = 2 * softmax(scores / 2, dim=dim, dtype=dtype)
        return softmax(scores, dim=dim, dtype=dtype).detach() + as_if - as_if.detach()

    monkeypatch.setattr(torch.nn.functional, "softmax", hot)
    assert relative(found, gradient(model, None, 0)[1]) < 1e-5


def test_relevance_is_conserved_where_a_model_has_no_biases(tiny: Models) -> None:
    for kind in ("llama", "qwen3", "gemma3"):
        stream, coefficients, logit = gradient(tiny(kind), RELP, 0, "residual", None)
        assert relative((stream * coefficients).sum((1, 2)), logit) < 1e-3, kind
        plain = gradient(tiny(kind), None, 0, "residual", None)[1]
        assert relative((stream * plain).sum((1, 2)), logit) > 0.01, kind


@pytest.mark.parametrize("kind", ["qwen3", "gpt2", "gemma2", "bloom"])
def test_rules_leave_the_forward_pass_as_it_is(tiny: Models, kind: str) -> None:
    model = tiny(kind)
    plain = gradient(model, None, 0)
    for rules in (GIM, RELP, THROUGH):
        z, found, logit = gradient(model, rules, 0)
        assert torch.allclose(logit, plain[2], atol=1e-4)
        assert torch.allclose(z, plain[0], atol=1e-5)
        assert found.isfinite().all()
        assert relative(found, plain[1]) > 1e-3


def test_a_hooked_transformer_follows_the_rules_as_a_bridge_does(hosted: Models) -> None:
    for kind in HOOKED:  # nothing under TransformerLens 4
        bridge, hooked = hosted(f"bridge {kind}"), hosted(f"hooked {kind}")
        for rules in (GIM, RELP, THROUGH):
            for layer in range(2):
                found, expected = (gradient(model, rules, layer)[1] for model in (hooked, bridge))
                assert relative(found, expected) < 1e-3, (kind, rules, layer)


def test_a_model_that_does_not_show_what_the_rules_need_or_shows_a_copy_is_refused_and_left_as_it_was(
    tiny: Models,
) -> None:
    for kind in ("mixtral", "gemma4", "lfm2", "opt"):
        before = tiny(kind).forward(BATCH)
        with pytest.raises(ModelError):
            gradient(tiny(kind), GIM, 0)
        assert torch.equal(tiny(kind).forward(BATCH), before), kind
    assert gradient(tiny("opt"), THROUGH, 0)[1].isfinite().all()  # rules that leave attention alone may act
