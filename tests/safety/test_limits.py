"""Files that are too large are refused before anything of that size is made; the limits can be moved."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import site_lens as sl
from site_lens.records.limited_io import current_limits
from site_lens.records.serialization import record_paths, save
from tests.safety.mutations import signed
from tests.safety.watching import watched
from tests.samples import gates


def test_records_that_claim_or_take_too_much_are_refused(tmp_path: Path) -> None:
    tensors, manifest = record_paths(save(gates(), tmp_path / "gates"))
    honest = json.loads(manifest.read_bytes())
    grids: list[list[int]] = [[10**12], [1] * 10**5 + [10**5], [2**62] * 3]
    changes: list[dict[str, Any]] = [
        *({"axes": {"values": shape}} for shape in ([2**40, 3], [10**30], [-3, -3])),
        *({"fields": honest["fields"] | {"grid": {"heads_per_layer": heads}}} for heads in grids),
        {"record_schema": 10**30},
    ]
    for change in changes:
        manifest.write_bytes(signed(honest | change, tensors.read_bytes()))
        with watched(), pytest.raises(sl.StorageError):
            sl.load(manifest)
    manifest.write_bytes(signed(honest, tensors.read_bytes()))
    os.truncate(tensors, 2**40)  # sparse: takes no room on the disk
    with watched(), pytest.raises(sl.StorageError, match="larger than"):
        sl.load(manifest)


def test_task_files_that_are_too_large_are_refused_unread(tmp_path: Path) -> None:
    for suffix in (".json", ".jsonl", ".csv", ".tsv", ".parquet"):
        path = tmp_path / f"t{suffix}"
        path.touch()
        os.truncate(path, 2**40)
        for source in (path, tmp_path):
            with watched(), pytest.raises(sl.TaskFileError, match="larger than|bytes, more than"):
                sl.load_tasks(source)
        path.unlink()


def test_small_parquet_files_of_large_tables_are_refused(tmp_path: Path) -> None:
    rows = pa.DictionaryArray.from_arrays(pa.array(np.zeros(2_000_000, np.int8)), pa.array(["x"]))
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(900_000, np.int8)), pa.array(["x" * 100_000]))
    nested = pa.ListArray.from_arrays(pa.array(range(900_001), pa.int32()), texts)
    for column in (rows, texts, nested):
        out = io.BytesIO()
        pq.write_table(pa.table({"input": column, "output": column}), out, compression="zstd")
        (tmp_path / "t.parquet").write_bytes(out.getvalue())
        assert len(out.getvalue()) < 10**6
        with watched(), pytest.raises(sl.TaskFileError):
            sl.load_tasks(tmp_path / "t.parquet")


def test_limits_hold_within_their_context_and_no_longer(tmp_path: Path) -> None:
    path = save(gates(), tmp_path / "gates")
    with sl.reading_limits(sl.Limits(record_json_bytes=10)):
        with pytest.raises(sl.StorageError, match="larger than 10 bytes"):
            sl.load(path)
        with sl.reading_limits(sl.Limits(record_array_bytes=35)), pytest.raises(sl.StorageError, match="than 35 bytes"):
            sl.load(path)
    assert sl.load(path) == gates()
    assert current_limits() == sl.Limits()
    with pytest.raises(sl.InputError):
        sl.Limits(task_rows=0)
