"""Header of a GGUF file, read within the bounds of the file before any library opens it.

The reader of the package gguf trusts the counts in a file: a damaged one may keep it busy without end.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import mmap
import struct
from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from site_lens.records.errors import InputError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
SCALARS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))
"""Types of scalars in the metadata, as formats of struct."""
STRING, ARRAY = 8, 9
MAX_DIMS = 4
ALIGNMENT = 32
"""Alignment of tensors unless the metadata give another one."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Header of a whole GGUF file."""

    architecture: str
    formats: tuple[str, ...]
    """Number formats of the weights, such as Q4_1, the one with the most weights first."""


class _Cursor:
    """Reader of little-endian values that never leaves the file."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.position = data, 0

    def skip(self, n_bytes: int) -> int:
        """Move on; return where the skipped bytes begin."""
        start, end = self.position, self.position + n_bytes
        if end > len(self.data):
            raise InputError(f"its header ends beyond the file ({len(self.data):,} bytes)")
        self.position = end
        return start

    def number(self, code: str) -> Any:
        return struct.unpack_from(f"<{code}", self.data, self.skip(struct.calcsize(f"<{code}")))[0]

    def text(self) -> str:
        start = self.skip(self.number("Q"))
        return self.data[start : self.position].decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        """Read a scalar or a string; pass over an array."""
        if kind == STRING:
            return self.text()
        if kind in SCALARS:
            return self.number(SCALARS[kind])
        if kind != ARRAY:
            raise InputError(f"its metadata have a value of the unknown type {kind}")
        inner, length = self.number("I"), self.number("Q")
        if inner == STRING:
            for _ in range(length):  # each takes eight bytes at least: the end of the file ends it
                self.skip(self.number("Q"))
        elif inner in SCALARS:
            self.skip(length * struct.calcsize(f"<{SCALARS[inner]}"))
        else:
            raise InputError(f"its metadata have an array of the type {inner}, which is not supported")
        return None


def read_header(path: Path) -> GgufHeader:
    """Read the header of a GGUF file, and check that the file holds every tensor that it lists.

    Needs the package gguf, for the sizes of number formats.

    Raises:
        InputError: It is no GGUF file, is damaged, or ends too early; the message is the reason alone.
        OSError: It cannot be read.
    """
    with path.open("rb") as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            raise InputError("it is no GGUF file, whose first bytes would be GGUF")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _read(_Cursor(data))


def _read(cursor: _Cursor) -> GgufHeader:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    cursor.skip(len(MAGIC))
    version, n_tensors, n_fields = cursor.number("I"), cursor.number("Q"), cursor.number("Q")
    if version not in VERSIONS:
        raise InputError(f"it has version {version} of the GGUF format; versions {VERSIONS} are supported")
    metadata = {}
    for _ in range(n_fields):
        key = cursor.text()
        metadata[key] = cursor.value(cursor.number("I"))
    architecture, alignment = metadata.get("general.architecture"), metadata.get("general.alignment", ALIGNMENT)
    if not isinstance(architecture, str) or not isinstance(alignment, int) or alignment < 1:
        raise InputError("its metadata name no architecture, or no alignment of tensors")
    n_weights, end = Counter[str](), 0
    for _ in range(n_tensors):
        name, n_dims = cursor.text(), cursor.number("I")
        if n_dims > MAX_DIMS:
            raise InputError(f"its tensor {name!r:.80} has {n_dims} dimensions")
        n_elements = prod(cursor.number("Q") for _ in range(n_dims))
        code, offset = cursor.number("I"), cursor.number("Q")
        try:
            format_ = GGMLQuantizationType(code)
        except ValueError:
            raise InputError(f"its tensor {name!r:.80} has the unknown number format {code}") from None
        block, n_bytes = GGML_QUANT_SIZES[format_]
        n_weights[format_.name] += n_elements
        end = max(end, offset + n_elements * n_bytes // block)
    begin = -(-cursor.position // alignment) * alignment
    if begin + end > len(cursor.data):
        raise InputError(f"it has {len(cursor.data):,} of {begin + end:,} bytes: a part of it is missing")
    return GgufHeader(architecture, tuple(name for name, _ in n_weights.most_common()))
