"""One tensor out of a file of `torch.save`, without running or making anything else that the file may ask for.

Such a file is a zip archive: a pickled description, and the numbers beside it. torch's restricted unpickler
(`weights_only=True`) runs no code, but it unpacks whatever is packed, and makes some things of any size that it is told
to. So the archive is looked at first, and only what a plain tensor needs is handed on.
"""

import pickletools
import re
import struct
import warnings
import zipfile
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from site_lens.records.errors import StorageError
from site_lens.records.limited_io import read_file

OVERHEAD_BYTES = 2**20
"""What a file may hold beyond its numbers; `torch.save` adds a few kB."""

RECORD = re.compile(r"[^/]*/(data\.pkl|version|byteorder|data/\d+|\.format_version|\.storage_alignment|\.data/\w+)")
"""Records of an archive of `torch.save`."""

DAMAGE = (
    zipfile.BadZipFile, struct.error, UnpicklingError, EOFError, RuntimeError, ValueError, TypeError, LookupError,
    AttributeError, ArithmeticError, AssertionError,
)  # fmt: skip
"""What the readers of zip archives and of pickles raise on damaged ones."""

PROTOCOL = 2
"""The language of the descriptions that `torch.save` writes."""

ALLOWED_GLOBALS = {
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "collections OrderedDict",
    *(f"torch {kind}Storage" for kind in ("Double", "Float", "Half", "BFloat16", "Long", "Int")),
}
"""What a description may name: parts of a dense tensor. Integers are let through to be refused by what they are."""

ALLOWED_OPCODES = {
    "PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BINPERSID", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "NONE",
    "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "EMPTY_TUPLE", "TUPLE",
    "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS",
}  # fmt: skip
"""What a description may do: make numbers, texts, tuples, lists and dictionaries, and call what it may name."""


def read_saved_tensor(path: str | Path, most_number_bytes: int) -> Any:
    """Read what a file of `torch.save` holds, if that is a tensor or lists and dictionaries of them.

    Args:
        path: The file.
        most_number_bytes: Bytes that its numbers may take.

    Raises:
        StorageError: It cannot be read, is larger, is no archive of `torch.save`, or asks for anything but tensors.
    """
    most = most_number_bytes + OVERHEAD_BYTES
    try:
        content = read_file(path, most)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}; check the path") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, about classes of its own that it prints in its complaint
            return torch.load(_copied(content, most, path), map_location="cpu", weights_only=True)
    except StorageError:
        raise
    except DAMAGE as error:
        raise StorageError(f"{path} is truncated or not a file of torch.save ({str(error)[:80]})") from error


def _copied(content: bytes, most: int, path: str | Path) -> BytesIO:
    """Copy an archive record by record, so that what was looked at is what torch will see."""
    copy = BytesIO()
    with zipfile.ZipFile(BytesIO(content)) as archive, zipfile.ZipFile(copy, "w") as copied:
        records = archive.infolist()
        names = {record.filename for record in records}
        if len(names) < len(records) or not all(RECORD.fullmatch(name) for name in names):
            raise StorageError(f"{path} is not a file of torch.save: it holds {', '.join(sorted(names))!r:.60}")
        if any(record.compress_type != zipfile.ZIP_STORED for record in records):
            raise StorageError(f"{path} is packed, which torch.save never does; it stays shut")
        if sum(record.file_size for record in records) > most:
            raise StorageError(f"{path} says that it holds more than {most} bytes; it stays shut")
        for record in records:
            found = archive.read(record)
            if record.filename.endswith("data.pkl"):
                _check_description(found, path)
            copied.writestr(record.filename, found)
    copy.seek(0)
    return copy


def _check_description(description: bytes, path: str | Path) -> None:
    """Refuse a description that names or does anything but what tensors need; nothing in it is carried out here."""
    for opcode, argument, _ in pickletools.genops(description):
        named = opcode.name == "GLOBAL" and argument not in ALLOWED_GLOBALS
        newer = opcode.name == "PROTO" and argument != PROTOCOL
        if named or newer or opcode.name not in ALLOWED_OPCODES:
            what = argument if named else opcode.name
            raise StorageError(f"{path} is no plain tensor and stays shut: opening it could run code ({what!r:.60})")
