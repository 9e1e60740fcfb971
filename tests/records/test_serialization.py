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

from site_lens import __version__
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
floats = st.floats(allow_nan=False, allow_infinity=False, width=32)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Path]:
    """Paths of the two files of saved gates: arrays, JSON."""
    save(gates(), tmp_path / "gates")
    return record_paths(tmp_path / "gates")


def rewrite(paths: tuple[Path, Path], tensors: bytes | None = None, **changes: Any) -> Path:
    """Change what a manifest says as somebody would who knows how to set every digest right."""
    tensors_path, manifest_path = paths
    if tensors is not None:
        tensors_path.write_bytes(tensors)
    said = (
        json.loads(manifest_path.read_bytes()) | {"tensors_digest": digest_bytes(tensors_path.read_bytes())} | changes
    )
    said.pop("digest")
    manifest_path.write_text(json.dumps(said | {"digest": digest_json(said)}))
    return manifest_path


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# What is saved comes back


def test_what_was_saved_is_loaded_unchanged(record: Record, tmp_path: Path) -> None:
    loaded: Record = load(save(record, tmp_path / "one"))
    assert type(loaded) is type(record)
    assert loaded == record
    assert loaded.digest == record.digest
    for name, array in loaded.parts()[0].items():
        assert array.dtype == np.float32
        assert not array.flags.writeable
        assert np.array_equal(array, record.parts()[0][name])


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


def test_saving_again_writes_the_same_bytes(record: Record, tmp_path: Path) -> None:
    for path in (tmp_path / "one", tmp_path / "two"):
        save(record, path)
    for one, two in zip(record_paths(tmp_path / "one"), record_paths(tmp_path / "two"), strict=True):
        assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("name", ["one", "one.json", "one.safetensors"])
def test_a_record_goes_by_its_name_with_or_without_a_suffix(name: str, tmp_path: Path) -> None:
    assert save(gates(), tmp_path / name) == tmp_path / "one.json"
    assert files_below(tmp_path) == {"one.json", "one.safetensors"}
    assert load(tmp_path / name, HeadGates) == gates()
    assert load(str(tmp_path / name), HeadScores) == gates()


def test_other_dots_belong_to_the_name(tmp_path: Path) -> None:
    save(gates(), tmp_path / "lr0.2")
    save(scores(), tmp_path / "lr0.4")
    assert files_below(tmp_path) == {f"lr0.{i}.{suffix}" for i in (2, 4) for suffix in ("json", "safetensors")}


def test_missing_folders_are_made(tmp_path: Path) -> None:
    assert load(save(gates(), tmp_path / "a" / "b" / "gates"), HeadGates) == gates()


@pytest.mark.parametrize("turned", [lambda x: x.T, np.asfortranarray, lambda x: np.broadcast_to(x[:, :1], x.shape)])
def test_arrays_are_stored_by_their_axes_however_they_lie_in_memory(
    turned: Callable[[np.ndarray], np.ndarray], tmp_path: Path
) -> None:
    values = turned(np.arange(9, dtype=np.float32).reshape(3, 3))
    scores = HeadScores(grid=HeadGrid.full(3, 3), values=values, selector="test", meaning="x")
    loaded = load(save(scores, tmp_path / "scores"), HeadScores)
    assert np.array_equal(loaded.values, values)
    assert loaded == scores


def test_the_json_says_kind_schema_version_and_axes(saved: tuple[Path, Path]) -> None:
    said = json.loads(saved[1].read_bytes())
    assert said["kind"] == "head_gates"
    assert said["record_schema"] == 1
    assert said["site_lens"] == __version__
    assert said["axes"] == {"values": [3, 3]}
    assert said["fields"]["values"] == {"$array": "values"}


def test_every_record_of_the_package_can_be_stored_and_is_sampled_here() -> None:
    def heirs(of: type[Record]) -> set[type[Record]]:
        return {heir for one in of.__subclasses__() for heir in {one, *heirs(one)}}

    homes = {
        f"{heir.__module__}:{heir.__name__}"
        for heir in heirs(Record)
        if hasattr(heir, "kind") and heir.__module__.startswith("site_lens.")
    }
    assert homes <= {*KINDS.values(), *(study.result for study in STUDIES.values())}
    assert {*KINDS, *STUDIES} == set(SAMPLES)
    assert {kind: sample().kind for kind, sample in SAMPLES.items()} == {kind: kind for kind in SAMPLES}


