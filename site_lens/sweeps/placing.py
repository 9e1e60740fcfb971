"""Putting a finished result into its place: whole, lasting, and only if the place is free."""

import errno
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from site_lens.core.digests import digest_bytes
from site_lens.core.runs import Run
from site_lens.sweeps.entries import JobName, StoredFile, StoredJob


def files_of(folder: Path) -> dict[str, StoredFile]:
    """Measure and digest the files of a result, by path below its folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            found[str(path.relative_to(folder))] = StoredFile(n_bytes=len(content), sha256=digest_bytes(content))
    return found


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
