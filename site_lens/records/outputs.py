"""Overwrite protection: every output of the toolkit is written here, and replaces its own earlier files alone.

Nothing of others is replaced: no input, no device or pipe, no file that was not written by the toolkit. What it wrote
is known by a mark in the file itself (records, pages, images) or by `written.sha256`, the list in the folder of a run.
"""

import errno
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath

from site_lens.records.errors import InputError, StorageError
from site_lens.records.hashing import digest_bytes
from site_lens.records.limited_io import is_there, read_file

LISTED = "written.sha256"
"""The list of a run's folder: a digest and a path in every line, as `sha256sum --check` reads them. Lines are added; a
file may stand in several, of which one is what it holds now."""

PARTS = ("fits", "controls", "paths", "scores", "evaluations", "attention", "studies")
"""Every part of a run's folder: what lies in them are records, and nothing else is written there."""

MOST_BYTES = 2**30
"""A file larger than this is none that the toolkit wrote."""

Known = Callable[[Path], bool]
"""Tells whether a file that is there may be written over, because the toolkit wrote it and it holds such a thing."""


def write_whole(files: Mapping[Path, bytes]) -> None:
    """Write files so that a reader never sees a part of one: temporary name first, then rename.

    A link gives way to the file, and what it leads to stays.

    Raises:
        StorageError: A folder cannot be made or written, or a device, a pipe or a folder stands in the place of a file;
            nothing is left behind then.
    """
    waiting: list[tuple[Path, Path]] = []
    folder = next((path.parent for path in files), Path())
    with writing_to(folder), ExitStack() as leftovers:
        for path, content in files.items():
            refuse_special(path)
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


