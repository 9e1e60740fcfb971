"""Atomic commit of a result: written aside, renamed into its place, verified later by size and digest."""

import errno
import os
from contextlib import suppress
from pathlib import Path

from site_lens.records.errors import StorageError
from site_lens.records.hashing import digest_bytes, digest_json
from site_lens.records.limited_io import read_file
from site_lens.records.outputs import PARTS
from site_lens.runs.run import Run
from site_lens.sweeps.store_mark import JOB_FILE
from site_lens.sweeps.store_schema import StoredFile, StoredJob, read_sealed

JOB_PARTS = ("fits", "controls", "evaluations")
"""Parts of a run that a job computes."""


def file_digest(path: Path, most_bytes: int) -> str:
    """Return the SHA-256 of a regular file; raises OSError as `read_file` does."""
    return digest_bytes(read_file(path, most_bytes, follow=False))


def describe_files(folder: Path) -> dict[str, StoredFile]:
    """Return size and digest of the records and the table of a result, by path below its folder."""
    names = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name.as_posix(): StoredFile(n_bytes=(size := path.stat().st_size), sha256=file_digest(path, size))
        for name, path in names.items() if name.parts[0] in (*PARTS, "results.csv")
    }  # fmt: skip


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
            if deep and file_digest(path, recorded.n_bytes) != recorded.sha256:
                return f"{path} was changed after it was written"
    except StorageError as error:
        return str(error)
    except OSError as error:
        return f"cannot read {error.filename}: {error.strerror}"
    return None


def read_result(folder: Path, stored: StoredJob) -> Run:
    """Read a result as a run.

    Raises:
        StorageError: It cannot be read, has a record that was added later, or is of another job than it says.
    """
    run = Run.load(folder)
    n_records = len(run.fits) + len(run.evaluations or ()) + sum(len(fits) for fits in run.controls.values())
    n_stored = sum(name.endswith(".json") and name.split("/")[0] in JOB_PARTS for name in stored.files)
    if n_records != n_stored:
        raise StorageError(f"{folder} has records that are not part of the result; move them elsewhere")
    job = (stored.name.task, stored.name.seed, stored.made_from.get("task"))
    if any((fit.task, fit.seed, fit.task_digest) != job for fit in run.fits.values()):
        raise StorageError(f"{folder} holds a fit of another job than {stored.name}")
    return run


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
