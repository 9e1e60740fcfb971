"""The two doors, `load_model` and `wrap_model`: what one takes the other takes, and what raises is said in one line."""

import copy
import json
import shutil
from collections.abc import Callable
from functools import partial
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
from tests.models.test_loading import REFUSED
from tests.tiny_models import MULTIMODAL, UNHOOKED, tiny_config, tiny_model
from tests.tiny_tokenizers import tiny_tokenizer

Folders = Callable[[str], Path]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(DEMO_MODEL)


def outcome(make: Callable[[], LensModel]) -> type[Exception] | str:
    """What a door makes of a model: its architecture, or the kind of error, which must be ours and of one line."""
    try:
        return make().identity.architecture
    except sl.SiteLensError as error:
        assert len(str(error).splitlines()) == 1, error
        return type(error)


@pytest.mark.parametrize("kind", ["llama", *MULTIMODAL, "aya_vision", "qwen2_vl", *UNHOOKED, *REFUSED])
def test_both_doors_answer_alike(kind: str, tiny_folder: Folders, tokenizer: Any) -> None:
    folder = tiny_folder(kind)
    several = kind in (*MULTIMODAL, "aya_vision", "qwen2_vl")
    auto = hf.AutoModelForImageTextToText if several else hf.AutoModelForCausalLM
    in_memory = auto.from_pretrained(folder)
    loaded = outcome(lambda: sl.load_model(folder, device="cpu"))
    assert outcome(lambda: sl.wrap_model(in_memory, tokenizer=tokenizer)) == loaded
    assert isinstance(loaded, str) == (kind in ("llama", *MULTIMODAL)), loaded


@pytest.mark.parametrize("kind", [kind for kind in UNHOOKED if kind != "persimmon"])
def test_what_transformer_lens_raises_is_said_with_architecture_and_reason(
    kind: str, tiny_folder: Folders, tokenizer: Any
) -> None:
    hf_model = tiny_model(kind, vocab_size=len(tokenizer))
    with pytest.raises(sl.ModelError, match=type(hf_model).__name__) as raised:
        sl.wrap_model(hf_model, tokenizer=tokenizer)
    cause = raised.value.__cause__
    assert cause is not None
    assert not isinstance(cause, sl.SiteLensError)
    assert str(cause).splitlines()[:1] == [] or str(cause).splitlines()[0] in str(raised.value)


