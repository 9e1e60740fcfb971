"""Affine edits do in plain transformers, by forward pre-hooks that know nothing of site_lens, what a fit does here."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file

import site_lens as sl
from site_lens.models.batch import Batch
from tests.conftest import Folders, Models
from tests.fakes import fake_embedding, fake_fit, fake_identity

PROMPTS = ["Q: hot\nA:", "Q: old\nA: young\n\nQ: day\nA: night\n\nQ: good\nA:"]

PROJECTIONS: dict[str, Callable[[Any, int], torch.nn.Module]] = {
    "llama": lambda model, layer: model.model.layers[layer].self_attn.o_proj,
    "gpt2": lambda model, layer: model.transformer.h[layer].attn.c_proj,
}
"""Output projection of a layer, as a user of transformers names it."""


def pre_hook(scale: torch.Tensor, bias: torch.Tensor) -> Callable[[Any, tuple[Any, ...]], tuple[Any, ...]]:
    """Change the last token of what a projection takes, (row pos width); see the formula of `affine_edits`."""

    def hook(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        z = args[0].unflatten(-1, bias.shape)
        last = scale[:, None] * z[:, -1] + bias
        return (torch.cat([z[:, :-1], last[:, None]], dim=1).flatten(-2), *args[1:])

    return hook


def strong_fit(model: sl.LensModel, mix: str = "convex") -> sl.SiteFit:
    """A random fit whose embedding is large enough to change every logit."""
    embedding = fake_embedding("antonym", model=model.identity)
    fit = fake_fit("antonym", model=model.identity, embedding=embedding.replace(mean=20 * embedding.mean))
    return fit.replace(gates=fit.gates.replace(mix=mix), config=fit.config.replace(mix=mix))


@pytest.mark.parametrize("kind", PROJECTIONS)
def test_hooks_on_the_output_projection_reproduce_the_logits_of_the_toolkit(
    kind: str, tiny: Models, tiny_folder: Folders, tmp_path: Path
) -> None:
    model = tiny(kind)
    hf_model = transformers.AutoModelForCausalLM.from_pretrained(tiny_folder(kind), dtype=torch.float32)
    batch = Batch.of(model.encoder.encode(PROMPTS), pad=0, device=torch.device("cpu"))
    mask = (torch.arange(batch.tokens.shape[1]) >= (batch.tokens.shape[1] - batch.lengths)[:, None]).long()
    inputs = {"input_ids": batch.tokens, "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
    for mix, suffix in (("convex", ".safetensors"), ("additive", ".pt")):
        fit = strong_fit(model, mix)
        path = sl.write_affine_edits(fit, tmp_path / f"{mix}{suffix}")
        state = load_file(path) if suffix == ".safetensors" else torch.load(path, weights_only=True)
        hooks = [
            PROJECTIONS[kind](hf_model, layer).register_forward_pre_hook(
                pre_hook(state[f"layers.{layer}.scale"], state[f"layers.{layer}.bias"])
            )
            for layer in range(model.grid.n_layers)
        ]
        with torch.no_grad():
            logits = hf_model(**inputs).logits[:, -1]
            expected = model.forward(batch, sl.injection_edits(model, fit.gates, fit.embedding))
            for hook in hooks:
                hook.remove()
            assert torch.allclose(logits, expected, atol=2e-4), (mix, float((logits - expected).abs().max()))
            assert not torch.allclose(logits, hf_model(**inputs).logits[:, -1], atol=0.1)


def test_layers_without_heads_are_left_out_and_narrow_heads_keep_their_width() -> None:
    model = fake_identity(grid=sl.HeadGrid((4, 0, 2)), d_head_per_layer=(2, 0, 4))
    embedding = fake_embedding("antonym", model=model)
    embedding = embedding.replace(mean=embedding.mean * model.z_mask)
    state = sl.affine_edits((sl.HeadGates.constant(model.grid, 0.25), embedding))
    shapes = {"layers.0.scale": (4,), "layers.0.bias": (4, 2), "layers.2.scale": (2,), "layers.2.bias": (2, 4)}
    assert {name: array.shape for name, array in state.items()} == shapes


def test_a_safetensors_file_says_what_it_is(tmp_path: Path) -> None:
    with safe_open(sl.write_affine_edits(fake_fit("antonym"), tmp_path / "antonym.safetensors"), "np") as file:
        said = json.loads(file.metadata()["site_lens"])
    assert (said["task"], said["model"]) == ("antonym", "fake-model") and "scale[h] * z[h]" in said["formula"]


def test_what_no_affine_edit_stands_for_is_refused(tmp_path: Path) -> None:
    embedding = fake_embedding("antonym")
    gates = sl.HeadGates.constant(embedding.model.grid, 0.5)
    folded = fake_embedding("antonym", model=fake_identity(processing="folded"))
    for error, fit, name in (
        (sl.InputError, (gates.replace(mix="norm_preserving"), embedding), "a.pt"),
        (sl.MismatchError, (gates, folded), "a.pt"),
        (sl.InputError, (gates, embedding), "a.npz"),
        (sl.MismatchError, (sl.HeadGates.constant(sl.HeadGrid.full(2, 2), 0.5), embedding), "a.pt"),
    ):
        with pytest.raises(error):
            sl.write_affine_edits(fit, tmp_path / name)
    assert not list(tmp_path.iterdir())
