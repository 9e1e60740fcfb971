"""Models are loaded or wrapped alike, or refused with the reason in one line."""

import functools
import json
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from transformers import AutoTokenizer

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.records.assets import DEMO_MODEL
from tests.conftest import Models, Tasks
from tests.tiny_models import MULTIMODAL, UNHOOKED, tiny_config, tiny_model
from tests.tiny_tokenizers import tiny_tokenizer

Folders = Callable[[str], Path]

REFUSED = {
    "jamba": "changes in place",
    "granitemoehybrid": "changes in place",
    "falcon_h1": "changes in place",
    "mamba": r"2 of the 2 layers .* \(blocks\.0\.attn\.hook_z is missing\)",
}
"""Recurrent states that model code writes into, and no heads at all, and the reason."""


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(DEMO_MODEL)


def outcome(make: Callable[[], LensModel]) -> type[Exception] | str:
    """Return the architecture of a model, or the kind of error, which must be ours and of one line."""
    try:
        return make().identity.architecture
    except sl.SiteLensError as error:
        assert len(str(error).splitlines()) == 1, error
        return type(error)


def boot(folder: Path) -> Any:
    from transformer_lens.model_bridge import TransformerBridge

    return TransformerBridge.boot_transformers(str(folder), device="cpu", dtype=torch.float32)


def plain(folder: Path) -> Any:
    return hf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def wrapped(tokenizer: Any, vocab_size: int, **options: Any) -> LensModel:
    return sl.wrap_model(tiny_model("llama", vocab_size=vocab_size), tokenizer=tokenizer, **options)


# Both doors


FEW = ("llama", "mistral3", "qwen2_vl", "falcon-40b", "mamba", "falcon_h1", "granitemoehybrid")


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[] if kind in FEW else [pytest.mark.slow])
        for kind in ("llama", *MULTIMODAL, "aya_vision", "qwen2_vl", *UNHOOKED, *REFUSED)
    ],
)
def test_a_folder_and_a_model_in_memory_are_answered_alike(kind: str, tiny_folder: Folders, tokenizer: Any) -> None:
    folder = tiny_folder(kind)
    multimodal = kind in (*MULTIMODAL, "aya_vision", "qwen2_vl")
    auto = hf.AutoModelForImageTextToText if multimodal else hf.AutoModelForCausalLM
    in_memory = auto.from_pretrained(folder)
    loaded = outcome(lambda: sl.load_model(folder, device="cpu"))
    assert outcome(lambda: sl.wrap_model(in_memory, tokenizer=tokenizer)) == loaded
    assert isinstance(loaded, str) == (kind in ("llama", *MULTIMODAL)), loaded
    if kind in REFUSED:
        with pytest.raises(sl.ModelError, match=REFUSED[kind]):
            sl.load_model(folder, device="cpu")


def test_models_that_predict_no_next_token_are_refused(tokenizer: Any, tmp_path: Path) -> None:
    llama, bert = tiny_config("llama", vocab_size=60), hf.BertConfig(vocab_size=60, hidden_size=24, num_hidden_layers=1)
    for i, hf_model in enumerate((hf.AutoModel.from_config(llama), hf.BertForMaskedLM(bert))):
        hf_model.save_pretrained(tmp_path / str(i))
        tokenizer.save_pretrained(tmp_path / str(i))
        assert outcome(partial(sl.wrap_model, hf_model, tokenizer=tokenizer)) is sl.InputError, type(hf_model)
        assert outcome(partial(sl.load_model, tmp_path / str(i))) is sl.InputError, type(hf_model)


def test_a_base_model_on_disk_whose_head_is_the_embedding_is_loaded_whole(tokenizer: Any, tmp_path: Path) -> None:
    whole = tiny_model("gpt2", vocab_size=len(tokenizer))
    whole.transformer.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = sl.load_model(tmp_path, device="cpu", dtype="float32")
    with torch.no_grad():
        expected = whole.eval()(torch.tensor([[5, 6, 7]])).logits[:, -1]
    assert (model.forward(Batch.of([[5, 6, 7]], pad=0, device=model.device)) - expected).abs().max() < 1e-5