def refuse_special(path: Path) -> None:
    """Raise OSError if there is something under a path that is no file, whether a link leads to it or not."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, f"{path} is a folder or a device, and no file")


def check_writable(folder: str | Path) -> None:
    """Find out before long work, not after it, whether `folder` can be made and written; raises StorageError."""
    probe = Path(folder) / ".writable"
    write_whole({probe: b""})
    probe.unlink(missing_ok=True)  # another process may have probed at the same time


def write_output(files: Mapping[Path, bytes], known: Known, *, replace: bool = False) -> None:
    """Write files where nothing of others stands, and enter them in the list of the run that they lie in.

    Args:
        files: What to write.
        known: Which files may be written over.
        replace: Write over any file.

    Raises:
        StorageError: There is a file that was not written by the toolkit, or the folder cannot be written.
    """
    check_output(files, known, replace=replace)
    enter(files)
    write_whole(files)


def check_output(paths: Iterable[Path], known: Known, *, replace: bool = False) -> None:
    """Find out whether `write_output` would refuse; arguments and errors are its own."""
    for path in paths:
        with writing_to(path.parent):
            refuse_special(path)
            is_strange = os.path.lexists(path) and not replace and not (path.exists() and known(path))
        if is_strange:
            raise StorageError(
                f"{path} is there, and site_lens did not write it, or it was changed since; choose another output, or "
                "move it away"
            )


def output_path(path: str | Path, known: Known, *, inputs: Iterable[str | Path] = (), replace: bool = False) -> Path:
    """Return the file that a user's name for an output stands for, links followed, once it is clear that it may go.

    Args:
        path: The name.
        known: Which files may be written over.
        inputs: Files and folders that are read: none is written over, not even under another name, and no file in
            one that is not known.
        replace: Write over a file that is there, whoever wrote it.

    Raises:
        InputError: The name is empty, is that of an input, or leads among the records of a run.
        StorageError: There is something that may not be written over.
    """
    path, sources = named(path), [Path(source) for source in inputs]
    place = Path(os.path.realpath(path))
    if read := [source for source in sources if is_same(place, source)]:
        raise InputError(f"{path} is what is read ({read[0]}); name another output")
    if is_within_part(place):
        raise InputError(f"{path} lies among the records of a run, where it would not be read; name another output")
    is_inside = any(source.is_dir() and is_within(place, source) for source in sources)
    check_output([place], known, replace=replace and not is_inside)
    return place


def write_file(content: bytes, path: str | Path, *, inputs: Iterable[str | Path] = (), replace: bool = False) -> Path:
    """Write a file of a foreign format, which cannot bear a mark of the toolkit; overwrite only the same content.

    Args:
        content: What to write.
        path: The user's name for it; its folder is made if need be.
        inputs: What is read; see `output_path`.
        replace: Write over any file.

    Returns:
        The path.

    Raises:
        InputError: The name is empty, is that of an input, or leads among the records of a run.
        StorageError: The folder cannot be written, or there is another file and `replace` is not given.
    """

    def holds_the_same(there: Path) -> bool:
        return there.stat().st_size == len(content) and there.read_bytes() == content

    place = output_path(path, holds_the_same, inputs=inputs, replace=replace)
    write_output({place: content}, holds_the_same, replace=replace)
    return Path(path)


def named(path: str | Path) -> Path:
    """Return a path that says something; raises InputError for an empty one, which would mean the working folder."""
    if not str(path).strip():
        raise InputError("the name of an output is empty; name a file or a folder")
    return Path(path)


def check_apart(folder: Path, inputs: Iterable[str | Path]) -> None:
    """Raise InputError if a folder to be written is, or holds, something that is read, under whatever names."""
    for source in map(Path, inputs):
        if os.path.lexists(source) and is_within(Path(os.path.realpath(source)), folder):
            raise InputError(f"{source} is read, and lies in {folder}, which is written; choose another folder")
    if is_within_part(Path(os.path.realpath(folder)) / "x"):
        raise InputError(f"{folder} lies among the records of a run; choose another folder")


def is_same(path: Path, other: Path) -> bool:
    """Tell whether two names stand for one file or folder: links, hard links and upper case included."""
    try:
        return path.samefile(other)
    except (OSError, ValueError):
        return False


def is_within(path: Path, folder: Path) -> bool:
    """Tell whether a path is a folder or lies in it, whatever they are called."""
    return any(is_same(above, folder) for above in (path, *path.parents))


def is_within_part(place: Path) -> bool:
    """Tell whether a file would lie in a folder of records of a run."""
    return any(folder.name.lower() in PARTS and is_run(folder.parent) for folder in place.parents)


def is_run(folder: Path) -> bool:
    """Tell whether a folder holds a run, or the beginning of one."""
    return has_list(folder) or any((folder / "fits").glob("*.json"))


def has_list(folder: Path) -> bool:
    """Tell whether a folder has a list of what was written there; a link is none, for it would be followed."""
    path = folder / LISTED
    return is_there(path) and path.is_file() and not path.is_symlink()


# What the toolkit wrote.

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


def entry_of(path: Path) -> tuple[Path, str] | None:
    """Return the folder of the run that a file lies in, if it has a list, and the name of the file in that list."""
    place = Path(os.path.realpath(path.parent))
    root = next((folder for folder in (place, *list(place.parents)[:2]) if has_list(folder)), None)
    return None if root is None else (root, (place / path.name).relative_to(root).as_posix())


def listed_digests(path: Path) -> set[str]:
    """Return every digest that a file had by the list of its run; none of a file that is in no list."""
    entry = entry_of(path)
    return set() if entry is None else listed(entry[0]).get(entry[1], set())


def enter(files: Mapping[Path, bytes]) -> None:
    """Enter files in the list of the run that they lie in, if there is one; before they are written, not after.

    Raises:
        StorageError: The list cannot be written.
    """
    for path, content in files.items():
        entry = entry_of(path)
        if entry is not None and path.name.isprintable():
            root, name = entry
            with writing_to(root), (root / LISTED).open("a", encoding="utf-8") as stream:
                stream.write(f"{digest_bytes(content)}  {name}\n")


def write_list(folder: Path, files: Mapping[str, Iterable[str]]) -> None:
    """Write the list of a run's folder anew; raises StorageError."""
    lines = [f"{digest}  {name}\n" for name, digests in files.items() for digest in sorted(digests)]
    write_whole({folder / LISTED: "".join(lines).encode()})


def listed(folder: Path) -> dict[str, set[str]]:
    """Read the list of a run's folder: every digest that a file had, by path; a line that is none is passed over."""
    digests: dict[str, set[str]] = {}
    for line in _content(folder / LISTED).decode(errors="replace").splitlines():
        match = re.fullmatch(r"([0-9a-f]{64})  (\S.*)", line)
        if match and not {"..", ""} & set(match[2].split("/")) and not PurePosixPath(match[2]).is_absolute():
            digests.setdefault(match[2], set()).add(match[1])
    return digests


def in_order_of_writing(paths: Iterable[Path]) -> list[Path]:
    """Order files of one folder as they were first written, by the list of their run; files not in it come last."""
    files = list(paths)
    entry = entry_of(files[0]) if files else None
    if entry is None:
        return files
    root, first = entry
    place = {name: i for i, name in enumerate(listed(root))}
    return sorted(files, key=lambda path: place.get(first.removesuffix(files[0].name) + path.name, len(place)))


def is_listed(path: Path) -> bool:
    """Tell whether a file of a run is in its list as it is now."""
    return digest_bytes(_content(path)) in listed_digests(path)
