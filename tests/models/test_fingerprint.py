"""Fingerprint of a model: shared key-value heads and the digest of weights."""

from types import SimpleNamespace

import torch
import transformers

from site_lens.heads.head_set import HeadGrid
from site_lens.models.fingerprint import shared_kv_heads, weights_digest
from tests.conftest import Folders, Models

KV_HEADS = {"demo": 4, "llama": 2, "gemma2": 2, "falcon": 1, "gpt2": None, "gpt_neox": None, "deepseek_v3": None}
"""By architecture; the last has a number that its four heads cannot share."""


def test_a_model_knows_how_many_key_value_heads_its_heads_share(hosted: Models) -> None:
    for kind, expected in KV_HEADS.items():
        assert hosted(f"bridge {kind}").identity.n_kv_heads == expected, kind
    cases: list[tuple[list[int | None], tuple[int, ...], int | None]] = [
        ([2, 2], (8, 8), 2), ([2, None], (8, 0), 2), ([2, 4], (8, 8), None), ([2, 2], (8, 4), None),
        ([8, 8], (8, 8), None), ([3, 3], (8, 8), None),
    ]  # fmt: skip
    for by_layer, heads, shared in cases:
        cfg = SimpleNamespace(per_layer_num_key_value_heads=by_layer, n_key_value_heads=by_layer[0])
        assert shared_kv_heads(cfg, HeadGrid(heads)) == shared, (by_layer, heads)


def test_one_changed_weight_changes_the_digest(tiny_folder: Folders) -> None:
    hf_model = transformers.AutoModelForCausalLM.from_pretrained(tiny_folder("gpt2"), dtype=torch.float32)
    before = weights_digest(hf_model.parameters())
    with torch.no_grad():
        hf_model.transformer.h[1].attn.c_attn.weight[0, 0] += 1
    assert weights_digest(hf_model.parameters()) != before
