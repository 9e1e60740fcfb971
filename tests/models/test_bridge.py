"""What every model must do, whatever its architecture (float32)."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

import site_lens as sl
from site_lens.models.protocol import Batch, Edit, LensModel

KINDS = ["gpt2", "llama", "qwen2", "gemma2", "demo"]
PROMPTS = [
    "Q: hot\nA: cold\n\nQ: big\nA:",
    "Q: dog, cat, red\nA:",
    "Q: old\nA: young\n\nQ: day\nA: night\n\nQ: good\nA: bad\n\nQ: full\nA: empty\n\nQ: rich\nA:",
]
"""Of different lengths; the last is longer than the sliding window of the small Gemma-2."""


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest, tiny: Callable[[str], LensModel], demo: LensModel) -> LensModel:
    return demo if request.param == "demo" else tiny(request.param)


def batch_of(model: LensModel, prompts: Sequence[str] = PROMPTS) -> Batch:
    return Batch.of(model.encoder.encode(prompts), pad=model.encoder.pad, device=model.device)


def random_edits(model: LensModel, alpha: Tensor, column: int) -> list[Edit]:
    generator = torch.Generator().manual_seed(1)
    embedding = torch.randn((*model.grid.shape, model.identity.d_head), generator=generator)

    def change(layer: int) -> Callable[[Tensor], Tensor]:
        a = alpha[layer][:, None]
        return lambda z: (1 - a) * z + a * embedding[layer]

    return [Edit(layer, change(layer), column) for layer in range(model.grid.n_layers)]


def test_cached_logits_equal_full_logits(model: LensModel) -> None:
    batch = batch_of(model)
    logits, _ = model.decode(model.prefill(batch.without_tail(1)), batch.tokens[:, -1:])
    assert (logits[:, -1] - model.forward(batch)).abs().max() < 1e-4


def test_cached_logits_and_gradients_equal_full_ones_under_injection(model: LensModel) -> None:
    batch = batch_of(model)
    prefix = model.prefill(batch.without_tail(1))
    found = {}
    for way in ("cached", "full"):
        alpha = torch.full(model.grid.shape, 0.3, requires_grad=True)
        edits = random_edits(model, alpha, column=-1)
        logits = (
            model.decode(prefix, batch.tokens[:, -1:], edits)[0][:, -1]
            if way == "cached"
            else model.forward(batch, edits)
        )
        (gradient,) = torch.autograd.grad(logits.logsumexp(-1).sum() + logits[:, 7].sum(), alpha)
        found[way] = logits.detach(), gradient
    assert (found["cached"][0] - found["full"][0]).abs().max() < 1e-4
    largest = found["full"][1].abs().max()
    assert (found["cached"][1] - found["full"][1]).abs().max() / largest < 1e-5


def test_a_tail_of_several_tokens_gives_the_same_logits_at_each(model: LensModel) -> None:
    batch = batch_of(model)
    logits, _ = model.decode(model.prefill(batch.without_tail(3)), batch.tokens[:, -3:])
    for back in (1, 2, 3):
        shorter = batch if back == 1 else batch.without_tail(back - 1)
        assert (logits[:, -back] - model.forward(shorter)).abs().max() < 1e-4


def test_a_padded_batch_gives_what_prompts_give_alone(model: LensModel) -> None:
    together = model.forward(batch_of(model))
    z = model.last_z(batch_of(model))
    for i, prompt in enumerate(PROMPTS):
        assert (together[i] - model.forward(batch_of(model, [prompt]))[0]).abs().max() < 1e-4
        assert (z[i] - model.last_z(batch_of(model, [prompt]))[0]).abs().max() < 1e-4


def test_using_a_prefix_does_not_change_it(model: LensModel) -> None:
    batch = batch_of(model)
    prefix = model.prefill(batch.without_tail(1))
    first, grown = model.decode(prefix, batch.tokens[:, -1:])
    model.decode(grown, batch.tokens[:, -1:])
    again, _ = model.decode(prefix, batch.tokens[:, -1:])
    assert torch.equal(first, again)
    assert grown.width == prefix.width + 1


def test_rows_of_a_prefix_may_be_chosen_repeated_and_reordered(model: LensModel) -> None:
    batch = batch_of(model)
    prefix = model.prefill(batch.without_tail(1))
    index = torch.tensor([1, 0, 1])
    logits, _ = model.decode(prefix.rows(index), batch.tokens[index, -1:])
    assert (logits[:, -1] - model.forward(batch)[index]).abs().max() < 1e-4
    assert prefix.rows(torch.tensor([1])).width == int(prefix.lengths[1])


def test_batches_of_different_width_make_one_prefix(model: LensModel) -> None:
    narrow, wide = batch_of(model, PROMPTS[:2]), batch_of(model, PROMPTS[2:])
    prefix = model.prefill(narrow.without_tail(1), wide.without_tail(1))
    last = torch.cat([narrow.tokens[:, -1:], wide.tokens[:, -1:]])
    logits, _ = model.decode(prefix, last)
    assert (logits[:, -1] - model.forward(batch_of(model))).abs().max() < 1e-4


def test_last_z_is_what_the_hook_point_carries(model: LensModel) -> None:
    batch = batch_of(model, PROMPTS[:1])
    names = [f"blocks.{layer}.attn.hook_z" for layer in range(model.grid.n_layers)]
    _, cache = model.bridge.run_with_cache(batch.tokens, names_filter=names)  # type: ignore[attr-defined]
    expected = torch.stack([cache[name][:, -1] for name in names], dim=1)
    assert (model.last_z(batch) - expected).abs().max() < 1e-5


def test_an_edit_sees_and_sets_z_at_its_column_only(model: LensModel) -> None:
    batch = batch_of(model)
    seen = {}

    def look(z: Tensor) -> Tensor:
        seen["z"] = z.detach()
        return z

    model.forward(batch, [Edit(1, look)])
    assert (seen["z"] - model.last_z(batch)[:, 1]).abs().max() < 1e-5
    elsewhere = model.forward(batch, [Edit(0, torch.zeros_like, column=-2)])
    assert (elsewhere - model.forward(batch)).abs().max() > 1e-3  # it reaches the last token through attention
    assert (elsewhere - model.forward(batch, [Edit(0, torch.zeros_like)])).abs().max() > 1e-3


def test_two_edits_of_one_layer_act_one_after_the_other(model: LensModel) -> None:
    batch = batch_of(model)
    twice = model.forward(batch, [Edit(0, lambda z: z + 1), Edit(0, lambda z: 2 * z)])
    once = model.forward(batch, [Edit(0, lambda z: 2 * (z + 1))])
    assert (twice - once).abs().max() < 1e-5


def test_an_edit_of_the_wrong_shape_is_refused_with_both_shapes(model: LensModel) -> None:
    with pytest.raises(sl.InputError, match=r"returned shape .*; z here is \(row head d_head\)"):
        model.forward(batch_of(model), [Edit(0, lambda z: z[:, :1])])


def test_hooks_are_gone_after_use_and_after_an_exception(model: LensModel) -> None:
    batch = batch_of(model)

    def fail(z: Tensor) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.forward(batch, [Edit(0, fail)])
    model.prefill(batch)
    points = model._points.values()  # type: ignore[attr-defined]
    assert not any(point.fwd_hooks or point._forward_hooks for point in points)


def test_hooks_of_the_user_are_left_alone(demo: LensModel) -> None:
    bridge = demo.bridge  # type: ignore[attr-defined]
    calls = []
    bridge.add_hook("blocks.0.attn.hook_z", lambda z, hook: calls.append(1))
    try:
        demo.forward(batch_of(demo), [Edit(0, torch.clone)])
        demo.forward(batch_of(demo))
    finally:
        bridge.reset_hooks()
    assert len(calls) == 2


def test_a_prompt_of_one_token_has_no_prefix(demo: LensModel) -> None:
    batch = Batch.of([[5]], pad=0, device=demo.device)
    with pytest.raises(sl.InputError, match="at least one token before the tail"):
        demo.prefill(batch.without_tail(1))


def test_bfloat16_runs_and_stays_close(tiny_folder: Callable[[str], object], tiny: Callable[[str], LensModel]) -> None:
    half = sl.load_model(str(tiny_folder("llama")), dtype="bfloat16", device="cpu")
    batch = batch_of(half)
    exact = tiny("llama").forward(batch)
    alpha = torch.full(half.grid.shape, 0.3)
    assert half.identity.dtype == "bfloat16"
    assert (half.forward(batch) - exact).abs().max() < 0.1 * exact.std()
    assert half.forward(batch, random_edits(half, alpha, -1)).isfinite().all()
