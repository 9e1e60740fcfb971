"""What a model says of itself."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers

from site_lens.heads.head_set import HeadGrid
from site_lens.models.base import LensModel
from site_lens.models.fingerprint import shared_kv_heads, weights_digest
from site_lens.models.plain_transformers import text_decoder
from tests.hooked_transformers import ARCHITECTURES as HOOKED_ARCHITECTURES
from tests.real_configs import RELEASED
from tests.tiny_models import ARCHITECTURES

KV_HEADS = {"demo": 4, "llama": 2, "gemma2": 2, "falcon": 1, "gpt2": None, "gpt_neox": None, "deepseek_v3": None}
"""By architecture; the last knows a number that its four heads cannot share."""

CASES = [f"bridge {kind}" for kind in KV_HEADS] + [f"hooked {k}" for k in HOOKED_ARCHITECTURES if k in KV_HEADS]


@pytest.mark.parametrize("case", CASES)
def test_a_model_knows_how_many_key_value_heads_its_heads_share(case: str, hosted: Callable[[str], LensModel]) -> None:
    assert hosted(case).identity.n_kv_heads == KV_HEADS[case.split()[1]]


@pytest.mark.parametrize(
    ("by_layer", "heads", "expected"),
    [
        ([2, 2], (8, 8), 2),
        ([2, None], (8, 0), 2),  # a layer without attention
        ([2, 4], (8, 8), None),
        ([2, 2], (8, 4), None),
        ([8, 8], (8, 8), None),
        ([3, 3], (8, 8), None),
    ],
)
def test_only_one_number_for_all_layers_is_said(
    by_layer: list[int | None], heads: Sequence[int], expected: int | None
) -> None:
    cfg = SimpleNamespace(per_layer_num_key_value_heads=by_layer, n_key_value_heads=by_layer[0])
    assert shared_kv_heads(cfg, HeadGrid(tuple(heads))) == expected


@pytest.mark.parametrize("kind", [*ARCHITECTURES, *RELEASED])
def test_a_bridge_has_the_weights_digest_of_the_plain_model(
    kind: str, tiny: Callable[[str], LensModel], tiny_folder: Callable[[str], Path]
) -> None:
    """So under every TransformerLens: 3.9 and 4 split and add to weights in different ways."""
    hf_model = transformers.AutoModelForCausalLM.from_pretrained(tiny_folder(kind), dtype=torch.float32)
    assert tiny(kind).identity.weights_digest == weights_digest(text_decoder(hf_model).parameters())


def test_one_changed_weight_changes_the_digest(tiny_folder: Callable[[str], Path]) -> None:
    hf_model = transformers.AutoModelForCausalLM.from_pretrained(tiny_folder("gpt2"), dtype=torch.float32)
    before = weights_digest(hf_model.parameters())
    with torch.no_grad():
        hf_model.transformer.h[1].attn.c_attn.weight[0, 0] += 1
    assert weights_digest(hf_model.parameters()) != before
