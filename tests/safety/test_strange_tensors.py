"""Files of `torch.save` that somebody damaged or made up: a plain tensor, or an error of ours; nothing is ever run."""

import io
import pickle
import struct
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import site_lens as sl
from tests.fakes import fake_identity
from tests.safety.mutations import damaged
from tests.safety.watching import only_our_errors, refused, watched

MODEL = fake_identity()
GRID = MODEL.grid


def saved(content: Any) -> bytes:
    out = io.BytesIO()
    torch.save(content, out)
    return out.getvalue()


VALID = saved(torch.full(GRID.shape, 0.25))
RECORDS = {
    name: zipfile.ZipFile(io.BytesIO(VALID)).read(name) for name in zipfile.ZipFile(io.BytesIO(VALID)).namelist()
}
DESCRIPTION = RECORDS["archive/data.pkl"]


def archive(records: dict[str, bytes], *, packing: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing) as made:
        for name, content in records.items():
            made.writestr(name, content)
    return out.getvalue()


def described(description: bytes) -> bytes:
    """Make an archive in which everything but the description is as torch wrote it."""
    return archive(RECORDS | {"archive/data.pkl": description})


def read(content: bytes, folder: Path) -> sl.HeadGates | None:
    """Read alphas under watch; None if they are refused as they should be."""
    path = folder / "alphas.pt"
    path.write_bytes(content)
    with watched(), only_our_errors():
        return sl.read_published_alphas(path, GRID)
    return None


@pytest.fixture(scope="module", autouse=True)
def _imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    gates = read(described(DESCRIPTION), tmp_path_factory.mktemp("valid"))
    assert gates is not None
    assert np.all(gates.values == 0.25)


@given(content=damaged(VALID))
def test_damaged_files_are_read_or_refused(content: bytes, tmp_path: Path) -> None:
    read(content, tmp_path)


@given(description=damaged(DESCRIPTION))
def test_damaged_descriptions_in_a_whole_archive_are_read_or_refused(description: bytes, tmp_path: Path) -> None:
    read(described(description), tmp_path)


sizes = st.integers(0, 9) | st.sampled_from([48, 255, 2**31 - 1])
named = st.sampled_from([
    b"torch._utils\n_rebuild_tensor_v2\n", b"torch._utils\n_rebuild_parameter\n", b"torch\nFloatStorage\n",
    b"torch\nHalfStorage\n", b"torch\nLongStorage\n", b"collections\nOrderedDict\n", b"collections\nCounter\n",
    b"builtins\nbytearray\n", b"os\nsystem\n", b"torch\nSize\n", b"torch._utils\n_rebuild_sparse_tensor\n",
])  # fmt: skip
pieces = (
    named.map(lambda name: b"c" + name)
    | sizes.map(lambda n: b"J" + struct.pack("<i", n))
    | st.sampled_from(
        [b"(", b"t", b"R", b"Q", b"}", b"]", b")", b"N", b"\x85", b"\x86", b"\x87", b"\x89", b"q\x01", b"h\x01"]
    )
    | st.sampled_from(
        [b"X\x07\x00\x00\x00storage", b"X\x01\x00\x00\x000", b"X\x03\x00\x00\x00cpu", b"s", b"u", b"a", b"e", b"b"]
    )
)


@given(program=st.lists(pieces, max_size=25))
def test_descriptions_made_up_are_read_or_refused(program: list[bytes], tmp_path: Path) -> None:
    read(described(b"\x80\x02" + b"".join(program) + b"."), tmp_path)


class Touch:
    """Pickled, it creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: {"alphas": one}, lambda one: [torch.zeros(2), one]])
def test_code_in_a_file_is_not_run_however_deep_it_lies(wrap: Any, tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    for content in (saved(wrap(Touch(trap))), pickle.dumps(wrap(Touch(trap)))):
        assert read(content, tmp_path) is None
        assert not trap.exists()
    pickle.loads(pickle.dumps(Touch(trap)))
    assert trap.exists()  # the trap is a real one


CALLED_TUPLE = DESCRIPTION.replace(b"q\ttq\n", b"q\tt)Rq\ttq\n")
"""Calls the arguments of a tensor; saying so, torch prints its storage and warns of that."""

BYTEARRAY = b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R."


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (described(BYTEARRAY), "stays shut: opening it could run code .'builtins bytearray'"),
        (saved(torch.eye(6).to_sparse()), r"stays shut: opening it could run code .'torch._utils _rebuild_sparse_te"),
        (saved(torch.zeros(6, 8, device="meta")), "stays shut: opening it could run code"),
        (saved(Counter(a=1)), "stays shut: opening it could run code .'collections Counter'"),
        (described(CALLED_TUPLE), "is truncated or not a file of torch.save"),
        (archive(RECORDS, packing=zipfile.ZIP_DEFLATED), "is packed, which torch.save never does"),
        (archive(RECORDS | {"archive/data/1": bytes(2**20)}), "says that it holds more than 1048960|is larger than"),
        (archive(RECORDS | {"archive/../../x": b""}), r"is not a file of torch.save: it holds"),
        (archive(RECORDS | {"archive/constants.pkl": b""}), r"is not a file of torch.save: it holds"),
        (archive(RECORDS | {"archive/data/0": b"\0" * 8}), "is truncated or not a file of torch.save .*record size"),
        (pickle.dumps(OrderedDict()), "is truncated or not a file of torch.save"),
    ],
)  # fmt: skip
def test_bombs_are_refused_before_they_go_off(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    with watched(), refused(sl.StorageError, said):
        sl.read_published_alphas(tmp_path / "a.pt", GRID)


def test_a_packed_bomb_is_refused_by_what_it_is_not_by_what_it_says(tmp_path: Path) -> None:
    packed = archive(RECORDS | {"archive/data/0": bytes(2**28)}, packing=zipfile.ZIP_DEFLATED)
    assert len(packed) < 2**19
    (tmp_path / "a.pt").write_bytes(packed)
    with watched(), refused(sl.StorageError, "is packed"):
        sl.read_published_alphas(tmp_path / "a.pt", GRID)


def test_a_file_that_says_it_is_huge_allocates_nothing(tmp_path: Path) -> None:
    shape = b"J" + struct.pack("<i", 2**31 - 1)
    huge = DESCRIPTION.replace(b"K\x06K\x08", shape + shape)
    assert huge != DESCRIPTION
    (tmp_path / "a.pt").write_bytes(described(huge))
    with watched(), refused(sl.StorageError, "is truncated or not a file of torch.save"):
        sl.read_published_alphas(tmp_path / "a.pt", GRID)


def test_the_old_format_of_torch_save_is_refused(tmp_path: Path) -> None:
    torch.save(torch.zeros(GRID.shape), tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    with watched(), refused(sl.StorageError, "is truncated or not a file of torch.save"):
        sl.read_published_alphas(tmp_path / "a.pt", GRID)


def test_a_pipe_and_an_endless_device_are_refused_without_waiting(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "a.pt")
    for path in (tmp_path / "a.pt", Path("/dev/zero")):
        with watched(), refused(sl.StorageError, "cannot read .*: it is no regular file"):
            sl.read_published_alphas(path, GRID)
