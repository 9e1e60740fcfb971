"""Hook-free modules: they compute the same, and only where no other hook point is asked for."""

import pytest
import torch
from torch import Tensor

import site_lens as sl
from site_lens.models.bridge import BridgeModel
from site_lens.models.checks import quick_probe
from site_lens.models.hooks import HOOK_NAMES, HookPoint
from tests.conftest import Models
from tests.hosts import EVERY_HOST
from tests.tiny_models import random_model, tiny_config

CONCATENATE = ("bridge falcon", "bridge Falcon-7B", "bridge deepseek_v2", "bridge deepseek_v3")
"""Models whose own attention concatenates keys and values of a prefix, where that of TransformerBridge need not."""


def passes(model: sl.LensModel) -> list[Tensor]:
    """Return z, and logits and gradients of alpha behind a prefix."""
    probe = quick_probe(model)
    alpha = torch.full(model.grid.shape, 0.5, requires_grad=True)
    with torch.enable_grad():
        logits = probe.decode(probe.batch, 1, probe.edits_of(alpha, -1))
        (gradient,) = torch.autograd.grad(logits.log_softmax(-1)[:, 3].sum(), alpha)
    return [model.last_z(probe.batch), logits.detach(), gradient]


@pytest.mark.parametrize("case", [case for case in EVERY_HOST if "bridge" in str(case.values[0])])
def test_hook_free_passes_give_the_numbers_of_passes_through_all_hook_points(
    case: str, hosted: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = hosted(case)
    assert isinstance(model, BridgeModel)
    assert ("concatenates" in model.hooks_needed) if case in CONCATENATE else not model.hooks_needed
    modules = list(model.host.modules())
    free = passes(model)
    assert model.hooks_needed or model._hook_free.is_enough()
    monkeypatch.setattr(model, "_hooks_needed", "asked for")
    hooked = passes(model)
    for ours, theirs in zip(free, hooked, strict=True):
        assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()
    assert all(one is other for one, other in zip(model.host.modules(), modules, strict=True))


def test_in_a_pass_only_the_modules_with_hook_points_of_z_are_those_of_the_bridge(demo: BridgeModel) -> None:
    batch, seen = quick_probe(demo).batch, []

    def look(z: Tensor) -> Tensor:
        modules = demo.host.original_model.modules()
        seen.append([type(module).__name__ for module in modules if hasattr(module, "original_component")])
        assert demo.project(0, z).shape == (len(z), demo.host.cfg.d_model)  # of another layer
        return z

    demo.decode(demo.prefill(batch.without_tail(1)), batch.tokens[:, -1:], [sl.Edit(1, look)])
    assert seen == [["LinearBridge"] * demo.grid.n_layers]


@pytest.mark.parametrize("hook_point", [name for name in HOOK_NAMES if name != "z"])
def test_an_edit_of_another_hook_point_acts_behind_a_prefix(demo: BridgeModel, hook_point: HookPoint) -> None:
    probe = quick_probe(demo)
    edits = [*probe.edits(0.5), sl.Edit(2, lambda activation: 2 * activation, hook_point=hook_point)]
    cached, full = probe.both_ways(1, edits)
    assert probe.gap(cached, full) < 1e-5 < 1e-2 < probe.gap(cached, probe.decode(probe.batch, 1, probe.edits(0.5)))


def test_modules_are_back_and_hooks_are_gone_after_an_error_in_a_pass(demo: BridgeModel) -> None:
    def fail(z: Tensor) -> Tensor:
        raise KeyboardInterrupt

    before, batch = list(demo.host.modules()), quick_probe(demo).batch
    hooks = [len(point.fwd_hooks) for point in demo.hook_points.values()]
    with pytest.raises(KeyboardInterrupt):
        demo.decode(demo.prefill(batch.without_tail(1)), batch.tokens[:, -1:], [sl.Edit(1, fail)])
    assert all(one is other for one, other in zip(demo.host.modules(), before, strict=True))
    assert [len(point.fwd_hooks) for point in demo.hook_points.values()] == hooks


def test_a_module_put_behind_a_bridge_is_not_passed_by(tiny: Models) -> None:
    model = tiny("gpt2")  # whose queries are no module of transformers
    assert isinstance(model, BridgeModel) and model.hooks_needed == ""
    queries, batch = model.host.blocks[0].attn.q, quick_probe(model).batch
    clean, inside = model.last_z(batch), queries.original_component

    class Doubled(torch.nn.Module):
        def forward(self, activation: Tensor) -> Tensor:
            return 2 * inside(activation)

    with model.locked():
        queries.set_original_component(Doubled())
        changed = model.last_z(batch)
        queries.set_original_component(inside)
    assert (changed - clean).abs().max() > 1e-3
    assert torch.equal(model.last_z(batch), clean)


def test_weights_that_differ_from_those_of_transformers_keep_all_hooks_and_the_reason_is_said(
    demo: sl.LensModel,
) -> None:
    hf_model = random_model(tiny_config("gpt2", vocab_size=demo.encoder.vocabulary))
    host = sl.wrap_model(hf_model, tokenizer=demo.encoder.tokenizer, name="split").host
    queries = host.blocks[1].attn.q.original_component
    queries.weight = torch.nn.Parameter(1.5 * queries.weight)  # transformers has one matrix for queries, keys, values
    model = sl.wrap_model(host, tokenizer=demo.encoder.tokenizer, name="changed", check=False)
    assert "logits differ" in model.hooks_needed
    assert quick_probe(model).cached(0.5, 1) < 1e-5  # as the bridge computes it
