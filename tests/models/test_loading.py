"""Models that can be used are loaded; models that cannot are refused with the reason."""

import functools
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.models.checks import quick_check
from site_lens.records.assets import DEMO_MODEL
from tests.tiny_models import tiny_model


def test_the_demo_model_loads_frozen_in_eval_mode_and_float32(demo: LensModel) -> None:
    bridge = demo.host
    assert demo.identity.name == "demo"
    assert demo.identity.dtype == "float32"
    assert not bridge.original_model.training
    assert not any(weight.requires_grad for weight in bridge.parameters())


@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen2", "gemma2"])
def test_a_local_folder_loads_and_passes_every_check(tiny: Callable[[str], LensModel], kind: str) -> None:
    model = tiny(kind)
    assert model.grid.shape == (2, 4)
    assert {check.code: check.state for check in quick_check(model)} == dict.fromkeys(
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
    with pytest.raises(sl.InputError, match="dtype.*'float8'"):
        sl.load_model("demo", dtype="float8")  # type: ignore[arg-type]


def test_truncated_weights_are_refused(tiny_folder: Callable[[str], Path], tmp_path: Path) -> None:
    shutil.copytree(tiny_folder("llama"), tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(sl.InputError, match="cannot load a model from .*cut"):
        sl.load_model(tmp_path / "cut")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_hidden_layers": 3}, r"lacks weights that its config asks for, .* model\.layers\.2\.input_layernorm"),
        ({"vocab_size": 50}, "have other shapes than its config says"),
        ({"num_attention_heads": "eight"}, "cannot load a model from .*num_attention_heads"),
        ({"num_attention_heads": 7}, "cannot load a model from .*(multiple|divisible|number of attention heads)"),
    ],
)
def test_a_config_that_the_weights_do_not_fit_is_refused(
    changes: dict[str, Any], said: str, tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_folder("llama"), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(sl.InputError, match=said):
        sl.load_model(folder, device="cpu")


def test_a_name_that_no_folder_can_have_is_refused() -> None:
    with pytest.raises(sl.InputError, match="there is no model folder"):
        sl.load_model("./" + "a" * 300)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, so asking for it is no mistake")
def test_a_map_that_is_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(sl.InputError, match="unknown or missing device 'cuda'"):
        sl.load_model("demo", device_map="cuda")


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
    assert [check.state for check in quick_check(model)] == ["ok"] * 4


def test_something_that_is_no_model_of_these_libraries_is_refused() -> None:
    with pytest.raises(sl.InputError, match=r"takes a transformers model, a TransformerBridge or .*, got a Linear"):
        sl.wrap_model(torch.nn.Linear(2, 2))


def plain(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma-3-4b"])
def test_a_plain_model_in_memory_gives_the_same_model_as_loading_its_folder(
    kind: str, tiny_folder: Callable[[str], Path], tiny: Callable[[str], LensModel]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder(kind))
    wrapped, loaded = sl.wrap_model(plain(tiny_folder(kind)), tokenizer=tokenizer), tiny(kind)
    assert wrapped.identity.name == str(tiny_folder(kind))
    assert wrapped.identity == loaded.identity
    batch = Batch.of([[5, 6, 7]], pad=0, device=wrapped.device)
    assert torch.equal(wrapped.forward(batch), loaded.forward(batch))
    assert torch.equal(wrapped.attention(batch, [sl.Head(0, 1)]), loaded.attention(batch, [sl.Head(0, 1)]))


def test_a_tokenizer_that_is_handed_in_is_left_as_it_is(tiny_folder: Callable[[str], Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder("GPT-2"))  # does not add BOS, has no padding token
    model = sl.wrap_model(plain(tiny_folder("GPT-2")), tokenizer=tokenizer)
    assert not model.identity.bos
    assert tokenizer.pad_token is None
    assert tokenizer("Q: hot").input_ids == AutoTokenizer.from_pretrained(tiny_folder("GPT-2"))("Q: hot").input_ids


def test_a_model_that_was_never_saved_is_wrapped() -> None:
    tokenizer = AutoTokenizer.from_pretrained(DEMO_MODEL)
    hf_model = tiny_model("llama", vocab_size=len(tokenizer))
    assert sl.wrap_model(hf_model, tokenizer=tokenizer).identity.name == "LlamaForCausalLM"


def test_a_plain_model_without_a_tokenizer_and_one_that_was_taken_over_are_refused(
    tiny_folder: Callable[[str], Path],
) -> None:
    hf_model, tokenizer = plain(tiny_folder("llama")), AutoTokenizer.from_pretrained(DEMO_MODEL)
    with pytest.raises(sl.InputError, match="a LlamaForCausalLM brings no tokenizer; pass tokenizer="):
        sl.wrap_model(hf_model)
    sl.wrap_model(hf_model, tokenizer=tokenizer)
    with pytest.raises(sl.InputError, match="was taken over by a TransformerBridge already"):
        sl.wrap_model(hf_model, tokenizer=tokenizer)


def test_of_a_model_that_sees_images_the_text_decoder_is_hooked_and_nothing_is_installed(
    tiny_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError(f"started {args}")  # TransformerLens installs packages for image processors

    monkeypatch.setattr(subprocess, "check_call", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    folder = tiny_folder("gemma-3-4b")
    whole, model = plain(folder), sl.load_model(folder, device="cpu")
    assert type(whole).__name__ == "Gemma3ForConditionalGeneration"
    assert model.identity.architecture == "Gemma3ForCausalLM"
    ids = torch.tensor([[5, 6, 7, 8]])
    logits = model.forward(Batch.of(ids.tolist(), pad=0, device=model.device))
    with torch.no_grad():
        assert (whole(ids).logits[:, -1] - logits).abs().max() < 1e-4


def test_a_map_of_devices_puts_every_part_where_it_says(
    tiny_folder: Callable[[str], Path], tiny: Callable[[str], LensModel]
) -> None:
    parts = ["model.embed_tokens", "model.layers.0", "model.layers.1", "model.norm", "model.rotary_emb", "lm_head"]
    model = sl.load_model(tiny_folder("llama"), dtype="float32", device_map=dict.fromkeys(parts, "cpu"))
    assert model.identity.replace(name="") == tiny("llama").identity.replace(name="")
    assert {check.state for check in sl.check_model(model, longest=100)} == {"ok"}


def test_a_device_and_a_map_of_devices_are_not_taken_together() -> None:
    with pytest.raises(sl.InputError, match="device='cpu' and device_map='auto' were both given"):
        sl.load_model("demo", device="cpu", device_map="auto")


def test_a_map_of_devices_that_nobody_knows_is_refused(tiny_folder: Callable[[str], Path]) -> None:
    with pytest.raises(sl.InputError, match="unknown or missing device 'everywhere'"):
        sl.load_model(tiny_folder("llama"), device_map="everywhere")


OWN_CODE = """
from pathlib import Path
from transformers import LlamaConfig
(Path(__file__).parent / "ran").touch()
class OwnConfig(LlamaConfig):
    model_type = "own"
"""


def test_code_that_comes_with_a_checkpoint_is_not_run_unless_asked(
    tiny_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "cache"))
    shutil.copytree(tiny_folder("llama"), tmp_path / "model")
    marker = tmp_path / "ran"
    code = OWN_CODE.replace('(Path(__file__).parent / "ran")', f"Path({str(marker)!r})")
    (tmp_path / "model" / "own.py").write_text(code)
    settings = json.loads((tmp_path / "model" / "config.json").read_text())
    settings |= {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig"}}
    (tmp_path / "model" / "config.json").write_text(json.dumps(settings))
    with pytest.raises(sl.InputError, match="trust_remote_code"):
        sl.load_model(tmp_path / "model")
    assert not marker.exists()
    with pytest.raises(sl.InputError, match="is no decoder of text"):  # it brings a config, and no model
        sl.load_model(tmp_path / "model", trust_remote_code=True)
    assert marker.exists()


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


REFUSED = {
    "lfm2": r"1 of the 2 layers .* \(blocks\.0\.attn\.hook_z is missing\)",
    "qwen3_next": r"1 of the 2 layers .* \(blocks\.0\.attn\.hook_z is missing\)",
    "qwen3_5": r"1 of the 2 layers .* \(blocks\.0\.attn\.hook_z is missing\)",
    "jamba": r"1 of the 2 layers .* \(blocks\.0\.attn\.hook_z is missing\)",
    "granitemoehybrid": r"1 of the 2 layers .* \(blocks\.0\.attn\.hook_z is missing\)",
    "mamba": r"2 of the 2 layers .* \(blocks\.0\.attn\.hook_z is missing\)",
    "falcon_h1": "keeps its past in LinearAttentionAndFullAttentionLayer, not in plain keys and values",
    "gemma4": r"heads of different width, d_head \[8, 16\], are not supported",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_layers_without_heads_and_heads_of_different_width_are_refused_with_the_reason(
    kind: str, tiny_folder: Callable[[str], Path]
) -> None:
    with pytest.raises(sl.ModelError, match=REFUSED[kind]):
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
        sl.injection_edits(folded, sl.HeadGates.constant(folded.grid, 0.5), embedding)


def test_bos_follows_the_tokenizer_unless_told_otherwise(demo: LensModel, tiny_folder: Callable[[str], Path]) -> None:
    bos = demo.encoder.tokenizer.bos_token_id
    assert demo.encoder.encode(["Q: hot\nA:"])[0][0] == bos
    without = sl.load_model(tiny_folder("llama"), bos=False)
    assert bos not in without.encoder.encode(["Q: hot\nA:"])[0]
    assert not without.identity.bos
