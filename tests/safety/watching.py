"""A watch over code that reads files of others: what it writes, unpickles and starts."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGING = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
STARTING = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "socket.connect",
    "pickle.find_class",
)

_watches: list[list[str]] = []


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watches:
        return
    opened = event == "open" and isinstance(arguments[0], str | bytes) and arguments[2] & WRITES
    if opened or event in CHANGING:
        paths = arguments[:1] if opened else arguments[:2]
        _watches[-1].extend(f"wrote {os.fsdecode(path)}" for path in paths if isinstance(path, str | bytes))
    elif event in STARTING:
        _watches[-1].append(f"{event} {arguments!r:.200}")


sys.addaudithook(_hear)  # for as long as the process lives; it hears nothing without a watch


@contextmanager
def watched() -> Iterator[None]:
    """Let nothing be started, unpickled or written here."""
    seen: list[str] = []
    caching = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # what is imported on the way is no work of the file
    gc.disable()  # nor is what others left behind, such as a temporary folder that goes with its last reference
    _watches.append(seen)
    try:
        yield
    finally:
        _watches.pop()
        gc.enable()
        sys.dont_write_bytecode = caching
    assert seen == []
