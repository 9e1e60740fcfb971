"""Atomic commit of a result: written aside, renamed into its place, verified later by size and digest."""

import errno
import os
from contextlib import suppress
from pathlib import Path

from site_lens.records.errors import StorageError
from site_lens.records.hashing import digest_file, digest_json
from site_lens.records.outputs import PARTS
from site_lens.sweeps.store_schema import JOB_FILE, StoredFile, StoredJob, read_sealed


def describe_files(folder: Path) -> dict[str, StoredFile]:
    """Return size and digest of the records and the table of a result, by path below its folder."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and name.parts[0] in (*PARTS, "results.csv"):
            files[name.as_posix()] = StoredFile(n_bytes=path.stat().st_size, sha256=digest_file(path))
    return files


def find_damage(folder: Path, *, deep: bool) -> str | None:
    """Describe the damage of a result, or return None.

    Args:
        folder: The folder of the result, named after its key.
        deep: Read every file and compare its digest; else compare sizes only.
    """
    if folder.is_symlink() or not folder.is_dir():
        return f"{folder} is no folder"
    try:
        stored = read_sealed(folder / JOB_FILE, StoredJob)
        if not stored.name.key == digest_json(stored.made_from) == folder.name:
            return f"{folder / JOB_FILE} describes another job than its folder is named after"
        for name, recorded in stored.files.items():
            path = folder / name
            if (n_bytes := path.lstat().st_size) != recorded.n_bytes:
                return f"{path} has {n_bytes} bytes, not {recorded.n_bytes}"
            if deep and digest_file(path) != recorded.sha256:
                return f"{path} was changed after it was written"
    except StorageError as error:
        return str(error)
    except OSError as error:
        return f"cannot read {error.filename}: {error.strerror}"
    return None


def move_into_place(partial: Path, place: Path) -> bool:
    """Rename a finished result into its place, and flush both to disk; False if the place is taken."""
    for folder in {path.parent for path in partial.rglob("*")}:
        _sync(folder)
    try:
        partial.rename(place)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    _sync(place.parent)
    return True


def _sync(folder: Path) -> None:
    """Flush the entries of a folder to disk, where the file system can do that for folders."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