def test_a_new_record_replaces_the_old_one(saved: tuple[Path, Path]) -> None:
    save(scores(), saved[1])
    assert load(saved[1], HeadScores) == scores()


# What was damaged is refused


@pytest.mark.parametrize("which", [0, 1])
def test_one_flipped_bit_anywhere_is_recognised(saved: tuple[Path, Path], which: int) -> None:
    content = saved[which].read_bytes()
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1
        saved[which].write_bytes(bytes(flipped))
        with pytest.raises(StorageError, match=f"gates.{['safetensors', 'json'][which]}"):
            load(saved[1])


@laws
@given(which=st.sampled_from([0, 1]), data=st.data())
def test_a_damaged_record_is_refused_or_says_the_same(tmp_path: Path, which: int, data: st.DataObject) -> None:
    save(gates(), tmp_path / "gates")
    path = record_paths(tmp_path / "gates")[which]
    content = path.read_bytes()
    position = data.draw(st.integers(0, len(content) - 1))
    path.write_bytes(content[:position] + data.draw(st.binary(max_size=3)) + content[position + 1 :])
    try:
        loaded = load(tmp_path / "gates", HeadGates)
    except StorageError:
        return
    assert loaded == gates()


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("which", [0, 1])
def test_a_truncated_file_is_refused_by_name(saved: tuple[Path, Path], which: int, share: float) -> None:
    content = saved[which].read_bytes()
    saved[which].write_bytes(content[: int(share * len(content))])
    with pytest.raises(StorageError, match=rf"gates\.{['safetensors', 'json'][which]} is truncated or .*remake"):
        load(saved[1])


@pytest.mark.parametrize(("was", "becomes"), [("antonym", "synonym"), ('"site"', '"other"'), (__version__, "9.9.9")])
def test_an_edited_field_is_recognised(saved: tuple[Path, Path], was: str, becomes: str) -> None:
    text = saved[1].read_text()
    assert was in text
    saved[1].write_text(text.replace(was, becomes))
    with pytest.raises(StorageError, match=r"gates\.json was edited after it was written; remake the record"):
        load(saved[1])


def test_arrays_of_another_record_are_recognised(saved: tuple[Path, Path], tmp_path: Path) -> None:
    save(gates().hard(), tmp_path / "hard")
    shutil.copy(tmp_path / "hard.safetensors", saved[0])
    with pytest.raises(StorageError, match=r"gates\.safetensors is truncated or was edited"):
        load(saved[1])


def test_a_newer_schema_is_refused_with_the_way_out(saved: tuple[Path, Path]) -> None:
    path = rewrite(saved, record_schema=2, site_lens="9.0.0")
    said = f"written by site_lens 9.0.0 with schema 2 of head_gates; site_lens {__version__} reads up to 1: upgrade"
    with pytest.raises(StorageError, match=said):
        load(path)


def test_an_unknown_kind_is_refused_by_its_name(saved: tuple[Path, Path]) -> None:
    with pytest.raises(
        StorageError, match=r"gates\.json holds a 'os.system', which site_lens .* does not know; upgrade"
    ):
        load(rewrite(saved, kind="os.system"))


def test_a_record_of_another_kind_than_expected_is_refused(saved: tuple[Path, Path]) -> None:
    with pytest.raises(StorageError, match=r"gates\.json holds a head_gates, not a site_fit"):
        load(saved[1], SiteFit)


@pytest.mark.parametrize("text", ["[]", "null", "3", '"record"', "[{}]"])
def test_json_that_is_no_object_is_refused(saved: tuple[Path, Path], text: str) -> None:
    saved[1].write_text(text)
    with pytest.raises(StorageError, match=r"gates\.json is not a site_lens record"):
        load(saved[1])


