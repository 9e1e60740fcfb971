"""Models that can be used are loaded; models that cannot are refused with the reason."""

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

import site_lens as sl
from site_lens.core.assets import DEMO_MODEL
from site_lens.models.protocol import LensModel
from site_lens.models.self_check import self_check


def test_the_demo_model_loads_frozen_in_eval_mode_and_float32(demo: LensModel) -> None:
    bridge = demo.host  # type: ignore[attr-defined]
    assert demo.identity.name == "demo"
    assert demo.identity.dtype == "float32"
    assert not bridge.original_model.training
    assert not any(weight.requires_grad for weight in bridge.parameters())


@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen2", "gemma2"])
def test_a_local_folder_loads_and_passes_every_check(tiny: Callable[[str], LensModel], kind: str) -> None:
    model = tiny(kind)
    assert model.grid.shape == (2, 4)
    assert {check.code: check.state for check in self_check(model)} == dict.fromkeys(
        ("identity_edit", "cached_equals_full", "padding", "edit_has_effect"), "ok"
    )


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "no-such-model-anywhere"])
def test_an_unknown_model_is_refused_by_name(name: str) -> None:
    with pytest.raises(sl.InputError, match=rf"{Path(name).name}.*(hub id)"):
        sl.load_model(name)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(sl.InputError, match="cannot load a model from"):
        sl.load_model(tmp_path)


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(sl.InputError, match="unknown or missing device 'gpu'"):
        sl.load_model("demo", device="gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, so asking for it is no mistake")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(sl.InputError, match="unknown or missing device 'cuda'"):
        sl.load_model("demo", device="cuda")


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(sl.InputError, match="unknown dtype 'float8'; give one of float32, bfloat16, float16"):
        sl.load_model("demo", dtype="float8")  # type: ignore[arg-type]


def test_truncated_weights_are_refused(tiny_folder: Callable[[str], Path], tmp_path: Path) -> None:
    shutil.copytree(tiny_folder("llama"), tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(sl.InputError, match="cannot load a model from .*cut"):
        sl.load_model(tmp_path / "cut")


def boot(folder: Path) -> Any:
    from transformer_lens.model_bridge import TransformerBridge

    return TransformerBridge.boot_transformers(str(folder), device="cpu", dtype=torch.float32)


def test_wrapping_a_bridge_gives_the_same_model_as_loading_its_folder(
    tiny_folder: Callable[[str], Path], tiny: Callable[[str], LensModel]
) -> None:
    wrapped, loaded = sl.wrap_model(boot(tiny_folder("llama")), name="x"), tiny("llama")
    assert wrapped.identity.replace(name="") == loaded.identity.replace(name="")


def test_a_wrapped_model_follows_the_checkpoints_own_tokenizer_about_bos_when_given_it(
    tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    shutil.copytree(tiny_folder("llama"), tmp_path / "model")
    own = AutoTokenizer.from_pretrained(tmp_path / "model")
    own.backend_tokenizer.post_processor = TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])
    own.save_pretrained(tmp_path / "model")  # has BOS, and does not add it, as GPT-2's
    own = AutoTokenizer.from_pretrained(tmp_path / "model")
    loaded = sl.load_model(tmp_path / "model", device="cpu", dtype="float32")
    assert not loaded.identity.bos
    assert sl.wrap_model(boot(tmp_path / "model"), tokenizer=own).identity.bos is False
    assert sl.wrap_model(boot(tmp_path / "model"), tokenizer=own, bos=True).identity.bos is True


def test_a_native_bridge_is_refused_because_it_keeps_no_cache() -> None:
    from transformer_lens.model_bridge import TransformerBridge

    tokenizer = AutoTokenizer.from_pretrained(DEMO_MODEL)
    size = {"n_layers": 1, "d_model": 8, "n_heads": 2, "d_head": 4, "d_mlp": 16, "n_ctx": 16, "act_fn": "relu"}
    bridge = TransformerBridge.boot_native(size | {"d_vocab": len(tokenizer)}, tokenizer=tokenizer)
    with pytest.raises(sl.ModelError, match="no Hugging Face model underneath"):
        sl.wrap_model(bridge)


def test_a_model_left_in_training_mode_is_put_into_eval_mode(tiny_folder: Callable[[str], Path]) -> None:
    bridge = boot(tiny_folder("gpt2"))  # has dropout of 0.1
    bridge.train()
    model = sl.wrap_model(bridge)
    assert not bridge.original_model.training
    assert [check.state for check in self_check(model)] == ["ok"] * 4


def test_something_that_is_no_transformer_lens_model_is_refused() -> None:
    with pytest.raises(sl.InputError, match=r"takes a .* TransformerBridge or HookedTransformer, got a Linear"):
        sl.wrap_model(torch.nn.Linear(2, 2))


