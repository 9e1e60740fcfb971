"""The contract: what every model must do, whatever its architecture and whichever class hooks it (float32)."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

import site_lens as sl
from site_lens.activations.generation import generate
from site_lens.activations.injection import injection
from site_lens.activations.model_checks import PROMPTS
from site_lens.activations.prefill import prefill_prompts
from site_lens.activations.prefix_settings import PrefixDType
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.models.hooks import HOOK_NAMES, Edit, HookPoint
from tests.hooked_transformers import ARCHITECTURES as HOOKED_ARCHITECTURES
from tests.real_configs import RELEASED
from tests.tiny_models import ARCHITECTURES, tiny_config

HOSTED = [
    *(f"bridge {kind}" for kind in (*ARCHITECTURES, *RELEASED, "demo")),
    *(f"hooked {kind}" for kind in HOOKED_ARCHITECTURES),
]


@pytest.fixture(params=HOSTED)
def model(request: pytest.FixtureRequest, hosted: Callable[[str], LensModel]) -> LensModel:
    return hosted(request.param)


def gap(one: Tensor, other: Tensor) -> float:
    """Largest difference, in units of the spread of what it is compared with."""
    return float((one - other).abs().max() / other.std())


def batch_of(model: LensModel, prompts: Sequence[str] = PROMPTS) -> Batch:
    return Batch.of(model.encoder.encode(prompts), pad=model.encoder.pad, device=model.device)


def random_embedding(model: LensModel) -> Tensor:
    """(1 layer head d_head), always the same."""
    return torch.randn((1, *model.grid.shape, model.identity.d_head), generator=torch.Generator().manual_seed(1))


def random_edits(model: LensModel, alpha: Tensor, column: int) -> list[Edit]:
    """Mix the random embedding in, with the gates given, (layer head)."""
    embedding = random_embedding(model)
    rows = torch.zeros(1, dtype=torch.long)
    return injection(alpha[None], embedding, rows, heads_per_layer=model.grid.heads_per_layer, column=column)


@pytest.mark.parametrize("n_tail", [1, 5])
def test_cached_logits_equal_full_logits_at_every_token_of_the_tail(model: LensModel, n_tail: int) -> None:
    batch = batch_of(model)
    logits, _ = model.decode(model.prefill(batch.without_tail(n_tail)), batch.tokens[:, -n_tail:])
    for back in range(1, n_tail + 1):
        shorter = batch if back == 1 else batch.without_tail(back - 1)
        assert gap(logits[:, -back], model.forward(shorter)) < 1e-5


@pytest.mark.parametrize("n_tail", [1, 5])
def test_cached_logits_and_gradients_equal_full_ones_under_injection(model: LensModel, n_tail: int) -> None:
    batch = batch_of(model)
    prefix = model.prefill(batch.without_tail(n_tail))
    found = {}
    for way in ("cached", "full"):
        alpha = torch.full(model.grid.shape, 0.3, requires_grad=True)
        edits = random_edits(model, alpha, column=-n_tail)
        logits = (
            model.decode(prefix, batch.tokens[:, -n_tail:], edits)[0][:, -1]
            if way == "cached"
            else model.forward(batch, edits)
        )
        (gradient,) = torch.autograd.grad(logits.logsumexp(-1).sum() + logits[:, 7].sum(), alpha)
        found[way] = logits.detach(), gradient
    largest = found["full"][1].abs().max()
    assert largest > 0
    assert gap(found["cached"][0], found["full"][0]) < 1e-5
    assert (found["cached"][1] - found["full"][1]).abs().max() / largest < 1e-5


def test_a_padded_batch_gives_what_prompts_give_alone(model: LensModel) -> None:
    together = model.forward(batch_of(model))
    z = model.last_z(batch_of(model))
    for i, prompt in enumerate(PROMPTS):
        assert gap(together[i], model.forward(batch_of(model, [prompt]))[0]) < 1e-5
        assert gap(z[i], model.last_z(batch_of(model, [prompt]))[0]) < 1e-5


def test_padding_on_the_right_gives_the_same_logits(model: LensModel) -> None:
    assert isinstance(model, LensModel)
    ids = model.encoder.encode(PROMPTS)
    width = max(map(len, ids))
    padded = torch.tensor([row + [model.encoder.pad] * (width - len(row)) for row in ids])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids])
    with torch.no_grad():
        logits = model.host(padded, attention_mask=mask)
    for i, row in enumerate(ids):
        assert gap(model.forward(batch_of(model))[i], logits[i, len(row) - 1].float()) < 1e-5


def test_the_padding_side_of_the_tokenizer_does_not_matter(model: LensModel) -> None:
    tokenizer = model.encoder.tokenizer
    before, side = model.forward(batch_of(model)), tokenizer.padding_side
    tokenizer.padding_side = "right" if side == "left" else "left"
    try:
        assert torch.equal(model.forward(batch_of(model)), before)
    finally:
        tokenizer.padding_side = side


def test_what_the_padding_token_is_does_not_matter(model: LensModel) -> None:
    eos = model.encoder.tokenizer.eos_token_id
    bos = eos if model.encoder.tokenizer.bos_token_id is None else model.encoder.tokenizer.bos_token_id
    ids = [[bos, *row] for row in model.encoder.encode(PROMPTS)]
    made = [model.forward(Batch.of(ids, pad=pad, device=model.device)) for pad in (bos, eos, 7)]
    alone = torch.cat([model.forward(Batch.of([row], pad=0, device=model.device)) for row in ids])
    for logits in made:
        assert gap(logits, alone) < 1e-5


@pytest.mark.parametrize("bos", [True, False])
def test_prompts_begin_with_bos_if_and_only_if_asked(model: LensModel, bos: bool) -> None:
    assert isinstance(model, LensModel)
    again = sl.wrap_model(model.host, bos=bos)
    assert again.identity.bos is bos
    assert [row.count(again.encoder.tokenizer.bos_token_id) for row in again.encoder.encode(PROMPTS)] == [int(bos)] * 3
    z = again.last_z(batch_of(again))
    assert gap(z[1], again.last_z(batch_of(again, PROMPTS[1:2]))[0]) < 1e-5


def test_dropout_is_off_and_no_weight_is_trained(model: LensModel) -> None:
    assert isinstance(model, LensModel)
    assert not any(module.training for module in model.host.modules())
    assert not any(weight.requires_grad for weight in model.host.parameters())
    assert torch.equal(model.forward(batch_of(model)), model.forward(batch_of(model)))


def test_alpha_0_is_the_clean_model(model: LensModel) -> None:
    batch = batch_of(model)
    edited = model.forward(batch, random_edits(model, torch.zeros(model.grid.shape), -1))
    assert gap(edited, model.forward(batch)) < 1e-6


def test_alpha_1_on_all_heads_puts_exactly_the_embedding_into_z(model: LensModel) -> None:
    seen: dict[int, Tensor] = {}

    def look(layer: int) -> Edit:
        def keep(z: Tensor) -> Tensor:
            seen[layer] = z.clone()
            return z

        return Edit(layer, keep)

    batch = batch_of(model)
    edits = random_edits(model, torch.ones(model.grid.shape), -1)
    model.forward(batch, [*edits, *map(look, range(model.grid.n_layers))])
    found = torch.stack([seen[layer] for layer in sorted(seen)], dim=1)
    assert torch.equal(found, random_embedding(model).expand_as(found))


def test_greedy_generation_under_injection_equals_prompts_one_by_one_without_a_cache(model: LensModel) -> None:
    alpha = torch.full(model.grid.shape, 0.4)
    made = generate(model, PROMPTS, random_edits(model, alpha, 0), max_new_tokens=6, stop_at="never this")
    for prompt, text in zip(PROMPTS, made, strict=True):
        (ids,) = model.encoder.encode([prompt])
        n_prompt = len(ids)
        for step in range(6):
            edits = random_edits(model, alpha, -1 - step)
            ids.append(int(model.forward(Batch.of([ids], pad=0, device=model.device), edits).argmax()))
            if ids[-1] == model.encoder.eos:
                break
        assert text == model.encoder.decode(ids[n_prompt:])


def test_using_a_prefix_does_not_change_it(model: LensModel) -> None:
    batch = batch_of(model)
    prefix = model.prefill(batch.without_tail(1))
    first, grown = model.decode(prefix, batch.tokens[:, -1:])
    model.decode(grown, batch.tokens[:, -1:])
    again, _ = model.decode(prefix, batch.tokens[:, -1:])
    assert torch.equal(first, again)
    assert grown.width == prefix.width + 1


def test_a_prefix_computed_in_bfloat16_is_close_and_the_rest_stays_in_the_dtype_of_the_model(model: LensModel) -> None:
    ids = model.encoder.encode(PROMPTS)
    last = torch.tensor([[row[-1]] for row in ids])
    found = {}
    for dtype in get_args(PrefixDType):
        prefix, row_of = prefill_prompts(model, ids, dtype=dtype)
        found[dtype] = model.decode(prefix.rows(torch.tensor(row_of)), last)[0][:, -1]
    assert 0 < gap(found["bfloat16"], found["model"]) < 0.1
    assert found["bfloat16"].dtype == torch.float32


def test_rows_of_a_prefix_may_be_chosen_repeated_and_reordered(model: LensModel) -> None:
    batch = batch_of(model)
    prefix = model.prefill(batch.without_tail(1))
    index = torch.tensor([1, 0, 1])
    logits, _ = model.decode(prefix.rows(index), batch.tokens[index, -1:])
    assert gap(logits[:, -1], model.forward(batch)[index]) < 1e-5
    assert prefix.rows(torch.tensor([1])).width == int(prefix.lengths[1])


def test_batches_of_different_width_make_one_prefix(model: LensModel) -> None:
    narrow, wide = batch_of(model, PROMPTS[:2]), batch_of(model, PROMPTS[2:])
    prefix = model.prefill(narrow.without_tail(1), wide.without_tail(1))
    last = torch.cat([narrow.tokens[:, -1:], wide.tokens[:, -1:]])
    logits, _ = model.decode(prefix, last)
    assert gap(logits[:, -1], model.forward(batch_of(model))) < 1e-5


def test_last_z_is_what_the_hook_point_carries(model: LensModel) -> None:
    batch = batch_of(model, PROMPTS[:1])
    names = [f"blocks.{layer}.attn.hook_z" for layer in range(model.grid.n_layers)]
    assert isinstance(model, LensModel)
    _, cache = model.host.run_with_cache(batch.tokens, names_filter=names)
    # Latent attention: TransformerLens cuts z by another width than that of the heads; in a row it is the same.
    expected = torch.stack([cache[name][:, -1].flatten(1) for name in names], dim=1)
    assert (model.last_z(batch).flatten(2) - expected).abs().max() < 1e-5


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


HOOK_POINTS: tuple[HookPoint, ...] = get_args(HookPoint)


@pytest.mark.parametrize("hook_point", HOOK_POINTS)
def test_an_edit_of_all_columns_is_the_same_with_and_without_a_prefix(model: LensModel, hook_point: HookPoint) -> None:
    batch = batch_of(model)
    edits = [Edit(layer, lambda old: old.roll(1, -1), None, hook_point) for layer in range(model.grid.n_layers)]
    whole = model.forward(batch, edits)
    cached, _ = model.decode(model.prefill(batch.without_tail(1), edits=edits), batch.tokens[:, -1:], edits)
    assert gap(cached[:, -1], whole) < 1e-5
    last_only, _ = model.decode(model.prefill(batch.without_tail(1)), batch.tokens[:, -1:], edits)
    assert gap(last_only[:, -1], whole) > 1e-3


@pytest.mark.parametrize("hook_point", [point for point in HOOK_POINTS if point != "z"])
def test_an_edit_sees_and_sets_what_stands_at_its_site(model: LensModel, hook_point: HookPoint) -> None:
    batch = batch_of(model)
    outputs = model.last_outputs(batch, hook_point)
    seen = {}

    def look(layer: int, old: Tensor) -> Tensor:
        seen[layer] = old.detach()
        return old

    clean = model.forward(batch, [Edit(layer, partial(look, layer), hook_point=hook_point) for layer in (0, 1)])
    assert all(gap(seen[layer], outputs[:, layer]) < 1e-5 for layer in (0, 1))
    assert gap(model.forward(batch, [Edit(1, lambda old: old.roll(1, -1), hook_point=hook_point)]), clean) > 1e-4


def test_the_residual_stream_behind_the_last_layer_is_what_the_logits_are_made_of(model: LensModel) -> None:
    batch = batch_of(model)
    swapped = model.last_outputs(batch, "residual")[:, -1].roll(1, 0)
    last = Edit(model.grid.n_layers - 1, lambda old: swapped, hook_point="residual")
    assert gap(model.forward(batch, [last]), model.forward(batch).roll(1, 0)) < 1e-5


def test_what_all_heads_write_is_the_output_of_attention(model: LensModel) -> None:
    if any(name in model.identity.architecture for name in ("Gemma2", "Gemma3", "Olmo2")):
        pytest.skip("normalises behind attention, so that heads do not add up")
    batch = batch_of(model)
    z, attention = model.last_z(batch), model.last_outputs(batch, "attn_out")
    for layer in range(model.grid.n_layers):
        written = model.project(layer, z[:, layer])
        # Up to the bias of W_O, which is the same in every row.
        assert gap(written - written[0], attention[:, layer] - attention[0, layer]) < 1e-4


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
    points = model.host.hook_dict
    ours = [points[name.format(layer=layer)] for name in HOOK_NAMES.values() for layer in range(model.grid.n_layers)]
    before = [(len(point.fwd_hooks), len(point._forward_hooks)) for point in ours]

    def fail(z: Tensor) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.forward(batch, [Edit(0, fail)])
    model.prefill(batch)
    assert [(len(point.fwd_hooks), len(point._forward_hooks)) for point in ours] == before
    at_z = [points[HOOK_NAMES["z"].format(layer=layer)] for layer in range(model.grid.n_layers)]
    assert not any(point.fwd_hooks or point._forward_hooks for point in at_z)  # the bridge has its own at other sites


def test_a_prompt_of_one_token_has_no_prefix(demo: LensModel) -> None:
    batch = Batch.of([[5]], pad=0, device=demo.device)
    with pytest.raises(sl.InputError, match="at least one token before the tail"):
        demo.prefill(batch.without_tail(1))


@pytest.mark.parametrize("case", HOSTED)
def test_bfloat16_runs_and_stays_close(
    case: str,
    hosted: Callable[[str], LensModel],
    tiny_folder: Callable[[str], Path],
    hooked_transformer: Callable[..., LensModel],
) -> None:
    host, kind = case.split()
    folder = "demo" if kind == "demo" else tiny_folder(kind)
    half = (
        sl.load_model(folder, dtype="bfloat16", device="cpu")
        if host == "bridge"
        else hooked_transformer(kind, dtype="bfloat16")
    )
    exact, batch = hosted(case), batch_of(half)
    edits = random_edits(half, torch.full(half.grid.shape, 0.3), -1)
    assert half.identity.dtype == "bfloat16"
    assert gap(half.forward(batch), exact.forward(batch)) < 0.1
    assert gap(half.forward(batch, edits), exact.forward(batch, edits)) < 0.1
    logits, _ = half.decode(half.prefill(batch.without_tail(1)), batch.tokens[:, -1:], edits)
    assert gap(logits[:, -1], half.forward(batch, edits)) < 0.1


def test_the_longest_prompt_exceeds_the_sliding_windows(demo: LensModel) -> None:
    windows = [tiny_config(kind, vocab_size=9).sliding_window for kind in ("mistral", "gemma2", "gemma3")]
    assert max(windows) + 5 < len(demo.encoder.encode(PROMPTS)[2])
