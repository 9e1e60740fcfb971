"""Files of `torch.save` that somebody damaged or made up: a plain tensor, or an error of ours; nothing is ever run."""

import io
import os
import pickle
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given

import site_lens as sl
from tests.fakes import fake_identity
from tests.safety.mutations import damaged
from tests.safety.watching import only_our_errors, watched

GRID = fake_identity().grid


def saved(content: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    torch.save(content, out, **options)
    return out.getvalue()


VALID = saved(torch.full(GRID.shape, 0.25))
RECORDS = {
    name: zipfile.ZipFile(io.BytesIO(VALID)).read(name) for name in zipfile.ZipFile(io.BytesIO(VALID)).namelist()
}


def archive(changes: dict[str, bytes], *, packing: int = zipfile.ZIP_STORED) -> bytes:
    """Pack a saved tensor again, with some of its records changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing) as made:
        for name, content in (RECORDS | changes).items():
            made.writestr(name, content)
    return out.getvalue()


def read(content: bytes, folder: Path) -> sl.HeadGates | None:
    """Read alphas under watch; None if they are refused with an error of ours."""
    (folder / "alphas.pt").write_bytes(content)
    with watched(), only_our_errors():
        return sl.read_published_alphas(folder / "alphas.pt", GRID)
    return None


@pytest.fixture(scope="module", autouse=True)
def _imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    gates = read(archive({}), tmp_path_factory.mktemp("valid"))
    assert gates is not None
    assert np.all(gates.values == 0.25)


@given(content=damaged(VALID), description=damaged(RECORDS["archive/data.pkl"]))
def test_damaged_files_and_descriptions_are_read_or_refused(content: bytes, description: bytes, tmp_path: Path) -> None:
    read(content, tmp_path)
    read(archive({"archive/data.pkl": description}), tmp_path)


class Touch:
    """Pickled, it creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_code_in_a_file_is_not_run_however_deep_it_lies(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    for content in (Touch(trap), {"alphas": Touch(trap)}, [torch.zeros(2), Touch(trap)]):
        assert read(saved(content), tmp_path) is None
        assert read(pickle.dumps(content), tmp_path) is None
        assert not trap.exists()
    pickle.loads(pickle.dumps(Touch(trap)))
    assert trap.exists()  # the trap is a real one


def test_anything_but_one_small_dense_tensor_is_refused(tmp_path: Path) -> None:
    contents = {
        "sparse": saved(torch.eye(6).to_sparse()),
        "without numbers": saved(torch.zeros(6, 8, device="meta")),
        "integers": saved(torch.zeros(6, 8, dtype=torch.long)),
        "counter": saved(Counter(a=1)),
        "old format": saved(torch.zeros(GRID.shape), _use_new_zipfile_serialization=False),
        "larger than its tensor": archive({"archive/data/1": bytes(2**20)}),
        "packed bomb": archive({"archive/data/0": bytes(2**28)}, packing=zipfile.ZIP_DEFLATED),
        "too few numbers": archive({"archive/data/0": bytes(8)}),
    }
    for what, content in contents.items():
        assert read(content, tmp_path) is None, what


def test_a_pipe_and_an_endless_device_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.pt")
    for path in (tmp_path / "a.pt", Path("/dev/zero")):
        with watched(), pytest.raises(sl.StorageError):
            sl.read_published_alphas(path, GRID)
