"""Reading untrusted files: regular files only, within size limits that can be moved."""

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from site_lens.records.base import Frozen

Limit = Annotated[int, Field(ge=1)]


class Limits(Frozen):
    """Size limits of files; larger files are refused before they are read."""

    record_json_bytes: Limit = 64 * 2**20
    """Bytes of the JSON file of a record."""
    record_array_bytes: Limit = 2**30
    """Bytes of all arrays of a record."""
    record_files: Limit = 100_000
    """Records in one folder."""
    task_bytes: Limit = 256 * 2**20
    """Bytes of a task file, and of all files of a folder of tasks together."""
    task_rows: Limit = 1_000_000
    """Rows of a task file."""
    text_characters: Limit = 1_000_000
    """Characters of one text in a task file."""


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
    return os.path.exists(path)  # noqa: PTH110  # Path.exists raises for such names


def is_folder(path: str | Path) -> bool:
    """Tell whether there is such a folder; no name is too long or too strange to be asked for."""
    return os.path.isdir(path)  # noqa: PTH112  # Path.is_dir raises for such names


def is_hidden(path: Path) -> bool:
    """Tell whether the name of a file begins with a dot, such as `._name.json`, which macOS writes beside name.json."""
    return path.name.startswith(".")


def read_file(path: str | Path, most_bytes: int) -> bytes:
    """Read a regular file of at most so many bytes, links followed.

    Raises:
        OSError: It is larger, is no regular file (a device or a pipe never ends), or cannot be read; `strerror` says
            which.
    """
    try:
        status = Path(path).stat()
    except ValueError as error:  # a NUL byte, or half a character, in its name
        raise OSError(errno.EINVAL, str(error), str(path)) from None
    if stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    if status.st_size > most_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {most_bytes} bytes", str(path))
    return Path(path).read_bytes()


def parse_json(content: bytes | str) -> Any:
    """Parse JSON in UTF-8; raises ValueError if it is none, or nested too deeply."""
    try:
        return json.loads(content if isinstance(content, str) else content.decode())
    except RecursionError:
        raise ValueError("lists and objects are nested too deeply") from None
