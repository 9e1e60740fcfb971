"""Files that others made, read within limits: nothing is allocated because a file says that it will be needed."""

import errno
import json
import os
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from io import BufferedReader
from pathlib import Path
from typing import Any

from site_lens.records.errors import InputError
from site_lens.records.type_checks import checked_methods

MOST_DEPTH = 48
"""Lists and objects inside each other in one JSON file; records and tasks have fewer than 12."""


@checked_methods
@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a file may hold at most; larger ones are refused before they are read."""

    record_json_bytes: int = 64 * 2**20
    """Bytes of the JSON file of a record."""
    record_json_values: int = 1_000_000
    """Values in it, counted as commas and opening brackets."""
    record_array_bytes: int = 2**30
    """Bytes of all arrays of a record."""
    record_files: int = 100_000
    """Records in one folder."""
    task_bytes: int = 256 * 2**20
    """Bytes of a task file, and of all files of a folder of tasks together."""
    task_values: int = 4_000_000
    """Values in a task file, counted as commas and opening brackets."""
    task_rows: int = 1_000_000
    """Rows of a task file."""
    text_characters: int = 1_000_000
    """Characters of one text in a task file."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise InputError(f"the limit {field.name} must be at least 1, got {getattr(self, field.name)}")


_limits: ContextVar[Limits | None] = ContextVar("site_lens_limits", default=None)


def current_limits() -> Limits:
    """Return the limits in force here."""
    return _limits.get() or Limits()


@contextmanager
def reading_limits(limits: Limits) -> Iterator[None]:
    """Read files under other limits for as long as the context lasts.

    Example:
        >>> import site_lens as sl
        >>> with sl.reading_limits(sl.Limits(task_rows=50)):
        ...     tasks = sl.load_tasks("demo", ["antonym"])
    """
    before = _limits.set(limits)
    try:
        yield
    finally:
        _limits.reset(before)


def is_there(path: str | Path) -> bool:
    """Tell whether there is such a file or folder; no name is too long or too strange to be asked for."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def is_folder(path: str | Path) -> bool:
    """Tell whether there is such a folder; no name is too long or too strange to be asked for."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


@contextmanager
def open_file(path: str | Path, most_bytes: int, *, follow: bool = True) -> Iterator[BufferedReader]:
    """Open a regular file of at most so many bytes for reading.

    Args:
        path: The file.
        most_bytes: A larger one is refused.
        follow: Whether a link may lead to it; else a link is refused.

    Raises:
        OSError: It is larger, is no regular file (a device or a pipe never ends), or cannot be read; `strerror` says
            which.
    """
    extra = getattr(os, "O_NONBLOCK", 0) | (0 if follow else getattr(os, "O_NOFOLLOW", 0))
    try:
        _check_file(Path(path).stat(follow_symlinks=follow), most_bytes, path)  # first: opening a device may act
        stream = open(path, "rb", opener=lambda name, flags: os.open(name, flags | extra))  # noqa: PTH123, SIM115
    except ValueError as error:  # a NUL byte, or half a character, in its name
        raise OSError(errno.EINVAL, str(error), str(path)) from None
    with stream:
        _check_file(os.fstat(stream.fileno()), most_bytes, path)
        yield stream


def read_file(path: str | Path, most_bytes: int, *, follow: bool = True) -> bytes:
    """Read a whole file; arguments and errors are those of `open_file`."""
    with open_file(path, most_bytes, follow=follow) as stream:
        content = bytearray()
        while part := stream.read(2**20):  # to ask for the most at once would take as much memory
            content += part
            if len(content) > most_bytes:
                raise OSError(errno.EFBIG, f"it is larger than {most_bytes} bytes", str(path))
    return bytes(content)


def is_hidden(path: Path) -> bool:
    """Tell whether the name of a file begins with a dot, such as `._name.json`, which macOS writes beside name.json."""
    return path.name.startswith(".")


def _check_file(found: os.stat_result, most_bytes: int, path: str | Path) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, "it is a link", str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    if found.st_size > most_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {most_bytes} bytes", str(path))


def parse_json(content: bytes | str, most_values: int) -> Any:
    """Parse JSON of at most so many values, in which no key comes twice.

    Raises:
        ValueError: It is not JSON, or not UTF-8; a key comes twice; there are too many values, or too many inside each
            other.
    """
    text = content if isinstance(content, str) else content.decode()
    refuse_many(text, most_values)
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("lists and objects are nested too deeply") from None
    refuse_deep(value)
    return value


def refuse_many(text: str, most_values: int) -> None:
    """Raise ValueError, before any value is made, if JSON holds more, counted as commas and opening brackets."""
    n_values = sum(text.count(sign) for sign in "[{,")
    if n_values > most_values:
        raise ValueError(f"it holds {n_values} values, more than the {most_values} that are read")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, n in Counter(key for key, _ in pairs).items() if n > 1)
        raise ValueError(f"the key {twice!r:.80} comes twice in one object")
    return found


def refuse_deep(value: Any) -> None:
    """Raise ValueError if anything lies more than `MOST_DEPTH` levels down, a level at a time, not by recursion."""
    level = [value]
    for _ in range(MOST_DEPTH + 1):
        nested = [one for one in level if isinstance(one, dict | list)]
        if not nested:
            return
        level = [child for one in nested for child in (one.values() if isinstance(one, dict) else one)]
    raise ValueError(f"lists and objects are nested more than {MOST_DEPTH} deep")