@pytest.mark.parametrize(
    "error",
    [AssertionError(), KeyError("x"), IndexError("a\nb"), MemoryError(), TypeError("t"), RecursionError("deep")],
)
def test_whatever_is_raised_while_a_model_is_taken_over_is_an_error_of_ours(
    error: Exception, tiny_folder: Folders, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformer_lens.model_bridge import TransformerBridge

    def fail(*args: Any, **options: Any) -> None:
        raise error

    hf_model = tiny_model("llama", vocab_size=len(tokenizer))
    monkeypatch.setattr(TransformerBridge, "boot_transformers", fail)
    assert outcome(lambda: sl.load_model(tiny_folder("llama"))) is sl.ModelError
    assert outcome(lambda: sl.wrap_model(hf_model, tokenizer=tokenizer)) is sl.ModelError


@pytest.mark.parametrize("kind", MULTIMODAL)
def test_the_text_decoder_computes_what_the_whole_computes(kind: str, tiny_folder: Folders) -> None:
    whole, model = hf.AutoModelForImageTextToText.from_pretrained(tiny_folder(kind)), sl.load_model(tiny_folder(kind))
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        expected = whole.eval()(ids).logits[:, -1]
    found = model.forward(Batch.of(ids.tolist(), pad=0, device=model.device)).cpu()
    assert (found - expected).abs().max() / expected.std() < 1e-5


def no_decoders() -> list[Any]:
    """Models that predict no next token of a text."""
    llama, bert = tiny_config("llama", vocab_size=60), hf.BertConfig(vocab_size=60, hidden_size=24, num_hidden_layers=1)
    t5 = hf.T5Config(d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, vocab_size=60, decoder_start_token_id=0)
    gpt2 = tiny_config("gpt2", vocab_size=60)
    gpt2.pad_token_id = 0
    return [
        hf.AutoModel.from_config(llama),
        hf.AutoModelForSequenceClassification.from_config(gpt2),
        hf.AutoModelForTokenClassification.from_config(llama),
        hf.AutoModelForQuestionAnswering.from_config(llama),
        hf.BertForMaskedLM(bert),
        hf.BertLMHeadModel(bert),
        hf.T5ForConditionalGeneration(t5),
        hf.T5EncoderModel(t5),
    ]


def test_models_that_predict_no_next_token_are_refused_by_both_doors(tokenizer: Any, tmp_path: Path) -> None:
    for i, hf_model in enumerate(no_decoders()):
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


def wrapped(tokenizer: Any, vocab_size: int, **options: Any) -> LensModel:
    return sl.wrap_model(tiny_model("llama", vocab_size=vocab_size), tokenizer=tokenizer, **options)


def test_a_tokenizer_may_be_a_name_or_a_folder_and_anything_else_is_refused(tokenizer: Any) -> None:
    for given in (DEMO_MODEL, str(DEMO_MODEL)):
        assert wrapped(given, len(tokenizer)).encoder.digest == sl.load_model("demo").encoder.digest
    for other in ("no-such-tokenizer", 5, tokenizer.backend_tokenizer):
        assert outcome(partial(wrapped, other, len(tokenizer))) is sl.InputError, other


@pytest.mark.parametrize("kind", ["gpt2", "llama3", "mistral", "qwen"])
def test_a_tokenizer_that_was_built_in_memory_is_used_as_it_is(kind: Any) -> None:
    own = tiny_tokenizer(kind)
    assert "name_or_path" not in own.init_kwargs
    model = wrapped(own, len(own))
    assert model.encoder.encode(["Q: hot"])[0] == own("Q: hot").input_ids
    assert model.identity.bos is (own("a").input_ids[0] == own.bos_token_id)


def test_a_tokenizer_without_a_vocabulary_is_refused() -> None:
    assert outcome(lambda: wrapped(hf.GPT2Tokenizer(), 60)) is sl.InputError


def test_tokens_that_were_added_without_resizing_are_refused_by_both_doors(tokenizer: Any, tmp_path: Path) -> None:
    for special in (None, {"additional_special_tokens": ["<one>"]}, {"bos_token": "<one>"}):
        more = copy.deepcopy(tokenizer)
        more.add_special_tokens(special) if special else more.add_tokens(["<one>", "<two>"])
        with pytest.raises(sl.InputError, match=r"resize_token_embeddings"):
            wrapped(more, len(tokenizer))
        tiny_model("llama", vocab_size=len(tokenizer)).save_pretrained(tmp_path)
        more.save_pretrained(tmp_path)
        assert outcome(lambda: sl.load_model(tmp_path)) is sl.InputError
        resized = tiny_model("llama", vocab_size=len(tokenizer))
        resized.resize_token_embeddings(len(more), mean_resizing=False)
        assert {check.state for check in sl.check_model(sl.wrap_model(resized, tokenizer=more), longest=100)} == {"ok"}


def test_embeddings_may_have_more_rows_than_tokens_and_a_padding_token_may_have_none(tokenizer: Any) -> None:
    assert wrapped(tokenizer, len(tokenizer) + 64).grid.shape == (2, 4)
    padded = copy.deepcopy(tokenizer)
    padded.add_special_tokens({"pad_token": "<padding>"})
    model = wrapped(padded, len(tokenizer))
    assert model.encoder.vocabulary == len(tokenizer) < len(padded)
    assert {check.state for check in sl.check_model(model, longest=100)} == {"ok"}
    with pytest.raises(sl.InputError, match="<padding>"):
        model.encoder.encode(["Q: <padding>"])


def remove(folder: Path, *patterns: str) -> None:
    for pattern in patterns:
        for file in folder.glob(pattern):
            file.unlink()


def test_a_folder_that_is_no_whole_checkpoint_is_refused_with_what_it_is(tiny_folder: Folders, tmp_path: Path) -> None:
    def spoilt(name: str, *patterns: str, **files: str) -> Path:
        folder = shutil.copytree(tiny_folder("llama"), tmp_path / name)
        remove(folder, *patterns)
        for stem, content in files.items():
            (folder / stem.replace("_dot_", ".")).write_text(content)
        return folder

    adapter = {"adapter_config_dot_json": '{"peft_type": "LORA"}', "adapter_model_dot_safetensors": "x"}
    gguf = {"model_dot_gguf": "GGUF"}
    cases: dict[str, str | Path] = {
        "no tokenizer": spoilt("a", "token*"),
        "KeyError": spoilt("b", tokenizer_dot_json="{}"),
        "adapter": spoilt("c", "*", **adapter),
        "merge_and_unload": spoilt("d", "*.safetensors", **adapter),
        "GGUF": spoilt("e", "*", **gguf),
        "no weights .*GGUF": spoilt("f", "*.safetensors", **gguf),
        "is a GGUF file": tmp_path / "f" / "model.gguf",
        "is a file": tiny_folder("llama") / "model.safetensors",
        "no weights;": spoilt("g", "*.safetensors"),
        "no config.json; give": spoilt("h", "config.json"),
        "no config.json; did you mean .*a": tmp_path,
        "no model is called ''": "",
    }
    for said, where in cases.items():
        with pytest.raises(sl.InputError, match=said) as raised:
            sl.load_model(where)
        assert "hub id" not in str(raised.value) or where == "", where


@pytest.mark.parametrize(
    ("kind", "layers", "heads"), [("llama", "num_hidden_layers", "num_attention_heads"), ("gpt2", "n_layer", "n_head")]
)
def test_a_strange_config_is_refused_before_anything_is_built(
    kind: str, layers: str, heads: str, tiny_folder: Folders, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_folder(kind), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    positions = "n_positions" if kind == "gpt2" else "max_position_embeddings"
    act = "activation_function" if kind == "gpt2" else "hidden_act"
    strange: list[dict[str, Any]] = [
        *({layers: n} for n in (-1, 0, 10**9, 10**30, "many", 2.5, None)),
        *({heads: n} for n in (-1, 0, 10**9, "many")),
        *({positions: n} for n in (-1, 0, 10**30)),
        *({"vocab_size": n} for n in (-1, 0, 10**9, 10**30)),
        {act: "no-activation"}, {"head_dim": 10**9}, {"dtype": "int8"}, {"auto_map": 5}, {"text_config": 5},
    ]  # fmt: skip
    for change in strange:
        (folder / "config.json").write_text(json.dumps(config | change))
        found = outcome(lambda: sl.load_model(folder, device="cpu"))
        assert found in (sl.InputError, sl.ModelError), change
    for content in ("[]", "5", "null", "", "{", "[" * 10**5, "{}", '{"model_type": "llama"}'):
        (folder / "config.json").write_text(content)
        assert outcome(lambda: sl.load_model(folder, device="cpu")) is sl.InputError, content


def test_weights_that_no_memory_holds_are_refused_before_they_are_read(
    tiny_folder: Folders, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_bytes = 4 * sum(weight.numel() for weight in tiny_model("llama", vocab_size=len(tokenizer)).parameters())
    monkeypatch.setattr("site_lens.models.loading.memory_of", lambda device: n_bytes - 1)
    with pytest.raises(sl.InputError, match="GiB of memory"):
        sl.load_model(tiny_folder("llama"), device="cpu", dtype="float32")
    assert sl.load_model(tiny_folder("llama"), device="cpu", dtype="bfloat16").identity.dtype == "bfloat16"
