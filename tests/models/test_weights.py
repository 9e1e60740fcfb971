"""Copying scores and direct logits, read off the weights of every host."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import site_lens as sl
from site_lens.models.batch import Batch
from site_lens.models.weights import copying_scores, direct_logits
from tests.conftest import Folders, Models
from tests.hosts import EVERY_HOST

UNREADABLE = ("deepseek_v2", "deepseek_v3", "gemma4")
"""Latent attention, and heads of several widths."""


def path_of(hf_model: Any, head: sl.Head) -> tuple[torch.Tensor, torch.Tensor]:
    """Write out for GPT-2 what a head reads of each token, (token d_head), and what it says of it, (d_head token)."""
    block, d_head = hf_model.transformer.h[head.layer], hf_model.config.n_embd // hf_model.config.n_head
    own = slice(head.head * d_head, (head.head + 1) * d_head)
    embedded = hf_model.transformer.wte.weight
    centred = (embedded - embedded.mean(1, keepdim=True)) * block.ln_1.weight
    value = centred @ block.attn.c_attn.weight[:, 2 * hf_model.config.n_embd :][:, own]
    written = block.attn.c_proj.weight[own]
    written = (written - written.mean(1, keepdim=True)) * hf_model.transformer.ln_f.weight
    return value.detach().double(), (written @ hf_model.lm_head.weight.T).detach().double()


@pytest.fixture(scope="module")
def small(tiny_folder: Folders) -> Any:
    """The tiny GPT-2 as Hugging Face has it."""
    import transformers

    return transformers.AutoModelForCausalLM.from_pretrained(tiny_folder("gpt2"), dtype="float32")


def test_copying_is_what_the_eigenvalues_of_the_whole_path_say(small: Any, tiny: Models) -> None:
    heads = [sl.Head(0, 1), sl.Head(1, 3)]
    for head, score in zip(heads, copying_scores(tiny("gpt2"), heads), strict=True):
        reads, says = path_of(small, head)
        eigenvalues = np.linalg.eigvals((says @ reads).numpy())
        assert score == pytest.approx(eigenvalues.real.sum() / np.abs(eigenvalues).sum(), abs=1e-4)
        own_logits = (reads * says.T).sum(1)  # of each token when the head attends to it
        assert eigenvalues.real.sum() == pytest.approx(float(own_logits.sum()), rel=1e-4)


@torch.no_grad()
def writing(folder: Path, sign: float) -> sl.LensModel:
    """The tiny GPT-2 whose head L1H1 writes what it reads, with a sign, as the unembedding sees it."""
    bridge = sl.load_model(folder, dtype="float32", device="cpu").host
    transformer = bridge.original_model.transformer
    for norm in (transformer.h[1].ln_1, transformer.ln_f):
        norm.weight.fill_(1)
    attention = transformer.h[1].attn
    attention.c_proj.weight[8:16] = sign * attention.c_attn.weight[:, 2 * 32 + 8 : 2 * 32 + 16].T
    return sl.wrap_model(bridge, check=False)


def test_a_head_that_writes_what_it_reads_scores_one_and_its_opposite_minus_one(
    tiny_folder: Folders,
) -> None:
    for sign in (1.0, -1.0):
        assert copying_scores(writing(tiny_folder("gpt2"), sign), [sl.Head(1, 1)]) == pytest.approx([sign], abs=1e-4)


@pytest.mark.parametrize("case", [case for case in EVERY_HOST if not any(kind in str(case) for kind in UNREADABLE)])
def test_every_readable_model_has_copying_scores_and_direct_logits(case: str, hosted: Models) -> None:
    model = hosted(case)
    scores = copying_scores(model, list(model.grid))
    assert len(set(scores)) == len(scores) == len(model.grid)
    assert max(map(abs, scores)) <= 1
    layer, n_heads = next((layer, n) for layer, n in enumerate(model.grid.heads_per_layer) if n)
    z = torch.randn(3, n_heads, model.identity.d_head, generator=torch.Generator().manual_seed(0))
    logits = direct_logits(model, layer, torch.cat([z, torch.zeros_like(z[:1]), 5 * z[:1]]))
    assert logits.shape == (5, model.forward(Batch.of([[3, 4]], pad=0, device=model.device)).shape[1])
    assert logits[3].abs().max() == 0
    assert torch.corrcoef(logits[[0, 4]])[0, 1] > 0.999  # the norm divides by the length
    if case.startswith("hooked"):
        bridge = hosted(case.replace("hooked", "bridge"))
        assert copying_scores(bridge, list(model.grid)) == pytest.approx(scores, abs=1e-3)


def test_direct_logits_are_the_output_projection_norm_and_unembedding(small: Any, tiny: Models) -> None:
    z = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(1))
    written = z.flatten(1) @ small.transformer.h[1].attn.c_proj.weight
    with torch.no_grad():
        ends = [small.lm_head(small.transformer.ln_f(x)) for x in (written, torch.zeros_like(written))]
    assert torch.allclose(direct_logits(tiny("gpt2"), 1, z), ends[0] - ends[1], atol=1e-5)


def test_latent_attention_has_no_values_to_read_and_says_so(tiny: Models) -> None:
    model = tiny("deepseek_v3")
    with pytest.raises(sl.ModelError, match="W_V cannot be read"):
        copying_scores(model, [sl.Head(0, 0)])
    assert direct_logits(model, 0, torch.ones(1, 4, model.identity.d_head)).isfinite().all()
