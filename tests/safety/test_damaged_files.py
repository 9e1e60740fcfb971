"""Files that were cut, flipped or made up: refused by an error of ours, or read as what they are; nothing is run."""

import io
import json
import os
import pickle
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import site_lens as sl
from site_lens.records.base import Record
from site_lens.records.serialization import record_paths
from site_lens.tasks.task import SPLITS
from tests.fakes import GRID
from tests.safety.watching import watched
from tests.samples import SAMPLES

PIECES = [b"\0", b"\xff", b"[", b"{", b'"', b"9" * 20, b"\x1b[2J", b"\xef\xbb\xbf", b"PK\x03\x04"]
ROWS = [{"input": f"in {i}", "output": ["out", "other"] if i == 3 else f"out {i}"} for i in range(6)]
TABLE = "input,output\n" + "".join(f"in {i},out {i}\n" for i in range(6))
TASK_FILES = {
    ".json": json.dumps(ROWS).encode(),
    ".jsonl": "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
    ".csv": TABLE.encode(),
    ".tsv": TABLE.replace(",", "\t").encode(),
    ".parquet": pd.DataFrame({"input": range(6), "output": [["x"], ["y", "z"]] * 3}).to_parquet(),
}


def torch_file(content: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    torch.save(content, out, **options)
    return out.getvalue()


ALPHAS = torch_file(torch.full(GRID.shape, 0.25))


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Damage a file in one to three places: cut it, or put something else in the place of a few bytes."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(len(content) - 1, 0)))
        inside, after = content[start : start + 12], content[start + draw(st.integers(0, 12)) :]
        instead = [b"", *PIECES, inside + inside, bytes(byte ^ 1 for byte in inside)]
        content = content[:start] + draw(st.sampled_from(instead)) + draw(st.sampled_from([after, after, after, b""]))
    return content


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[bytes]]:
    """The arrays and the manifest of one saved record of every kind."""
    folder = tmp_path_factory.mktemp("pairs")
    return {
        kind: [path.read_bytes() for path in record_paths(sl.save(sample(), folder / kind))]
        for kind, sample in SAMPLES.items()
    }


@given(kind=st.sampled_from(sorted(SAMPLES)), which=st.sampled_from([0, 1]), data=st.data())
def test_damaged_records_are_refused_or_are_the_same(
    kind: str, which: int, data: st.DataObject, pairs: dict[str, list[bytes]], tmp_path: Path
) -> None:
    files = list(pairs[kind])
    files[which] = data.draw(damaged(files[which]) | st.binary(max_size=60))
    for name, content in zip(("one.safetensors", "one.json"), files, strict=True):
        (tmp_path / name).write_bytes(content)
    with watched(), suppress(sl.SiteLensError):
        loaded: Record = sl.load(tmp_path / "one")
        assert loaded == SAMPLES[kind]()


@given(suffix=st.sampled_from(sorted(TASK_FILES)), data=st.data())
def test_damaged_task_files_are_read_as_text_or_refused(suffix: str, data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / f"t{suffix}"
    path.write_bytes(data.draw(damaged(TASK_FILES[suffix])))
    with watched(), suppress(sl.SiteLensError):
        for task in sl.load_tasks(path).values():
            assert len(task.digest) == 64  # every text can be written down
            assert all(text.strip() for split in SPLITS for row in getattr(task, split) for text in row.outputs)


@given(content=damaged(ALPHAS))
def test_damaged_files_of_the_published_code_are_read_or_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "alphas.pt").write_bytes(content)
    with watched(), suppress(sl.SiteLensError):
        sl.read_published_alphas(tmp_path / "alphas.pt", GRID)


class Touch:
    """Pickled, it creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_anything_but_one_dense_tensor_is_refused_and_no_code_in_it_is_run(tmp_path: Path) -> None:
    trap, path = tmp_path / "ran", tmp_path / "alphas.pt"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    contents = {
        "code": torch_file(Touch(trap)),
        "code in a list": torch_file([torch.zeros(2), Touch(trap)]),
        "a pickle": pickle.dumps(Touch(trap)),
        "sparse": torch_file(torch.eye(6).to_sparse()),
        "without numbers": torch_file(torch.zeros(6, 8, device="meta")),
        "integers": torch_file(torch.zeros(6, 8, dtype=torch.long)),
        "old format": torch_file(torch.zeros(GRID.shape), _use_new_zipfile_serialization=False),
        "far too large": ALPHAS + bytes(2**21),
        "another archive": packed.getvalue(),
    }
    for what, content in contents.items():
        path.write_bytes(content)
        with watched(), pytest.raises(sl.SiteLensError):
            sl.read_published_alphas(path, GRID)
            pytest.fail(what)
    assert not trap.exists()
    pickle.loads(pickle.dumps(Touch(trap)))
    assert trap.exists()  # the trap is a real one


def test_a_pipe_and_an_endless_device_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.pt")
    for path in (tmp_path / "a.pt", Path("/dev/zero")):
        with watched(), pytest.raises(sl.StorageError):
            sl.read_published_alphas(path, GRID)


def test_folders_of_tasks_that_lead_to_each_other_end(tmp_path: Path) -> None:
    for i in range(20):  # 20 ways at each of 40 levels
        (tmp_path / f"{i}.json").symlink_to(tmp_path)
    with watched(), pytest.raises(sl.TaskFileError):
        sl.load_tasks(tmp_path)
