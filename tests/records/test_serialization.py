"""Records on disk: what is saved comes back, what was damaged is refused, a save that stops leaves the old record."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import save as to_safetensors

from site_lens._version import __version__
from site_lens.heads.head_set import HeadGrid
from site_lens.heads.scores import HeadGates, HeadScores
from site_lens.records.base import Record
from site_lens.records.errors import StorageError
from site_lens.records.hashing import digest_bytes, digest_json
from site_lens.records.limited_io import Limits
from site_lens.records.outputs import check_writable, write_whole
from site_lens.records.serialization import KINDS, load, record_paths, save
from site_lens.records.study_registry import STUDIES
from site_lens.site.fit import SiteFit
from tests.samples import SAMPLES, SMALL, gates, laws, scores

texts = st.text(st.characters(codec="utf-8"), max_size=20)
floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
Pair = tuple[Path, Path]


@pytest.fixture
def saved(tmp_path: Path) -> Pair:
    """Paths of the two files of saved gates: arrays, JSON."""
    save(gates(), tmp_path / "gates")
    return record_paths(tmp_path / "gates")


def rewrite(paths: Pair, tensors: bytes | None = None, **changes: Any) -> Path:
    """Change a manifest as somebody would who knows how to set every digest right."""
    tensors_path, manifest_path = paths
    if tensors is not None:
        tensors_path.write_bytes(tensors)
    said = json.loads(manifest_path.read_bytes()) | {"tensors_digest": digest_bytes(tensors_path.read_bytes())}
    said |= changes
    said.pop("digest")
    manifest_path.write_text(json.dumps(said | {"digest": digest_json(said)}))
    return manifest_path


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# What is saved comes back


def test_records_of_every_kind_come_back_and_saving_again_writes_the_same_bytes(tmp_path: Path) -> None:
    for kind, sample in SAMPLES.items():
        record = sample()
        loaded: Record = load(save(record, tmp_path / kind))
        assert type(loaded) is type(record), kind
        assert loaded == record, kind
        for name, array in loaded.parts()[0].items():
            assert array.dtype == np.float32, (kind, name)
            assert not array.flags.writeable, (kind, name)
            assert np.array_equal(array, record.parts()[0][name]), (kind, name)
        save(loaded, tmp_path / f"{kind}_again")
        for one, two in zip(record_paths(tmp_path / kind), record_paths(tmp_path / f"{kind}_again"), strict=True):
            assert one.read_bytes() == two.read_bytes(), kind


@laws
@given(values=arrays.arrays(np.float32, SMALL.shape, elements=floats), text=texts, task=st.none() | texts)
def test_any_numbers_and_texts_come_back_to_the_last_bit(
    tmp_path: Path, values: np.ndarray, text: str, task: str | None
) -> None:
    record = HeadScores(grid=SMALL, values=values * SMALL.mask, selector=text, meaning=text, task=task)
    loaded = load(save(record, tmp_path / "one"), HeadScores)
    assert loaded == record
    assert (loaded.selector, loaded.task) == (text, task)
    assert loaded.values.tobytes() == record.values.tobytes()


def test_a_record_goes_by_its_name_with_or_without_a_suffix(tmp_path: Path) -> None:
    for name in ("one", "one.json", "one.safetensors"):
        assert save(gates(), tmp_path / name) == tmp_path / "one.json"
        assert files_below(tmp_path) == {"one.json", "one.safetensors"}
        assert load(tmp_path / name, HeadGates) == load(str(tmp_path / name), HeadScores) == gates()
    save(scores(), tmp_path / "one")
    assert load(tmp_path / "one") == scores()  # a new record replaces the old one
    save(gates(), tmp_path / "new" / "lr0.2")
    assert files_below(tmp_path / "new") == {"lr0.2.json", "lr0.2.safetensors"}


def test_arrays_are_stored_by_their_axes_however_they_lie_in_memory(tmp_path: Path) -> None:
    layouts: list[Callable[[np.ndarray], np.ndarray]] = [
        lambda x: x.T, np.asfortranarray, lambda x: np.broadcast_to(x[:, :1], x.shape)
    ]  # fmt: skip
    for layout in layouts:
        values = layout(np.arange(9, dtype=np.float32).reshape(3, 3))
        record = HeadScores(grid=HeadGrid.full(3, 3), values=values, selector="test", meaning="x")
        loaded = load(save(record, tmp_path / "scores"), HeadScores)
        assert np.array_equal(loaded.values, values)
        assert loaded == record


def test_the_json_names_kind_schema_version_and_axes(saved: Pair) -> None:
    manifest = json.loads(saved[1].read_bytes())
    assert (manifest["kind"], manifest["record_schema"], manifest["site_lens"]) == ("head_gates", 1, __version__)
    assert manifest["axes"] == {"values": [3, 3]}
    assert manifest["fields"]["values"] == {"$array": "values"}


def test_every_record_of_the_package_can_be_stored_and_is_sampled() -> None:
    def heirs(of: type[Record]) -> set[type[Record]]:
        return {heir for child in of.__subclasses__() for heir in {child, *heirs(child)}}

    homes = {f"{heir.__module__}:{heir.__name__}" for heir in heirs(Record) if hasattr(heir, "kind")}
    stored = {*KINDS.values(), *(study.result for study in STUDIES.values())}
    assert {home for home in homes if home.startswith("site_lens.")} <= stored
    assert {*KINDS, *STUDIES} == set(SAMPLES)
    assert {kind: sample().kind for kind, sample in SAMPLES.items()} == {kind: kind for kind in SAMPLES}


# What was damaged is refused


def test_one_flipped_bit_anywhere_and_every_cut_is_recognised(saved: Pair) -> None:
    for path in saved:
        content = path.read_bytes()
        damaged = [content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :] for i in range(len(content))]
        for changed in (*damaged, *(content[:end] for end in range(0, len(content), 7))):
            path.write_bytes(changed)
            with pytest.raises(StorageError, match=path.name):
                load(saved[1])
        path.write_bytes(content)
    assert load(saved[1]) == gates()


def test_edited_and_swapped_files_are_recognised(saved: Pair, tmp_path: Path) -> None:
    text = saved[1].read_text()
    for was, becomes in (("antonym", "synonym"), ('"site"', '"other"'), (__version__, "9.9.9"), ('"antonym"', "NaN")):
        assert was in text
        saved[1].write_text(text.replace(was, becomes))
        with pytest.raises(StorageError, match="was edited"):
            load(saved[1])
    saved[1].write_text(text)
    save(gates().hard(), tmp_path / "hard")
    shutil.copy(tmp_path / "hard.safetensors", saved[0])
    with pytest.raises(StorageError):
        load(saved[1])


def test_files_that_are_no_records_are_refused_by_name(saved: Pair) -> None:
    nested = "[" * 900 + "]" * 900
    for text in ("", "{", "[]", "null", "[{}]", "[" * 200_000, "1" * 5000, '{"input": "hot"}', nested):
        saved[1].write_text(text)
        with pytest.raises(StorageError, match=r"gates\.json"):
            load(saved[1])
    for content in (b"\xff\xfe{}", "{}".encode("utf-16"), b"\x00\x01"):
        saved[1].write_bytes(content)
        with pytest.raises(StorageError, match=r"gates\.json"):
            load(saved[1])
    os.truncate(saved[1], Limits().record_json_bytes + 1)  # sparse: takes no room on the disk
    with pytest.raises(StorageError, match="larger than"):
        load(saved[1])


def test_newer_schemas_other_kinds_and_missing_files_end_in_one_line(saved: Pair, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="not a site_fit"):
        load(saved[1], SiteFit)
    newer: list[dict[str, Any]] = [{"record_schema": 2, "site_lens": "9.0.0"}, {"kind": "os.system"}]
    for changes in newer:
        with pytest.raises(StorageError, match="upgrade"):
            load(rewrite(saved, **changes))
    saved[0].unlink()
    for path in (saved[1], tmp_path / "nowhere", tmp_path, saved[1] / "x"):
        with pytest.raises(StorageError) as refused:
            load(path)
        assert "\n" not in str(refused.value)


def test_fields_and_arrays_that_make_no_record_are_refused_even_with_the_right_digests(saved: Pair) -> None:
    before = [path.read_bytes() for path in saved]
    honest = json.loads(before[1])["fields"]
    fields: list[dict[str, Any]] = [
        {"selector": "site"}, honest | {"values": {"$array": "nowhere"}}, honest | {"values": {"$array": ["values"]}},
        honest | {"values": [[0.5]]}, honest | {"values": "many"}, honest | {"task": {"$array": "values"}},
        honest | {"invented": 1}, honest | {"self": 1}, honest | {"task": [[["antonym"]]]},
    ]  # fmt: skip
    values = gates().values
    tensors: list[dict[str, np.ndarray]] = [
        {"values": -values}, {"values": values[:2, :2].copy()}, {"other": values}, {},
        {"values": values.astype(np.float64)}, {"values": values > 0},
    ]  # fmt: skip
    headers = [
        json.dumps({"values": {"dtype": dtype, "shape": [3, 3], "data_offsets": [0, 9 * size]}}).encode()
        for dtype, size in (("BF16", 2), ("C64", 8))
    ]
    contents = [*map(to_safetensors, tensors), b"PK\x03\x04 a zip archive"]
    contents += [len(header).to_bytes(8, "little") + header + bytes(72) for header in headers]
    for changes in (*({"fields": each} for each in fields), *({"tensors": content} for content in contents)):
        with pytest.raises(StorageError):
            load(rewrite(saved, **changes))  # type: ignore[arg-type]
        for path, content in zip(saved, before, strict=True):
            path.write_bytes(content)
    assert load(saved[1]) == gates()


# What cannot be written leaves nothing behind


def test_a_place_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "folder", Path("/proc/site_lens")):
        with pytest.raises(StorageError, match="choose another output folder"):
            save(gates(), folder / "gates")
        with pytest.raises(StorageError):
            check_writable(folder)
    with pytest.raises(StorageError):
        save(gates(), tmp_path / ("x" * 300))
    for suffix in ("json", "safetensors"):
        (tmp_path / f"gates.{suffix}").mkdir()
        with pytest.raises(StorageError):
            save(gates(), tmp_path / "gates")
        (tmp_path / f"gates.{suffix}").rmdir()
    assert files_below(tmp_path) == {"file"}
    check_writable(tmp_path / "runs" / "demo")
    assert (tmp_path / "runs" / "demo").is_dir()
    write_whole({tmp_path / "a" / "one.csv": b"1", tmp_path / "b" / "two.csv": b"22"})
    assert files_below(tmp_path) == {"file", "a/one.csv", "b/two.csv"}


def test_an_interrupted_save_leaves_the_old_record_whole(saved: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (OSError(28, "No space left on device"), KeyboardInterrupt()):
        for n_written in (0, 1):
            calls: list[int] = []

            def fsync(handle: int, calls: list[int] = calls, n: int = n_written, error: BaseException = error) -> None:
                calls.append(handle)
                if len(calls) > n:
                    raise error

            monkeypatch.setattr(os, "fsync", fsync)
            with pytest.raises(StorageError if isinstance(error, OSError) else KeyboardInterrupt):
                save(gates().hard(), saved[1])
            assert files_below(saved[0].parent) == {"gates.json", "gates.safetensors"}
            assert load(saved[1], HeadGates) == gates()
