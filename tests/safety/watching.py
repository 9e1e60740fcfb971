"""A watch over code that reads files of others: what it writes, unpickles and starts, and how much memory it takes."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import site_lens as sl

MEMORY_BYTES = 512 * 2**20
"""What reading any file of these tests may take beyond what the process has."""

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
WRITING = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
STARTING = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "socket.connect",
    "pickle.find_class",
)


@dataclass
class Seen:
    """What happened under the watch."""

    written: list[str] = field(default_factory=list)
    """Paths that were made, changed or removed."""
    started: list[str] = field(default_factory=list)
    """Programs, connections, and classes looked up by an unpickler."""


_watches: list[Seen] = []


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watches:
        return
    if event == "open" and isinstance(arguments[0], str | bytes) and arguments[2] & WRITES:  # else opened before
        _watches[-1].written.append(os.fsdecode(arguments[0]))
    elif event in WRITING:
        at = arguments[-1] if event in ("os.remove", "os.rmdir") else -1  # the folder's descriptor, as rmtree gives it
        folder = Path(f"/proc/self/fd/{at}").readlink() if at >= 0 else Path()
        paths = [os.fsdecode(path) for path in arguments[:2] if isinstance(path, str | bytes)]
        _watches[-1].written.extend(str(folder / path) for path in paths)
    elif event in STARTING:
        _watches[-1].started.append(f"{event} {arguments!r:.200}")


sys.addaudithook(_hear)  # for as long as the process lives; it hears nothing without a watch


@contextmanager
def watched(*, writes_below: Path | None = None) -> Iterator[Seen]:
    """Let nothing be started or unpickled here, nothing written but below a folder, and memory stay bounded."""
    seen, caching = Seen(), sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # what is imported on the way is no work of the file
    gc.disable()  # nor is what others left behind, such as a temporary folder that goes with its last reference
    _watches.append(seen)
    try:
        with limited_memory():
            yield seen
    finally:
        _watches.pop()
        gc.enable()
        sys.dont_write_bytecode = caching
    assert seen.started == [], seen.started
    outside = [path for path in seen.written if writes_below is None or not _is_below(path, writes_below)]
    assert outside == [], outside


def _is_below(path: str, folder: Path) -> bool:
    place = Path(os.path.realpath(Path(path).parent)) / Path(path).name
    return place.is_relative_to(os.path.realpath(folder))


@contextmanager
def limited_memory(n_bytes: int = MEMORY_BYTES) -> Iterator[None]:
    """Let the process take so many bytes more than it has; beyond that, Python raises MemoryError."""
    if sys.platform != "linux":
        yield
        return
    import resource

    had = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (had + n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


class only_our_errors:  # noqa: N801  # reads as what it does, like pytest.raises
    """Let errors of site_lens pass, whose text acts on no terminal; every other one fails the test."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, sl.SiteLensError):
            return False
        assert not [letter for letter in str(error) if letter < " " and letter != "\n"]
        return True
