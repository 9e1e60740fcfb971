"""The files of a result: put into a free place, whole and lasting, and later held against what they were."""

import errno
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from site_lens.records.errors import StorageError
from site_lens.records.hashing import digest_bytes, digest_json
from site_lens.records.limited_io import is_hidden, read_file
from site_lens.records.outputs import PARTS
from site_lens.runs.run import Run
from site_lens.sweeps.store_mark import JOB_FILE
from site_lens.sweeps.store_schema import JobName, StoredFile, StoredJob, read_sealed


def entries_below(folder: Path) -> dict[str, os.stat_result]:
    """List what lies below a folder, folders left out, by path with "/" between its parts; no link is followed.

    Hidden files are left out: others put them there, such as the `._name.json` of macOS on network disks.
    """
    found, folders = {}, [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                if is_hidden(path):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                else:
                    found[path.relative_to(folder).as_posix()] = entry.stat(follow_symlinks=False)
    return found


def file_digest(path: Path, most_bytes: int) -> str:
    """Return the SHA-256 of a regular file; raises OSError as `read_file` does."""
    return digest_bytes(read_file(path, most_bytes, follow=False))


def files_of(folder: Path) -> dict[str, StoredFile]:
    """Measure and digest the records of a result and its table, by path below its folder."""
    return {
        name: StoredFile(n_bytes=entry.st_size, sha256=file_digest(folder / name, entry.st_size))
        for name, entry in sorted(entries_below(folder).items())
        if name.split("/")[0] in (*PARTS, "results.csv")
    }


def harm(folder: Path, *, deep: bool) -> str | None:
    """Say what a result has lost, or return None.

    Args:
        folder: The folder of the result, named after its key.
        deep: Read every file and compare its digest; else only what is small, and the size of the rest.
    """
    if folder.is_symlink() or not folder.is_dir():
        return f"{folder} is no folder"
    try:
        stored = read_sealed(folder / JOB_FILE, StoredJob)
        if not stored.name.key == digest_json(stored.made_from) == folder.name:
            return f"{folder / JOB_FILE} describes another job than its folder is named after"
        there = entries_below(folder)
        for name, kept in stored.files.items():
            path, entry = folder / name, there.get(name)
            if entry is None or not stat.S_ISREG(entry.st_mode):
                return f"{path} is not there, or no regular file"
            if entry.st_size != kept.n_bytes:
                return f"{path} has {entry.st_size} bytes, not {kept.n_bytes}"
            if deep and file_digest(path, kept.n_bytes) != kept.sha256:
                return f"{path} was changed after it was written"
    except StorageError as error:
        return str(error)
    except OSError as error:
        return f"cannot read {error.filename}: {error.strerror}"
    return None


def read_result(folder: Path, stored: StoredJob) -> Run:
    """Read a result as a run.

    Raises:
        StorageError: It cannot be read, holds a record that was put there later, or is of another job than it says.
    """
    for name in sorted(entries_below(folder).keys() - stored.files.keys()):
        if name.split("/")[0] in PARTS and ".pieces/" not in name and not name.endswith(".key"):
            raise StorageError(f"{folder / name} is no part of the result; move it elsewhere")
    run = Run.load(folder)
    said = (stored.name.task, stored.name.seed, stored.made_from.get("task"))
    if any((fit.task, fit.seed, fit.task_digest) != said for fit in run.fits.values()):
        raise StorageError(f"{folder} holds a fit of another job than {stored.name}")
    return run


def described(
    name: JobName, made_from: Mapping[str, Any], run: Run, files: dict[str, StoredFile], seconds: float
) -> StoredJob:
    """Say what a result is.

    Args:
        name: The job.
        made_from: What its key is a digest of.
        run: The result.
        files: Its files, by path below its folder.
        seconds: What it took.
    """
    fit = next(iter(run.fits.values()))
    measured = None if run.evaluations is None else run.evaluations[name.task]
    return StoredJob(
        name=name,
        made_from=dict(made_from),
        files=files,
        seconds=seconds,
        status=fit.status,
        accuracy=None if measured is None else measured.accuracy("site").value,
        notes=fit.notes,
    )


def move_into_place(partial: Path, place: Path) -> bool:
    """Rename a finished result into its place, and make both lasting; False if the place is taken."""
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
    """Have the entries of a folder survive a power cut, where the file system can do that for folders."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
