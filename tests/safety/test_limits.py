"""Files that claim too much are refused before anything of that size is made; the limits can be moved."""

import io
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import site_lens as sl
from site_lens.records.hashing import digest_bytes
from site_lens.records.limited_io import current_limits, parse_json, read_file
from site_lens.records.serialization import record_paths, save
from tests.fakes import fake_fits
from tests.safety.mutations import signed
from tests.safety.watching import refused, watched
from tests.samples import fit, gates


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Path]:
    """Paths of the two files of saved gates: arrays, JSON."""
    return record_paths(save(gates(), tmp_path / "gates"))


def claim(paths: tuple[Path, Path], **changes: Any) -> Path:
    """Change what a manifest says, with the right digests."""
    tensors, manifest = paths
    manifest.write_bytes(signed(json.loads(manifest.read_bytes()) | changes, tensors.read_bytes()))
    return manifest


# Records


@pytest.mark.parametrize("shape", [[2**40, 3], [2**62, 2**62], [10**30], [1] * 9 + [2**31]])
def test_arrays_that_are_said_to_be_huge_are_refused_unread(saved: tuple[Path, Path], shape: list[int]) -> None:
    path = claim(saved, axes={"values": shape})
    saved[0].unlink()  # it would be missed if it were opened
    with watched(), refused(sl.StorageError, "says that its arrays take more than 1073741824 bytes; if you trust it"):
        sl.load(path)


def test_an_axis_of_negative_length_is_refused(saved: tuple[Path, Path]) -> None:
    path = claim(saved, axes={"values": [-3, -3]})
    with watched(), refused(sl.StorageError, "an axis of negative length"):
        sl.load(path)


def test_a_file_of_arrays_far_larger_than_said_is_refused_unread(saved: tuple[Path, Path]) -> None:
    os.truncate(saved[0], 2**40)  # sparse: takes no room on the disk
    with watched(), refused(sl.StorageError, r"cannot read .*gates\.safetensors: it is larger than \d+ bytes"):
        sl.load(saved[1])


@pytest.mark.parametrize("heads", [[10**12], [1] * 10**5 + [10**5], [2**62] * 3])
def test_huge_grids_are_refused_before_their_masks_are_made(saved: tuple[Path, Path], heads: list[int]) -> None:
    fields = json.loads(saved[1].read_bytes())["fields"] | {"grid": {"heads_per_layer": heads}}
    path = claim(saved, fields=fields)
    with watched(), refused(sl.StorageError, "a head grid has at most 1048576 places"):
        sl.load(path)


def test_one_array_cannot_stand_in_many_places(tmp_path: Path) -> None:
    paths = record_paths(save(fit(), tmp_path / "fit"))
    fields = json.loads(paths[1].read_bytes())["fields"]
    fields["embedding"]["spread"] = fields["embedding"]["mean"]
    path = claim(paths, fields=fields)
    with watched(), refused(sl.StorageError, r"embedding\.spread cannot be the array 'embedding\.mean'"):
        sl.load(path)


def test_an_array_that_no_field_holds_is_refused(saved: tuple[Path, Path]) -> None:
    from safetensors.numpy import save as to_safetensors

    saved[0].write_bytes(to_safetensors({"values": gates().values, "hidden": np.zeros(3, np.float32)}))
    path = claim(saved, axes={"values": [3, 3], "hidden": [3]})
    with watched(), refused(sl.StorageError, "no field holds the array 'hidden'"):
        sl.load(path)


@pytest.mark.parametrize("schema", [0, -1, -(10**30)])
def test_schemas_before_the_first_are_refused(saved: tuple[Path, Path], schema: int) -> None:
    path = claim(saved, record_schema=schema)
    with watched(), refused(sl.StorageError, "schemas begin with 1"):
        sl.load(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 49 + "]" * 49, "nested more than 48 deep"),
        ("[" * 10**6, "nested too deeply"),
        ("[" + "0," * 1_000_001 + "0]", "it holds 1000002 values, more than the 1000000 that are read"),
        ('{"kind": "site_fit", "kind": "head_gates"}', "the key 'kind' comes twice"),
        ('{"fields": {"a": 1, "a": 2}}', "the key 'a' comes twice"),
        ("\ufeff{}", "Unexpected UTF-8 BOM"),
    ],
)
def test_json_bombs_are_refused(saved: tuple[Path, Path], text: str, said: str) -> None:
    saved[1].write_text(text, encoding="utf-8")
    with watched(), refused(sl.StorageError, f"is truncated or not JSON .*{said}"):
        sl.load(saved[1])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_records_in_other_encodings_are_refused(saved: tuple[Path, Path], encoding: str) -> None:
    text = saved[1].read_text().replace("antonym", "été")
    saved[1].write_bytes(text.encode(encoding))
    with watched(), refused(sl.StorageError, "is truncated or not JSON .*can't decode byte"):
        sl.load(saved[1])


def test_as_many_errors_as_values_stay_within_bounds(saved: tuple[Path, Path]) -> None:
    fields = json.loads(saved[1].read_bytes())["fields"] | {"grid": {"heads_per_layer": ["x"] * 490_000}}
    path = claim(saved, fields=fields)
    with watched(), refused(sl.StorageError, "490000 values are wrong"):
        sl.load(path)


