"""Files that are too large are refused before anything of that size is made; the limits can be moved."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import site_lens as sl
from site_lens.records.limited_io import current_limits
from site_lens.records.serialization import record_paths
from tests.samples import gates


def test_files_that_are_too_large_are_refused_unread(tmp_path: Path) -> None:
    tensors, manifest = record_paths(sl.save(gates(), tmp_path / "gates"))
    os.truncate(tensors, 2**40)  # sparse: takes no room on the disk
    with pytest.raises(sl.StorageError, match="larger than"):
        sl.load(manifest)
    for suffix in (".json", ".jsonl", ".csv", ".tsv", ".parquet"):
        path = tmp_path / suffix[1:] / f"t{suffix}"
        path.parent.mkdir()
        path.touch()
        os.truncate(path, 2**40)
        for source in (path, path.parent):
            with pytest.raises(sl.TaskFileError, match="larger than|bytes, more than"):
                sl.load_tasks(source)


def test_small_parquet_files_of_large_tables_are_refused(tmp_path: Path) -> None:
    def repeated(text: str, n: int) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int8)), pa.array([text]))

    path, texts = tmp_path / "t.parquet", repeated("x" * 100_000, 90)
    nested = pa.ListArray.from_arrays(pa.array(range(91), pa.int32()), texts)
    limits = sl.Limits(task_rows=100, task_bytes=10**6)
    for column, limit in ((repeated("x", 200), "task_rows"), (texts, "task_bytes"), (nested, "task_bytes")):
        pq.write_table(pa.table({"input": repeated("x", len(column)), "output": column}), path, compression="zstd")
        assert path.stat().st_size < 10**5
        with sl.reading_limits(limits), pytest.raises(sl.TaskFileError, match=limit):
            sl.load_tasks(path)


def test_limits_hold_within_their_context_and_no_longer(tmp_path: Path) -> None:
    path = sl.save(gates(), tmp_path / "gates")
    with sl.reading_limits(sl.Limits(record_json_bytes=10)):
        with pytest.raises(sl.StorageError, match="larger than 10 bytes"):
            sl.load(path)
        with sl.reading_limits(sl.Limits(record_array_bytes=35)), pytest.raises(sl.StorageError, match="than 35 bytes"):
            sl.load(path)
    assert sl.load(path) == gates()
    assert current_limits() == sl.Limits()
    with pytest.raises(sl.InputError):
        sl.Limits(task_rows=0)