def test_of_a_multimodal_model_the_text_decoder_is_hooked_and_nothing_is_installed(
    tiny_folder: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError(f"started {args}")  # TransformerLens installs packages for image processors

    monkeypatch.setattr(subprocess, "check_call", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    ids = torch.tensor([[5, 6, 7, 8]])
    for kind in ("gemma-3-4b", "mistral3"):
        whole = hf.AutoModelForImageTextToText.from_pretrained(tiny_folder(kind))
        model = sl.load_model(tiny_folder(kind), device="cpu")
        assert model.identity.architecture.endswith("ForCausalLM")
        with torch.no_grad():
            expected = whole.eval()(ids).logits[:, -1]
        logits = model.forward(Batch.of(ids.tolist(), pad=0, device=model.device)).cpu()
        assert (logits - expected).abs().max() / expected.std() < 1e-5, kind


def test_a_model_in_memory_gives_the_same_model_as_loading_its_folder(tiny_folder: Folders, tiny: Models) -> None:
    for kind in ("llama", "gpt2", "gemma-3-4b"):
        own = AutoTokenizer.from_pretrained(tiny_folder(kind))
        model, loaded = sl.wrap_model(plain(tiny_folder(kind)), tokenizer=own), tiny(kind)
        assert model.identity == loaded.identity
        batch = Batch.of([[5, 6, 7]], pad=0, device=model.device)
        assert torch.equal(model.forward(batch), loaded.forward(batch))
        assert torch.equal(model.attention(batch, [sl.Head(0, 1)]), loaded.attention(batch, [sl.Head(0, 1)]))
    bridge = sl.wrap_model(boot(tiny_folder("llama")), name="x")
    assert bridge.identity.replace(name="") == tiny("llama").identity.replace(name="")


# Wrapping


def test_what_cannot_be_wrapped_is_refused(tiny_folder: Folders, tokenizer: Any) -> None:
    from transformer_lens.model_bridge import TransformerBridge

    hf_model, bridge = plain(tiny_folder("llama")), boot(tiny_folder("llama"))
    bridge.tokenizer = None
    size = {"n_layers": 1, "d_model": 8, "n_heads": 2, "d_head": 4, "d_mlp": 16, "n_ctx": 16, "act_fn": "relu"}
    native = TransformerBridge.boot_native(size | {"d_vocab": len(tokenizer)}, tokenizer=tokenizer)
    sl.wrap_model(taken := tiny_model("llama", vocab_size=len(tokenizer)), tokenizer=tokenizer)
    cases: list[tuple[Any, Any, str]] = [
        (torch.nn.Linear(2, 2), None, "takes a transformers model, a TransformerBridge or .*, got a Linear"),
        (hf_model, None, "a LlamaForCausalLM brings no tokenizer; pass tokenizer="),
        (taken, tokenizer, "was taken over by a TransformerBridge already"),
        (bridge, None, "no tokenizer"),
        (native, None, "no Hugging Face model underneath"),
        (hf_model, hf.GPT2Tokenizer(), "has no vocabulary"),
        (hf_model, "no-such-tokenizer", "cannot load a tokenizer"),
        (hf_model, tokenizer.backend_tokenizer, "is no tokenizer of transformers"),
    ]
    for model, own, reason in cases:
        with pytest.raises((sl.InputError, sl.ModelError), match=reason):
            sl.wrap_model(model, tokenizer=own)


def test_weights_that_are_not_numbers_are_refused_unless_unchecked(tiny_folder: Folders) -> None:
    bridge = boot(tiny_folder("llama"))
    with torch.no_grad():
        next(bridge.parameters()).fill_(float("nan"))
    with pytest.raises(sl.ModelError, match="gap nan"):
        sl.wrap_model(bridge)
    assert sl.wrap_model(bridge, check=False).grid.shape == (2, 4)


def test_a_model_that_ignores_its_cache_is_refused_with_the_measured_gap(tiny_folder: Folders) -> None:
    bridge = boot(tiny_folder("llama"))
    inner = bridge.original_model.forward

    @functools.wraps(inner)
    def forgetful(*args: Any, past_key_values: Any = None, use_cache: bool = False, **kwargs: Any) -> Any:
        # Fills the cache, but attends to nothing of it when decoding.
        if past_key_values is not None and past_key_values.get_seq_length() > 0:
            kwargs["attention_mask"] = kwargs["attention_mask"][:, -args[0].shape[1] :]
            return inner(*args, use_cache=False, **kwargs)
        return inner(*args, past_key_values=past_key_values, use_cache=use_cache, **kwargs)

    bridge.original_model.forward = forgetful
    with pytest.raises(sl.ModelError, match=r"cached_equals_full: .* gap [\d.]+, threshold 0.0001"):
        sl.wrap_model(bridge)


def test_folded_value_biases_are_seen_and_an_embedding_of_the_raw_model_is_refused(
    tiny_folder: Folders, tiny: Models, demo_tasks: Tasks
) -> None:
    raw, bridge = tiny("gpt2"), boot(tiny_folder("gpt2"))
    embedding = sl.capture_embeddings(raw, [demo_tasks["antonym"]], n_prompts=2, n_shots=2)["antonym"]
    bridge.enable_compatibility_mode()
    if version("transformer-lens") < "4":  # whose compatibility mode passes no gradient
        with pytest.raises(sl.ModelError, match="gradient"):
            sl.wrap_model(bridge)
    folded = sl.wrap_model(bridge, check=version("transformer-lens") >= "4")
    assert (raw.identity.processing, folded.identity.processing) == ("raw", "folded")
    with pytest.raises(sl.MismatchError):
        sl.injection_edits(folded, sl.HeadGates.constant(folded.grid, 0.5), embedding)


# Tokenizers


def test_a_tokenizer_is_used_as_it_is_and_may_be_a_name_or_folder(tokenizer: Any, tiny_folder: Folders) -> None:
    assert wrapped(DEMO_MODEL, len(tokenizer)).encoder.digest == sl.load_model("demo").encoder.digest
    for kind in ("gpt2", "llama3"):
        own = tiny_tokenizer(kind)
        model = wrapped(own, len(own))
        assert model.encoder.encode(["Q: hot"])[0] == own("Q: hot").input_ids
        assert model.identity.bos is (own("a").input_ids[0] == own.bos_token_id)
    own = AutoTokenizer.from_pretrained(tiny_folder("GPT-2"))  # has BOS and does not add it, has no padding token
    assert not sl.wrap_model(plain(tiny_folder("GPT-2")), tokenizer=own).identity.bos
    assert own.pad_token is None
    assert sl.wrap_model(boot(tiny_folder("GPT-2")), tokenizer=own).identity.bos is False
    assert sl.wrap_model(boot(tiny_folder("GPT-2")), tokenizer=own, bos=True).identity.bos is True


def test_tokens_that_were_added_without_resizing_are_refused(tokenizer: Any, tmp_path: Path) -> None:
    for special in (None, {"bos_token": "<one>"}):
        more = AutoTokenizer.from_pretrained(DEMO_MODEL)
        more.add_special_tokens(special) if special else more.add_tokens(["<one>", "<two>"])
        with pytest.raises(sl.InputError, match=r"resize_token_embeddings"):
            wrapped(more, len(tokenizer))
        tiny_model("llama", vocab_size=len(tokenizer)).save_pretrained(tmp_path)
        more.save_pretrained(tmp_path)
        assert outcome(lambda: sl.load_model(tmp_path)) is sl.InputError
        resized = tiny_model("llama", vocab_size=len(tokenizer))
        resized.resize_token_embeddings(len(more), mean_resizing=False)
        assert sl.wrap_model(resized, tokenizer=more).encoder.vocabulary == len(more)


# Checkpoints


def test_mistakes_in_the_arguments_are_refused(tiny_folder: Folders) -> None:
    cases: list[tuple[Any, dict[str, Any], str]] = [
        ("./nowhere", {}, "hub id"), ("no-such-model-anywhere", {}, "hub id"), ("", {}, "no model is called ''"),
        ("demo", {"device": "gpu"}, "unknown or missing device 'gpu'"),
        ("demo", {"device_map": "everywhere"}, "unknown or missing device 'everywhere'"),
        ("demo", {"device": "cpu", "device_map": "auto"}, "were both given"),
        ("demo", {"dtype": "float8"}, "dtype"), ("demo", {"quantization": "int4"}, "quantization"),
    ]  # fmt: skip
    for name, options, reason in cases:
        with pytest.raises(sl.InputError, match=reason):
            sl.load_model(name, **options)


def test_a_folder_that_is_no_whole_checkpoint_is_refused_with_the_reason(tiny_folder: Folders, tmp_path: Path) -> None:
    def spoilt(name: str, *patterns: str, **files: str) -> Path:
        folder = shutil.copytree(tiny_folder("llama"), tmp_path / name)
        for file in [file for pattern in patterns for file in folder.glob(pattern)]:
            file.unlink()
        for stem, content in files.items():
            (folder / stem.replace("_dot_", ".")).write_text(content)
        return folder

    cut = spoilt("cut")
    (cut / "model.safetensors").write_bytes((cut / "model.safetensors").read_bytes()[:1000])
    adapter = {"adapter_config_dot_json": '{"peft_type": "LORA"}', "adapter_model_dot_safetensors": "x"}
    cases: dict[str, str | Path] = {
        "cannot load a model from .*cut": cut,
        "no tokenizer": spoilt("a", "token*"),
        "KeyError": spoilt("b", tokenizer_dot_json="{}"),
        "adapter": spoilt("c", "*", **adapter),
        "is a file": tiny_folder("llama") / "model.safetensors",
        "no weights;": spoilt("g", "*.safetensors"),
        "no config.json; give": spoilt("h", "config.json"),
        "no config.json; did you mean .*a": tmp_path,
    }
    for reason, folder in cases.items():
        with pytest.raises(sl.InputError, match=reason):
            sl.load_model(folder)


def test_weights_that_no_memory_holds_are_refused_before_they_are_read(
    tiny_folder: Folders, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_bytes = 4 * sum(weight.numel() for weight in tiny_model("llama", vocab_size=len(tokenizer)).parameters())
    monkeypatch.setattr("site_lens.models.loading.memory_of", lambda device: n_bytes - 1)
    with pytest.raises(sl.InputError, match="GiB of memory"):
        sl.load_model(tiny_folder("llama"), device="cpu", dtype="float32")
    assert sl.load_model(tiny_folder("llama"), device="cpu", dtype="bfloat16").identity.dtype == "bfloat16"


OWN_CODE = """
from pathlib import Path
from transformers import LlamaConfig
Path({marker!r}).touch()
class OwnConfig(LlamaConfig):
    model_type = "own"
"""


def test_code_that_comes_with_a_checkpoint_is_not_run_unless_asked(
    tiny_folder: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "cache"))
    folder, marker = shutil.copytree(tiny_folder("llama"), tmp_path / "model"), tmp_path / "ran"
    (folder / "own.py").write_text(OWN_CODE.format(marker=str(marker)))
    settings = json.loads((folder / "config.json").read_text())
    settings |= {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig"}}
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(sl.InputError, match="trust_remote_code"):
        sl.load_model(folder)
    assert not marker.exists()
    with pytest.raises(sl.InputError):  # it brings a config, and no model
        sl.load_model(folder, trust_remote_code=True)
    assert marker.exists()
