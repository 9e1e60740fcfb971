"""Task files that somebody damaged or made up: refused by an error that names them, or read as text."""

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import site_lens as sl
from site_lens.tasks.task import SPLITS
from tests.safety.mutations import damaged, with_a_change
from tests.safety.watching import only_our_errors, watched

ROWS = [{"input": f"in {i}", "output": ["out", "other"] if i == 3 else f"out {i}"} for i in range(6)]
TABLE = "".join(f"in {i},out {i}\n" for i in range(6))
FLAT = pd.DataFrame({"input": [f"in {i}" for i in range(6)], "output": ["x", "y"] * 3})
NESTED = pd.DataFrame({"input": range(6), "output": [["x"], ["y", "z"]] * 3})


def parquet(table: pd.DataFrame | pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table if isinstance(table, pa.Table) else pa.Table.from_pandas(table), out)
    return out.getvalue()


VALID = {
    ".json": [json.dumps(ROWS).encode()],
    ".jsonl": ["".join(json.dumps(row) + "\n" for row in ROWS).encode()],
    ".csv": [f"input,output\n{TABLE}".encode()],
    ".tsv": [f"input,output\n{TABLE}".replace(",", "\t").encode()],
    ".parquet": [parquet(FLAT), parquet(NESTED)],
}


@pytest.fixture(scope="module", autouse=True)
def _imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Read one file of every format, so that what is imported on the way is imported before any watch."""
    for suffix, contents in VALID.items():
        path = tmp_path_factory.mktemp("valid") / f"t{suffix}"
        for content in contents:
            path.write_bytes(content)
            sl.load_task(path)


def read(path: Path) -> None:
    """Load tasks under watch; what is not refused is text throughout."""
    with watched(), only_our_errors():
        for task in sl.load_tasks(path).values():
            assert len(task.digest) == 64  # every text can be written down
            assert all(text.strip() for split in SPLITS for row in getattr(task, split) for text in row.outputs)


@given(suffix=st.sampled_from(sorted(VALID)), data=st.data())
def test_damaged_task_files_are_read_or_refused(suffix: str, data: st.DataObject, tmp_path: Path) -> None:
    content = data.draw(damaged(data.draw(st.sampled_from(VALID[suffix]))))
    path = tmp_path / f"t{suffix}"
    path.write_bytes(content)
    read(path)


@given(rows=with_a_change(ROWS), suffix=st.sampled_from([".json", ".jsonl"]))
def test_rows_of_anything_are_read_or_refused(rows: Any, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"t{suffix}"
    lines = rows if isinstance(rows, list) else [rows]
    path.write_text(json.dumps(rows) if suffix == ".json" else "\n".join(map(json.dumps, lines)), encoding="utf-8")
    read(path)


columns = st.sampled_from(["input", "output", "input", "id", "\x1b[2J"])
arrow_types = st.sampled_from([
    pa.string(), pa.large_string(), pa.binary(), pa.int64(), pa.float32(), pa.bool_(), pa.null(), pa.timestamp("s"),
    pa.list_(pa.string()), pa.list_(pa.list_(pa.int8())), pa.struct([("a", pa.int8())]), pa.decimal128(5, 2),
    pa.dictionary(pa.int8(), pa.string()), pa.map_(pa.string(), pa.string()), pa.list_(pa.binary()), pa.date32(),
])  # fmt: skip


@given(fields=st.lists(st.tuples(columns, arrow_types), max_size=3), n=st.integers(0, 5), data=st.data())
def test_parquet_files_of_any_columns_are_read_or_refused(
    fields: list[tuple[str, pa.DataType]], n: int, data: st.DataObject, tmp_path: Path
) -> None:
    plain = {pa.string(): "x", pa.int64(): 3, pa.float32(): 0.5, pa.list_(pa.string()): ["x", "y"]}
    arrays = [
        pa.array([data.draw(st.sampled_from([None, plain.get(kind)])) for _ in range(n)], type=kind)
        for _, kind in fields
    ]
    path = tmp_path / "t.parquet"
    path.write_bytes(parquet(pa.Table.from_arrays(arrays, names=[name for name, _ in fields])))
    read(path)
