"""Contract of a host: laws that every model keeps, whatever its architecture and the class that hooks it (float32).

`sl.check_model` measures others: logits and gradients behind a prefix under injection, padding, pad tokens, the
embedding in z, keys in two parts, greedy text with and without a cache.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import get_args

import pytest
import torch
import transformers
from torch import Tensor

import site_lens as sl
from site_lens.activations.injection import injection
from site_lens.activations.model_checks import PROMPTS
from site_lens.activations.prefill import prefill_prompts
from site_lens.activations.prefix_settings import PrefixDType
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.models.checks import same_as_transformers
from site_lens.models.fingerprint import weights_digest
from site_lens.models.hooks import HOOK_NAMES, Edit, HookPoint
from site_lens.models.plain_transformers import text_decoder
from site_lens.records.assets import DEMO_MODEL
from tests.conftest import Folders, Models
from tests.hosts import EVERY_HOST


def concatenates(model: LensModel) -> bool:
    """Whether a model's attention needs concatenated keys: Bloom's, and one that rotates keys behind the cache."""
    rotates_behind = type(model.host).__name__ == "HookedTransformer" and model.host.cfg.rotary_dim
    return model.identity.architecture == "BloomForCausalLM" or bool(rotates_behind)


LAWS: list[Callable[[LensModel], None]] = []


def law(function: Callable[[LensModel], None]) -> Callable[[LensModel], None]:
    LAWS.append(function)
    return function


def gap(values: Tensor, expected: Tensor) -> float:
    """Largest difference, in units of the spread of the expected values."""
    return float((values - expected).abs().max() / expected.std())


def batch_of(model: LensModel, prompts: Sequence[str] = PROMPTS) -> Batch:
    return Batch.of(model.encoder.encode(prompts), pad=model.encoder.pad, device=model.device)


def attending(model: LensModel) -> list[int]:
    """Layers with attention heads."""
    return [layer for layer, n in enumerate(model.grid.heads_per_layer) if n]


def layers_of(model: LensModel, hook_point: HookPoint) -> list[int]:
    return attending(model) if hook_point == "z" else list(range(model.grid.n_layers))


def random_edits(model: LensModel, alpha: Tensor, column: int) -> list[Edit]:
    """Mix a random embedding in, always the same, with the gates given, (layer head)."""
    shape = (1, *model.grid.shape, model.identity.d_head)
    embedding = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    rows = torch.zeros(1, dtype=torch.long)
    return injection(alpha[None], embedding, rows, heads_per_layer=model.grid.heads_per_layer, column=column)


@law
def cached_logits_equal_full_logits_at_every_token_of_the_tail(model: LensModel) -> None:
    batch = batch_of(model)
    for n_tail in (1, 5):
        logits, _ = model.decode(model.prefill(batch.without_tail(n_tail)), batch.tokens[:, -n_tail:])
        for back in range(1, n_tail + 1):
            shorter = batch if back == 1 else batch.without_tail(back - 1)
            assert gap(logits[:, -back], model.forward(shorter)) < 1e-5, (n_tail, back)


@law
def z_of_a_padded_batch_is_that_of_prompts_alone(model: LensModel) -> None:
    z = model.last_z(batch_of(model))
    for i, prompt in enumerate(PROMPTS):
        assert gap(z[i], model.last_z(batch_of(model, [prompt]))[0]) < 1e-5


@law
def padding_on_the_right_gives_the_same_logits(model: LensModel) -> None:
    ids = model.encoder.encode(PROMPTS)
    width = max(map(len, ids))
    padded = torch.tensor([row + [model.encoder.pad] * (width - len(row)) for row in ids])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids])
    with torch.no_grad():
        logits = model.host(padded, attention_mask=mask)
    for i, row in enumerate(ids):
        assert gap(model.forward(batch_of(model))[i], logits[i, len(row) - 1].float()) < 1e-5


@law
def rows_that_share_a_prefix_give_what_copies_of_it_give(model: LensModel) -> None:
    batch = batch_of(model)
    prefix, tail = model.prefill(batch.without_tail(1)), batch.tokens[:, -1:].repeat(2, 1)
    copies = prefix.rows(torch.arange(len(batch)).repeat(2))
    alpha = torch.full(model.grid.shape, 0.3, requires_grad=True)
    results = []
    for shared in (prefix.repeated(2), copies):
        logits = model.decode(shared, tail, random_edits(model, alpha, column=0))[0][:, -1]
        results.append((logits.detach(), *torch.autograd.grad(logits.logsumexp(-1).sum(), alpha)))
    (logits, gradient), (of_copies, gradient_of_copies) = results
    assert gap(logits, of_copies) < 1e-5
    _, grown = model.decode(prefix.repeated(2), tail)
    again = model.decode(grown.repeated(2), tail.repeat(2, 1))[0]
    assert gap(again, model.decode(grown, tail)[0].repeat(2, 1, 1)) < 1e-5
    assert (gradient - gradient_of_copies).abs().max() / gradient_of_copies.abs().max() < 1e-5


@law
def using_a_prefix_does_not_change_it(model: LensModel) -> None:
    batch = batch_of(model)
    prefix = model.prefill(batch.without_tail(1))
    first, grown = model.decode(prefix, batch.tokens[:, -1:])
    model.decode(grown, batch.tokens[:, -1:])
    assert torch.equal(first, model.decode(prefix, batch.tokens[:, -1:])[0])
    assert grown.width == prefix.width + 1


@law
def a_prefix_in_bfloat16_is_close_and_logits_stay_float32(model: LensModel) -> None:
    ids = model.encoder.encode(PROMPTS)
    last = torch.tensor([[row[-1]] for row in ids])
    logits = {}
    for dtype in get_args(PrefixDType):
        prefix, row_of = prefill_prompts(model, ids, dtype=dtype)
        logits[dtype] = model.decode(prefix.rows(torch.tensor(row_of)), last)[0][:, -1]
    assert 0 < gap(logits["bfloat16"], logits["model"]) < 0.1
    assert logits["bfloat16"].dtype == torch.float32


@law
def rows_of_a_prefix_may_be_chosen_repeated_and_reordered(model: LensModel) -> None:
    batch, index = batch_of(model), torch.tensor([1, 0, 1])
    prefix = model.prefill(batch.without_tail(1))
    logits, _ = model.decode(prefix.rows(index), batch.tokens[index, -1:])
    assert gap(logits[:, -1], model.forward(batch)[index]) < 1e-5
    assert prefix.rows(torch.tensor([1])).width == int(prefix.lengths[1])


@law
def batches_of_different_width_make_one_prefix(model: LensModel) -> None:
    narrow, wide = batch_of(model, PROMPTS[:2]), batch_of(model, PROMPTS[2:])
    prefix = model.prefill(narrow.without_tail(1), wide.without_tail(1))
    logits, _ = model.decode(prefix, torch.cat([narrow.tokens[:, -1:], wide.tokens[:, -1:]]))
    assert gap(logits[:, -1], model.forward(batch_of(model))) < 1e-5


@law
def last_z_is_what_the_hook_point_carries(model: LensModel) -> None:
    batch = batch_of(model, PROMPTS[:1])
    names = {layer: HOOK_NAMES["z"].format(layer=layer) for layer in attending(model)}
    _, cache = model.host.run_with_cache(batch.tokens, names_filter=list(names.values()))
    z = model.last_z(batch)
    assert not z[:, ~torch.tensor(model.identity.z_mask)].any()
    for layer, name in names.items():
        # Latent attention: TransformerLens cuts z by another width than that of the heads; in a row it is the same.
        heads, width = model.grid.heads_per_layer[layer], model.identity.widths[layer]
        assert (z[:, layer, :heads, :width].flatten(1) - cache[name][:, -1].flatten(1)).abs().max() < 1e-5


@law
def an_edit_of_all_columns_is_the_same_with_and_without_a_prefix(model: LensModel) -> None:
    batch = batch_of(model)
    tail = batch.tokens[:, -1:]
    for hook_point in get_args(HookPoint):
        edits = [Edit(layer, lambda old: old.roll(1, -1), None, hook_point) for layer in layers_of(model, hook_point)]
        whole = model.forward(batch, edits)
        cached, _ = model.decode(model.prefill(batch.without_tail(1), edits=edits), tail, edits)
        assert gap(cached[:, -1], whole) < 1e-5, hook_point
        last_only, _ = model.decode(model.prefill(batch.without_tail(1)), tail, edits)
        assert gap(last_only[:, -1], whole) > 1e-3, hook_point


@law
def an_edit_sees_and_sets_its_hook_point_at_its_column_only(model: LensModel) -> None:
    batch = batch_of(model)
    clean = model.forward(batch)
    for hook_point in get_args(HookPoint):
        outputs = model.last_z(batch) if hook_point == "z" else model.last_outputs(batch, hook_point)
        seen: dict[int, Tensor] = {}

        def look(layer: int, old: Tensor, seen: dict[int, Tensor] = seen) -> Tensor:
            seen[layer] = old.detach()
            return old

        layers = layers_of(model, hook_point)
        model.forward(batch, [Edit(layer, partial(look, layer), hook_point=hook_point) for layer in layers])
        for layer in layers:
            heads = model.grid.heads_per_layer[layer] if hook_point == "z" else outputs.shape[2]
            assert gap(seen[layer], outputs[:, layer, :heads]) < 1e-5, hook_point
        here, before = (
            model.forward(batch, [Edit(layer, lambda old: old.roll(1, -1), column, hook_point)])
            for layer, column in ((layers[-1], -1), (layers[0], -2))
        )
        assert gap(here, clean) > 1e-4, hook_point
        assert gap(before, clean) > 1e-4, hook_point  # it reaches the last token through attention
        assert gap(here, before) > 1e-4, hook_point


@law
def the_residual_stream_behind_the_last_layer_makes_the_logits(model: LensModel) -> None:
    batch = batch_of(model)
    swapped = model.last_outputs(batch, "residual")[:, -1].roll(1, 0)
    last = Edit(model.grid.n_layers - 1, lambda old: swapped, hook_point="residual")
    assert gap(model.forward(batch, [last]), model.forward(batch).roll(1, 0)) < 1e-5


@law
def attention_and_z_that_are_read_layer_by_layer_are_those_of_a_whole_pass(model: LensModel) -> None:
    batch, last = batch_of(model), model.last_z(batch_of(model))
    width, seen = batch.tokens.shape[1], []

    def visit(layer: int, pattern: Tensor, z: Tensor) -> None:
        seen.append(layer)
        n_heads = model.grid.heads_per_layer[layer]
        assert pattern.shape == (len(batch), n_heads, width, width)
        for row, length in enumerate(batch.lengths.tolist()):
            own = pattern[row, :, width - length :]
            assert own.sum(-1).max() < 1 + 1e-4  # less beside a learned sink
            assert own[..., width - length :].triu(1).abs().max() < 1e-6
            assert own[..., : width - length].abs().sum() < 1e-6  # padding is not looked at
        assert gap(z[:, -1], last[:, layer, :n_heads, : z.shape[-1]]) < 1e-5

    model.read_attention(batch, attending(model), visit)
    assert seen == attending(model)


@law
def the_sum_over_heads_is_the_output_of_attention(model: LensModel) -> None:
    if any(name in model.identity.architecture for name in ("Gemma2", "Gemma3", "Gemma4", "Olmo2", "OlmoHybrid")):
        return  # which normalise behind attention, so that heads do not add up
    batch = batch_of(model)
    z, attention = model.last_z(batch), model.last_outputs(batch, "attn_out")
    for layer in attending(model):
        heads = z[:, layer, : model.grid.heads_per_layer[layer]]
        written, alone = model.project(layer, heads, bias=True), model.project(layer, heads)
        assert gap(written, attention[:, layer]) < 1e-4
        bias = written - alone
        assert (bias - bias[0]).abs().max() < 1e-4  # the same in every row


@pytest.mark.parametrize("case", EVERY_HOST)
def test_a_host_keeps_every_law(case: str, hosted: Models) -> None:
    for one_law in LAWS:
        one_law(hosted(case))


@pytest.mark.parametrize("case", EVERY_HOST)
def test_a_sound_host_passes_every_check(case: str, hosted: Models) -> None:
    model = hosted(case)
    checks = sl.check_model(model, longest=100)
    assert not any(weight.requires_grad for weight in model.host.parameters())
    exact = ("deterministic", "padding", "cached_equals_full", "cached_tail", "gradient", "gradient_tail")
    assert all(check.value is not None and check.value < 1e-5 for check in checks if check.code in exact), checks
    skipped = {"same_as_transformers": "skipped"} if case.startswith("hooked") else {}  # it has none beside it
    skipped |= {"two_parts": "skipped"} if concatenates(model) else {}
    assert {check.code: check.state for check in checks} == {check.code: "ok" for check in checks} | skipped


@pytest.mark.parametrize("case", EVERY_HOST)
def test_logits_and_weights_are_those_of_a_transformers_model_that_no_bridge_has_touched(
    case: str, hosted: Models, tiny_folder: Folders
) -> None:
    (host, kind), model = case.split(), hosted(case)
    folder = DEMO_MODEL if kind == "demo" else tiny_folder(kind)
    untouched = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for length in (1, 4, 60):
        prompt = [(11 * i + 3) % 199 for i in range(length)]
        with torch.no_grad():
            expected = untouched(torch.tensor([prompt])).logits[0, -1]
        assert gap(model.forward(Batch.of([prompt], pad=0, device=model.device))[0], expected) < 1e-5, length
    check = same_as_transformers(model)
    if host == "hooked":
        assert (check.state, check.value) == ("skipped", None)
    else:  # under every TransformerLens: 3.9 and 4 split and add to weights in different ways
        assert check.value is not None and check.value < 1e-5
        assert model.identity.weights_digest == weights_digest(text_decoder(untouched).parameters())


@pytest.mark.parametrize("case", EVERY_HOST)
def test_bfloat16_runs_and_stays_close(
    case: str, hosted: Models, tiny_folder: Folders, hooked_transformer: Callable[..., LensModel]
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


def test_edits_of_one_layer_act_in_order_and_one_of_the_wrong_shape_is_refused(demo: LensModel) -> None:
    batch = batch_of(demo)
    twice = demo.forward(batch, [Edit(0, lambda z: z + 1), Edit(0, lambda z: 2 * z)])
    assert (twice - demo.forward(batch, [Edit(0, lambda z: 2 * (z + 1))])).abs().max() < 1e-5
    with pytest.raises(sl.InputError, match=r"returned shape .*; z here is \(row head d_head\)"):
        demo.forward(batch, [Edit(0, lambda z: z[:, :1])])


def test_a_mistyped_hook_point_is_refused_and_attention_is_no_output(demo: LensModel) -> None:
    for wrong in ("mlp", "pattern"):
        with pytest.raises(sl.InputError, match=wrong):
            demo.forward(batch_of(demo), [Edit(0, lambda old: old, hook_point=wrong)])  # type: ignore[arg-type]
    with pytest.raises(sl.InputError, match="pattern"):
        demo.last_outputs(batch_of(demo), "pattern")  # type: ignore[arg-type]


def test_a_prompt_of_one_token_has_no_prefix(demo: LensModel) -> None:
    with pytest.raises(sl.InputError):
        demo.prefill(Batch.of([[5]], pad=0, device=demo.device).without_tail(1))