def test_a_bridge_without_a_tokenizer_is_refused(tiny_folder: Callable[[str], Path]) -> None:
    bridge = boot(tiny_folder("llama"))
    bridge.tokenizer = None
    with pytest.raises(sl.InputError, match="no tokenizer"):
        sl.wrap_model(bridge)


def test_a_model_without_hook_z_is_refused_by_the_name_of_the_hook(tiny_folder: Callable[[str], Path]) -> None:
    class WithoutHooks:
        """A bridge whose hook points are hidden."""

        def __init__(self, bridge: Any) -> None:
            self._bridge = bridge

        def __getattr__(self, name: str) -> Any:
            if name == "hook_dict":
                return {k: v for k, v in self._bridge.hook_dict.items() if not k.endswith("hook_z")}
            return getattr(self._bridge, name)

    WithoutHooks.__name__ = "TransformerBridge"
    with pytest.raises(sl.ModelError, match=r"2 of the 2 layers .* \(blocks\.0\.attn\.hook_z is missing\)"):
        sl.wrap_model(WithoutHooks(boot(tiny_folder("llama"))))


@pytest.mark.parametrize("kind", ["lfm2", "qwen3_next"])
def test_a_hybrid_is_refused_with_the_layers_that_have_no_heads(kind: str, tiny_folder: Callable[[str], Path]) -> None:
    with pytest.raises(sl.ModelError, match=r"1 of the 2 layers .* \(blocks\.0\.attn\.hook_z is missing\)"):
        sl.load_model(tiny_folder(kind), device="cpu")


def test_a_model_that_would_be_refused_can_be_opened_unchecked(tiny_folder: Callable[[str], Path]) -> None:
    bridge = boot(tiny_folder("llama"))
    with torch.no_grad():
        next(bridge.parameters()).fill_(float("nan"))
    assert sl.wrap_model(bridge, check=False).grid.shape == (2, 4)


def test_a_model_that_ignores_its_cache_is_refused_with_the_measured_gap(tiny_folder: Callable[[str], Path]) -> None:
    bridge = boot(tiny_folder("llama"))
    inner = bridge.original_model.forward

    @functools.wraps(inner)
    def forgetful(*args: Any, past_key_values: Any = None, use_cache: bool = False, **kwargs: Any) -> Any:
        # Fills the cache as asked, but attends to nothing of it when decoding.
        if past_key_values is not None and past_key_values.get_seq_length() > 0:
            width = args[0].shape[1]
            kwargs["attention_mask"] = kwargs["attention_mask"][:, -width:]
            return inner(*args, use_cache=False, **kwargs)
        return inner(*args, past_key_values=past_key_values, use_cache=use_cache, **kwargs)

    bridge.original_model.forward = forgetful
    with pytest.raises(sl.ModelError, match=r"cached_equals_full: .* gap [\d.]+, threshold 0.0001"):
        sl.wrap_model(bridge)


def test_weights_that_are_not_numbers_are_refused(tiny_folder: Callable[[str], Path]) -> None:
    bridge = boot(tiny_folder("llama"))
    with torch.no_grad():
        next(bridge.parameters()).fill_(float("nan"))
    with pytest.raises(sl.ModelError, match="gap nan"):
        sl.wrap_model(bridge)


def test_folded_value_biases_are_seen_and_an_embedding_of_the_raw_model_is_refused(
    tiny_folder: Callable[[str], Path], tiny: Callable[[str], LensModel], demo_tasks: dict[str, sl.Task]
) -> None:
    raw = tiny("gpt2")
    embedding = sl.capture_embeddings(raw, [demo_tasks["antonym"]], n_prompts=2, n_shots=2)["antonym"]
    bridge = boot(tiny_folder("gpt2"))
    bridge.enable_compatibility_mode()
    folded = sl.wrap_model(bridge)
    assert (raw.identity.processing, folded.identity.processing) == ("raw", "folded")
    with pytest.raises(sl.MismatchError, match="raw weights and .* now has folded weights"):
        sl.inject(folded, sl.HeadGates.constant(folded.grid, 0.5), embedding)


def test_bos_follows_the_tokenizer_unless_told_otherwise(demo: LensModel, tiny_folder: Callable[[str], Path]) -> None:
    bos = demo.encoder.tokenizer.bos_token_id
    assert demo.encoder.encode(["Q: hot\nA:"])[0][0] == bos
    without = sl.load_model(tiny_folder("llama"), bos=False)
    assert bos not in without.encoder.encode(["Q: hot\nA:"])[0]
    assert not without.identity.bos