@pytest.mark.parametrize("text", ["", "{", "not JSON", "\x00\x01\x02", "[" * 200_000, '{"a":' * 200_000, "1" * 5000])
def test_what_is_not_json_is_refused_without_a_crash(saved: tuple[Path, Path], text: str) -> None:
    saved[1].write_text(text)
    with pytest.raises(StorageError, match=r"gates\.json is truncated or not JSON"):
        load(saved[1])


def test_an_object_of_other_keys_is_refused_with_the_first_that_is_missing(saved: tuple[Path, Path]) -> None:
    saved[1].write_text('{"input": "hot", "output": "cold"}')
    with pytest.raises(StorageError, match=r"gates\.json is not a site_lens record: kind: Field required"):
        load(saved[1])


@pytest.mark.parametrize("depth", [50, 300, 900])
def test_deep_nesting_with_the_right_digests_is_refused(saved: tuple[Path, Path], depth: int) -> None:
    nested: Any = "antonym"
    for _ in range(depth):
        nested = [nested]
    fields = json.loads(saved[1].read_bytes())["fields"]
    with pytest.raises(StorageError, match=r"gates\.json (does not hold a valid head_gates|was edited|is truncated)"):
        load(rewrite(saved, fields=fields | {"task": nested}))


def test_numbers_that_no_record_holds_are_refused(saved: tuple[Path, Path]) -> None:
    saved[1].write_text(saved[1].read_text().replace('"antonym"', "NaN"))
    with pytest.raises(StorageError, match=r"gates\.json was edited after it was written"):
        load(saved[1])


def test_half_characters_are_refused(saved: tuple[Path, Path]) -> None:
    saved[1].write_text(saved[1].read_text().replace('"antonym"', r'"\ud800"'))
    with pytest.raises(StorageError, match=r"gates\.json was edited after it was written"):
        load(saved[1])


def test_a_manifest_far_too_large_is_refused_unread(saved: tuple[Path, Path]) -> None:
    os.truncate(saved[1], Limits().record_json_bytes + 1)  # sparse: takes no room on the disk
    with pytest.raises(StorageError, match=r"gates\.json: it is larger than 67108864 bytes"):
        load(saved[1])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"selector": "site"}, "HeadGates: grid: Field required"),
        ({"values": {"$array": "nowhere"}}, "nowhere"),
        ({"values": {"$array": ["values"]}}, "values cannot be the array"),
        ({"values": [[0.5]]}, "along layer, grid has"),
        ({"values": "many"}, "needs numbers with axes"),
        ({"task": {"$array": "values"}}, "task cannot be the array 'values'"),
        ({"invented": 1}, "invented: Extra inputs are not permitted"),
        ({"self": 1}, "self"),
    ],
)
def test_fields_that_make_no_record_are_refused_even_with_the_right_digests(
    saved: tuple[Path, Path], fields: dict[str, Any], said: str
) -> None:
    honest = json.loads(saved[1].read_bytes())["fields"]
    with pytest.raises(StorageError, match=rf"gates\.json does not hold a valid head_gates: .*{said}"):
        load(rewrite(saved, fields=fields if "selector" in fields else honest | fields))


def test_alphas_out_of_range_are_refused_even_with_the_right_digests(saved: tuple[Path, Path]) -> None:
    with pytest.raises(StorageError, match=r"does not hold a valid head_gates: .*gates lie in \[0, 1\]"):
        load(rewrite(saved, to_safetensors({"values": -gates().values})))


def test_arrays_of_other_shapes_or_names_than_the_json_says_are_refused(saved: tuple[Path, Path]) -> None:
    for tensors in ({"values": np.zeros((2, 2), np.float32)}, {"other": gates().values}, {}):
        with pytest.raises(
            StorageError, match=r"gates\.safetensors holds arrays .* its JSON says \{'values': \[3, 3\]\}"
        ):
            load(rewrite(saved, to_safetensors(tensors)))


def test_arrays_in_no_safetensors_file_are_refused(saved: tuple[Path, Path]) -> None:
    with pytest.raises(StorageError, match=r"gates\.safetensors is not a safetensors file"):
        load(rewrite(saved, b"PK\x03\x04 a pickle in a zip archive"))


