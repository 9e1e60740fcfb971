"""Quantised models: the same z as the plain quantised model, and gradients that pass."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

import site_lens as sl
from site_lens.activations.hf_models import find_projections
from site_lens.activations.model_checks import PROMPTS
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.models.quantization import Quantization, bitsandbytes_settings
from site_lens.models.weights import copying_scores, direct_logits
from tests.conftest import Folders, Tasks
from tests.real_configs import RELEASED

bitsandbytes = pytest.importorskip("bitsandbytes")

FEW = ("Llama-3.1-8B", "GPT-2", "gemma-3-4b")
KINDS = [
    pytest.param(kind, marks=[] if kind in FEW else [pytest.mark.slow])
    for kind in RELEASED
    if kind != "Falcon-7B"  # whose linear maps are of a class of its own, which transformers does not quantise
]
WAYS: tuple[Quantization, ...] = ("nf4", "int8")

Quantised = Callable[[str, Quantization], LensModel]


@pytest.fixture(scope="module")
def quantised(tiny_folder: Folders) -> Quantised:
    """Return small copies of released models, quantised by the way a user takes, unchecked."""

    @cache
    def model(kind: str, how: Quantization) -> LensModel:
        return sl.load_model(tiny_folder(kind), device="cpu", quantization=how, check=False)

    return model


def plain(folder: Path, how: Quantization) -> Any:
    """A plain quantised model, which no TransformerLens has seen, whose weights stay as gradients need them."""
    settings = bitsandbytes_settings(how, torch.float32)
    hf_model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, device_map={"": "cpu"}, quantization_config=settings, attn_implementation="eager"
    )
    for module in hf_model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return hf_model.eval()


def batch_of(model: LensModel, prompts: tuple[str, ...] = PROMPTS) -> Batch:
    return Batch.of(model.encoder.encode(prompts), pad=model.encoder.pad, device=model.device)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_check_of_the_support_card_is_good(kind: str, how: Quantization, quantised: Quantised) -> None:
    checks = {check.code: check for check in sl.check_model(quantised(kind, how), longest=100)}
    states = {code: check.state for code, check in checks.items()}
    skipped = {"generation": "skipped"} if how == "int8" else {}  # its rounding depends on the batch
    assert states == dict.fromkeys(states, "ok") | skipped
    assert checks["edit_has_effect"].value is not None
    assert checks["edit_has_effect"].value > 0.1


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("kind", ["Llama-3.1-8B", "GPT-2"])
def test_z_is_what_the_plain_quantised_model_hands_to_its_output_projection(
    kind: str, how: Quantization, quantised: Quantised, tiny_folder: Folders
) -> None:
    model, hf_model = quantised(kind, how), plain(tiny_folder(kind), how)
    seen: dict[int, Tensor] = {}
    projections = find_projections(hf_model)
    for layer, module in projections.items():
        module.register_forward_pre_hook(lambda _, args, layer=layer: seen.update({layer: args[0][:, -1]}))
    batch = batch_of(model, PROMPTS[:1])
    with torch.no_grad():
        logits = hf_model(batch.tokens).logits[:, -1]
    z = torch.cat([seen[layer].flatten() for layer in sorted(seen)])
    assert (model.last_z(batch)[0].flatten() - z).abs().max() < 1e-5
    assert (model.forward(batch) - logits).abs().max() / logits.std() < 1e-4


@pytest.mark.parametrize("how", WAYS)
def test_a_fit_moves_alphas_and_is_recorded_as_of_a_quantised_model(
    how: Quantization, quantised: Quantised, demo_tasks: Tasks, tiny_folder: Folders
) -> None:
    model = quantised("Llama-3.1-8B", how)
    config = sl.SiteConfig(n_prompts=2, n_shots=1, n_steps=4, keep="last")
    fit = sl.fit_site(model, demo_tasks["antonym"], config)["antonym"]
    assert (fit.gates.values != fit.gates.values[0, 0]).any()
    assert fit.embedding.model.quantization == how
    full = sl.load_model(tiny_folder("Llama-3.1-8B"), device="cpu")
    differences = full.identity.check_use(fit.embedding.model, "the fit")
    assert [what.split(" of ")[0] for what in differences] == ["the fit: weights", "the fit: quantisation"]


def test_projecting_goes_through_the_dequantised_weights(quantised: Quantised) -> None:
    model = quantised("Qwen3-8B", "nf4")
    weight = model.host.blocks[0].attn.o.original_component.weight
    dequantised = bitsandbytes.functional.dequantize_4bit(weight.data, weight.quant_state)
    z = torch.randn(3, model.grid.shape[1], model.identity.d_head)
    assert (model.project(0, z) - z.flatten(1) @ dequantised.T).abs().max() < 1e-5


def test_what_reads_packed_weights_is_refused_and_what_only_runs_them_works(quantised: Quantised) -> None:
    model = quantised("Llama-3.1-8B", "nf4")
    with pytest.raises(sl.ModelError, match="W_V cannot be read"):
        copying_scores(model, [sl.Head(0, 1)])
    z = torch.randn(2, model.grid.shape[1], model.identity.d_head)
    assert direct_logits(model, 0, z).shape == (2, len(model.encoder.tokenizer))


@pytest.mark.parametrize("how", WAYS)
def test_a_checkpoint_that_was_saved_quantised_is_loaded_as_it_is(
    how: Quantization, quantised: Quantised, tiny_folder: Folders, tmp_path: Path
) -> None:
    plain(tiny_folder("Llama-3.1-8B"), how).save_pretrained(tmp_path)
    for file in tiny_folder("Llama-3.1-8B").glob("*token*"):
        shutil.copy(file, tmp_path)
    model, now = sl.load_model(tmp_path, device="cpu"), quantised("Llama-3.1-8B", how)
    assert model.identity.quantization == how
    assert (model.forward(batch_of(model)) - now.forward(batch_of(now))).abs().max() < 1e-3
    with pytest.raises(sl.InputError, match="is quantised already"):
        sl.load_model(tmp_path, quantization="nf4")