def test_keys_that_come_twice_among_very_many_are_found_in_time() -> None:
    text = "{" + ",".join(f'"{i}":0' for i in range(100_000)) + ',"99999":1}'
    start = time.monotonic()
    with pytest.raises(ValueError, match="the key '99999' comes twice"):
        parse_json(text, 10**6)
    assert time.monotonic() - start < 10


def test_folders_of_too_many_records_are_refused(tmp_path: Path) -> None:
    fake_fits(["a", "b", "c"]).save(tmp_path)
    with sl.reading_limits(sl.Limits(record_files=2)), refused(sl.StorageError, "holds more than 2 records"):
        sl.SiteFits.load(tmp_path)


# Tasks


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", ".tsv", ".parquet"])
def test_task_files_far_too_large_are_refused_unread(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"t{suffix}").touch()
    os.truncate(tmp_path / f"t{suffix}", 2**40)
    with watched(), refused(sl.TaskFileError, "cannot read .*: it is larger than 268435456 bytes"):
        sl.load_tasks(tmp_path / f"t{suffix}")
    with watched(), refused(sl.TaskFileError, r"the tasks in .* take 1099511627776 bytes, more than 268435456"):
        sl.load_tasks(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.json", "[" + "[]," * 2_000_001 + "[]]", "more than the 4000000 that are read"),
        ("t.jsonl", "[[],[],[]]\n" * 700_000, "row 1: a row must be an object"),
        ("t.csv", "input,output\n" + "a,b\n" * 1_000_001, "holds more than 1000000 rows"),
        ("t.json", "[" * 60 + "]" * 60, "nested more than 48 deep"),
        ("t.json", '[{"input": "a", "input": "b", "output": "c"}]', "the key 'input' comes twice"),
        ("t.csv", "input,output,input\n" + "a,b,c\n" * 5, "two columns called 'input'"),
        (
            "t.json",
            '[{"input": "' + "x" * 1_000_001 + '", "output": "b"}]',
            "holds 1000001 characters, more than 1000000",
        ),
        ("t.json", '[{"input": 1' + "0" * 400 + ', "output": null}]', "'output' must be text or a number"),
    ],
)
def test_bombs_of_text_are_refused(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with watched(), refused(sl.TaskFileError, said):
        sl.load_tasks(tmp_path / name)


def test_a_table_of_very_many_columns_takes_no_more_than_two_of_them(tmp_path: Path) -> None:
    header = ",".join(["input", "output", *map(str, range(100_000))])
    (tmp_path / "t.csv").write_text(header + "\n" + "a,b\n" * 2_000)
    with watched():
        assert len(sl.load_task(tmp_path / "t.csv").train) == 1400


def parquet(table: pa.Table, path: Path, **options: Any) -> Path:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    path.write_bytes(out.getvalue())
    return path


def test_a_billion_rows_in_a_small_parquet_file_are_refused_unread(tmp_path: Path) -> None:
    rows = pa.DictionaryArray.from_arrays(pa.array(np.zeros(2_000_000, np.int8)), pa.array(["x"]))
    path = parquet(pa.table({"input": rows, "output": rows}), tmp_path / "t.parquet", compression="zstd")
    assert path.stat().st_size < 50_000
    with watched(), refused(sl.TaskFileError, "holds more than 1000000 rows"):
        sl.load_tasks(path)


@pytest.mark.parametrize("nested", [False, True])
def test_long_texts_that_a_parquet_file_holds_once_are_not_copied_a_million_times(nested: bool, tmp_path: Path) -> None:
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(900_000, np.int8)), pa.array(["x" * 100_000]))
    if nested:
        texts = pa.ListArray.from_arrays(pa.array(range(900_001), pa.int32()), texts)
    path = parquet(pa.table({"input": texts, "output": texts}), tmp_path / "t.parquet", compression="zstd")
    assert path.stat().st_size < 10**6
    with watched(), refused(sl.TaskFileError, "bytes of text|must be text or a number"):
        sl.load_tasks(path)


# Files, and the limits themselves


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    monkeypatch.setattr("site_lens.records.limited_io._check_file", lambda *arguments: None)
    assert read_file(tmp_path / "x", 5) == b"12345"
    with pytest.raises(OSError, match="it is larger than 4 bytes"):
        read_file(tmp_path / "x", 4)


def test_limits_hold_within_their_context_and_no_longer(saved: tuple[Path, Path]) -> None:
    with sl.reading_limits(sl.Limits(record_json_bytes=10)):
        with refused(sl.StorageError, "it is larger than 10 bytes"):
            sl.load(saved[1])
        with sl.reading_limits(sl.Limits(record_array_bytes=35)), refused(sl.StorageError, "more than 35 bytes"):
            sl.load(saved[1])
    assert sl.load(saved[1]) == gates()
    assert current_limits() == sl.Limits()


def test_a_limit_below_one_is_refused() -> None:
    with refused(sl.InputError, "the limit task_rows must be at least 1, got 0"):
        sl.Limits(task_rows=0)


def test_the_digest_of_what_is_read_is_that_of_what_is_there(saved: tuple[Path, Path]) -> None:
    assert digest_bytes(read_file(saved[0], 10**6)) == json.loads(saved[1].read_bytes())["tensors_digest"]