@pytest.mark.parametrize(
    ("dtype", "n_bytes", "said"),
    [
        ("BF16", 2, "is not a safetensors file of float32 arrays: 'BF16'"),
        ("F64", 8, "holds arrays of float64; records hold float32"),
        ("C64", 8, "holds arrays of complex64; records hold float32"),
        ("BOOL", 1, "holds arrays of bool; records hold float32"),
    ],
)
def test_arrays_of_other_number_formats_are_refused(
    saved: tuple[Path, Path], dtype: str, n_bytes: int, said: str
) -> None:
    about = {"dtype": dtype, "shape": [3, 3], "data_offsets": [0, 9 * n_bytes]}
    header = json.dumps({"values": about}).encode()
    with pytest.raises(StorageError, match=rf"gates\.safetensors {said}"):
        load(rewrite(saved, len(header).to_bytes(8, "little") + header + bytes(9 * n_bytes)))


# What is not there


def test_a_record_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=rf"there is no record at {tmp_path}/nowhere\.json; check the path"):
        load(tmp_path / "nowhere")


def test_arrays_that_are_not_there_are_named(saved: tuple[Path, Path]) -> None:
    saved[0].unlink()
    with pytest.raises(
        StorageError, match=r"cannot read .*gates\.safetensors: No such file .*needs it beside its JSON"
    ):
        load(saved[1])


def test_a_folder_in_place_of_a_record_is_explained(saved: tuple[Path, Path]) -> None:
    with pytest.raises(StorageError, match=rf"{saved[0].parent} is a folder, not one record; use Run.load"):
        load(saved[0].parent)


def test_a_path_below_a_file_cannot_be_read(saved: tuple[Path, Path]) -> None:
    with pytest.raises(StorageError, match=r"cannot read .*gates\.json/x\.json: Not a directory"):
        load(saved[1] / "x")


# What cannot be written leaves nothing behind


def unwritable(tmp_path: Path) -> list[Path]:
    (tmp_path / "file").write_text("in the way")
    return [tmp_path / "file", tmp_path / "file" / "folder", Path("/proc/site_lens")]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_folder_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path: Path, which: int) -> None:
    folder = unwritable(tmp_path)[which]
    with pytest.raises(StorageError, match=rf"cannot write to {folder}: .*; choose another output folder"):
        save(gates(), folder / "gates")
    with pytest.raises(StorageError, match=rf"cannot write to {folder}: "):
        check_writable(folder)
    assert files_below(tmp_path) == {"file"}
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_folder_that_can_be_written_is_left_empty_by_the_check(tmp_path: Path) -> None:
    check_writable(tmp_path / "runs" / "demo")
    assert (tmp_path / "runs" / "demo").is_dir()
    assert files_below(tmp_path) == set()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("n_written", [0, 1])
def test_an_interrupted_save_leaves_the_old_record_whole(
    saved: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, error: BaseException, n_written: int
) -> None:
    calls: list[int] = []

    def fsync(handle: int) -> None:
        calls.append(handle)
        if len(calls) > n_written:
            raise error

    monkeypatch.setattr(os, "fsync", fsync)
    expected = StorageError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected, match="No space left on device" if expected is StorageError else None):
        save(gates().hard(), saved[1])
    monkeypatch.undo()
    assert files_below(saved[0].parent) == {"gates.json", "gates.safetensors"}
    assert load(saved[1], HeadGates) == gates()


@pytest.mark.parametrize("suffix", ["json", "safetensors"])
def test_a_folder_in_the_way_of_either_file_stops_both(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"gates.{suffix}").mkdir()
    with pytest.raises(StorageError, match=rf"cannot write to {tmp_path}: .*gates\.{suffix} is a folder"):
        save(gates(), tmp_path / "gates")
    assert files_below(tmp_path) == set()


def test_a_name_too_long_for_a_file_is_refused_without_a_trace(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="File name too long"):
        save(gates(), tmp_path / ("x" * 300))
    assert files_below(tmp_path) == set()


def test_files_are_written_whole_with_their_content(tmp_path: Path) -> None:
    write_whole({tmp_path / "a" / "one.csv": b"1", tmp_path / "b" / "two.csv": b"22"})
    assert files_below(tmp_path) == {"a/one.csv", "b/two.csv"}
    assert (tmp_path / "b" / "two.csv").read_bytes() == b"22"
