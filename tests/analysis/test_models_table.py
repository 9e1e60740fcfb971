"""What the page of models says of memory is what small models take."""

import pytest
import transformers

import site_lens as sl
from analysis.models_table import GIB, HEADER, NF4_BYTES, PAGE, is_packed, n_bytes, sizes, without_memory
from tests.conftest import Folders
from tests.real_configs import RELEASED

pytest.importorskip("bitsandbytes")
KINDS = ["Llama-3.1-8B", "gemma-3-4b", "GPT-2", "Pythia-6.9B", "Phi-3-mini", "Falcon-7B"]


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_that_of_all_weights_under_a_bridge(kind: str, tiny_folder: Folders) -> None:
    config = transformers.AutoConfig.from_pretrained(tiny_folder(kind))
    model = sl.load_model(tiny_folder(kind), dtype="bfloat16", device="cpu")
    held = sum(w.numel() * w.element_size() for w in model.host.parameters())
    assert n_bytes(without_memory(config)) == held - added_bias(model)


def added_bias(model: sl.LensModel) -> int:
    """TransformerLens 3.9 gives the unembedding a bias of zeros."""
    bias = getattr(model.host.unembed, "b_U", None)
    is_own = any(w is bias for w in model.host.parameters())
    return bias.numel() * bias.element_size() if bias is not None and is_own and not bias.any() else 0


@pytest.mark.parametrize("kind", ["Llama-3.1-8B", "GPT-2"])
def test_the_same_maps_are_counted_in_four_bits_as_are_loaded_so(kind: str, tiny_folder: Folders) -> None:
    config = transformers.AutoConfig.from_pretrained(tiny_folder(kind))
    model = sl.load_model(tiny_folder(kind), dtype="bfloat16", device="cpu", quantization="nf4")
    loaded = [m.weight for m in model.host.modules() if is_packed(m)]
    counted = [m.weight for m in without_memory(config, "nf4").modules() if is_packed(m)]
    assert 2 * sum(weight.numel() for weight in loaded) == sum(weight.numel() for weight in counted) > 0


def test_an_eight_billion_model_in_four_bits_takes_about_half_a_byte_a_weight_and_its_tables() -> None:
    layers, vocabulary = 32 * (2 * 4096 * (4096 + 1024) + 3 * 4096 * 14336), 2 * 128256 * 4096
    expected = layers * NF4_BYTES + vocabulary * 2
    heads, alphas, embedding, _, in_nf4 = sizes(RELEASED["Llama-3.1-8B"])
    assert float(in_nf4) == pytest.approx(expected / GIB, abs=0.06)
    assert (heads, alphas, embedding) == ("32 x 32 x 128", "1,024", "512")


def test_the_page_has_a_row_for_every_model() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert f"| {' | '.join(HEADER)} |" in page
    assert [one.hub_id for one in RELEASED.values() if f"| `{one.hub_id}`" not in page] == []
