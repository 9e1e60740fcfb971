"""Overwrite protection: every output of the toolkit is written here, and replaces its own earlier files alone.

What the toolkit wrote is known by its content (records), by its last line (pages, images, tables and cards, see
`sealed`), or by the list in the folder of a run. Any other file that is there is written over on request only.
"""

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from site_lens.records.errors import InputError, StorageError
from site_lens.records.hashing import digest_bytes
from site_lens.records.limited_io import is_there, read_file

LISTED = "written.sha256"
"""The list of a run's folder: a digest and a path in every line, as `sha256sum --check` reads them. Lines are added; a
file may stand in several."""

PARTS = ("fits", "controls", "paths", "scores", "evaluations", "attention", "studies")
"""Every part of a run's folder: what lies in them are records, and nothing else is written there."""

MOST_BYTES = 2**30
"""A file larger than this is none that the toolkit wrote."""

SEALS = {".png": "{}", ".pdf": "% {}", ".md": "[//]: # ({})", ".tex": "% {}"}
"""How the last line of a file is written so that programs pass over it; elsewhere it is an HTML comment."""

_SEAL = re.compile(rb"\n[^\n]*site_lens sha256 ([0-9a-f]{64})[^\n]*\n?\Z")


def sealed(content: bytes, suffix: str = ".html") -> bytes:
    """Add a last line with the digest of all above it, by which a page or an image is known as the toolkit's own."""
    line = SEALS.get(suffix, "<!-- {} -->").format(f"site_lens sha256 {digest_bytes(content)}")
    return content + f"\n{line}\n".encode()


def is_sealed(path: Path) -> bool:
    """Tell whether a file ends with the digest of all above: it was written by the toolkit, and not changed since."""
    content = _content(path)
    seal = _SEAL.search(content[-200:])
    return seal is not None and seal[1].decode() == digest_bytes(content[: len(content) - len(seal[0])])


def _content(path: Path) -> bytes:
    try:
        return read_file(path, MOST_BYTES)
    except OSError:
        return b""


def write_whole(files: Mapping[Path, bytes]) -> None:
    """Write files so that a reader never sees a part of one: temporary name first, then rename.

    A link gives way to the file, and what it leads to stays.

    Raises:
        StorageError: A folder cannot be made or written, or stands in the place of a file; nothing is left behind then.
    """
    waiting: list[tuple[Path, Path]] = []
    folder = next((path.parent for path in files), Path())
    with writing_to(folder), ExitStack() as leftovers:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            temporary = Path(name)
            leftovers.callback(temporary.unlink, missing_ok=True)
            waiting.append((temporary, path))
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.chmod(0o644)
        for temporary, path in waiting:
            temporary.replace(path)


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Turn an error of writing to a folder into a StorageError."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a NUL byte, or half a character, in a name
        reason = error.strerror if isinstance(error, OSError) else error
        raise StorageError(f"cannot write to {folder}: {reason}; choose another output folder") from error


def check_writable(folder: str | Path) -> None:
    """Find out before long work, not after it, whether `folder` can be made and written; raises StorageError."""
    probe = Path(folder) / ".writable"
    write_whole({probe: b""})
    probe.unlink(missing_ok=True)  # another process may have probed at the same time


Known = Callable[[Path], bool]
"""Tells whether a file that is there may be written over, because the toolkit wrote it and it holds such a thing."""


def write_output(files: Mapping[Path, bytes], known: Known = is_sealed, *, replace: bool = False) -> None:
    """Write files where nothing of others stands, and enter them in the list of the run that they lie in.

    Args:
        files: What to write.
        known: Which files may be written over.
        replace: Write over any file.

    Raises:
        StorageError: There is something else that `known` does not know, or the folder cannot be written.
    """
    check_output(files, known, replace=replace)
    for path, content in files.items():
        if (folder := listing_folder(path)) is not None:  # before it is written: it is known even if that is cut off
            name = path.absolute().relative_to(folder).as_posix()
            with writing_to(folder), (folder / LISTED).open("a", encoding="utf-8") as stream:
                stream.write(f"{digest_bytes(content)}  {name}\n")
    write_whole(files)


def check_output(
    paths: Iterable[Path], known: Known = is_sealed, *, inputs: Iterable[Path] = (), replace: bool = False
) -> None:
    """Find out whether `write_output` would refuse, before any work.

    Args:
        paths: The files to write.
        known: Which files may be written over.
        inputs: What is read: it is not written over, whatever `replace` says.
        replace: Write over any file; not over a folder or a device.

    Raises:
        InputError: A path is that of an input.
        StorageError: There is something that may not be written over.
    """
    read = list(inputs)
    for path in paths:
        if any(os.path.realpath(path) == os.path.realpath(source) for source in read):
            raise InputError(f"{path} is what is read; name another output")
        if os.path.lexists(path) and not (path.is_file() and (replace or known(path))):
            raise StorageError(
                f"{path} is there, and site_lens did not write it, or it was changed since; choose another output, or "
                "move it away"
            )


def write_file(content: bytes, path: str | Path, *, replace: bool = False) -> Path:
    """Write a file of a foreign format, which cannot bear a mark of the toolkit; overwrite only the same content.

    Raises:
        InputError: The path is empty, or lies among the records of a run.
        StorageError: The folder cannot be written, or there is another file and `replace` is not given.
    """
    path = named(path)
    if path.absolute().parent.name in PARTS and is_run(path.absolute().parents[1]):
        raise InputError(f"{path} lies among the records of a run, which it would spoil; name another output")
    write_output({path: content}, lambda there: there.read_bytes() == content, replace=replace)
    return path


def named(path: str | Path) -> Path:
    """Return a path that says something; raises InputError for an empty one, which would mean the working folder."""
    if not str(path).strip():
        raise InputError("the name of an output is empty; name a file or a folder")
    return Path(path)


def check_apart(folder: Path, inputs: Iterable[Path]) -> None:
    """Raise InputError if a folder to be written is, or holds, something that is read."""
    for source in inputs:
        if is_within(source, folder):
            raise InputError(f"{source} is read, and lies in {folder}, which is written; choose another folder")


def is_within(path: Path, folder: Path) -> bool:
    """Tell whether a path is a folder or lies in it, links followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


# The list of a run's folder.


def has_list(folder: Path) -> bool:
    """Tell whether a folder has a list of what was written there; a link is none, for it would be followed."""
    path = folder / LISTED
    return is_there(path) and path.is_file() and not path.is_symlink()


def is_run(folder: Path) -> bool:
    """Tell whether a folder holds a run, or the beginning of one."""
    return has_list(folder) or any((folder / "fits").glob("*.json"))


def listing_folder(path: Path) -> Path | None:
    """Return the folder of the run that a file lies in, if it has a list."""
    return next((folder for folder in path.absolute().parents[:3] if has_list(folder)), None)


def listed(folder: Path) -> list[str]:
    """Read the list of a run's folder: every file once, in the order in which they were first written."""
    names = (line.partition("  ")[2] for line in _content(folder / LISTED).decode(errors="replace").split("\n"))
    return list(dict.fromkeys(filter(None, names)))


def in_order_of_writing(paths: Iterable[Path]) -> list[Path]:
    """Order files of one folder as they were first written, by the list of their run; files not in it come last."""
    files = list(paths)
    folder = listing_folder(files[0]) if files else None
    if folder is None:
        return files
    place = {folder / name: i for i, name in enumerate(listed(folder))}
    return sorted(files, key=lambda path: place.get(path.absolute(), len(place)))
