"""What a run store is told by, so that nothing is cleared, exported or written in a folder that is none."""

import os
import re
from pathlib import Path

from site_lens.records.errors import StorageError
from site_lens.records.hashing import digest_json
from site_lens.records.limited_io import is_hidden
from site_lens.records.outputs import check_writable
from site_lens.sweeps.store_schema import StoredJob, StoreMark, SweepPlan, read_sealed, write_sealed

FOLDERS = ("results", "failures", "plans", "models", "claims", "partial", "damaged", "events")
JOB_FILE = "job.json"
MARK_FILE = "run_store.json"
LAYOUT = 1
"""How a store is laid out; raised when that changes."""

RESULT = re.compile("[0-9a-f]{64}")
"""Name of a result."""
UNFINISHED = re.compile(r"[0-9a-f]{64}\.[0-9a-f]+")
"""Name of a result that is being written or was set aside."""
CLAIM = re.compile(r"[0-9a-f]{64}\.lock")
"""Name of a claim."""


def own_entries(folder: Path, name: re.Pattern[str]) -> list[Path]:
    """List what a store has put into one of its folders, by the names that it gives; what others put there is left out.

    Raises:
        StorageError: The folder is a link.
    """
    if folder.is_symlink():
        raise StorageError(f"{folder} is a link to {folder.readlink()}, out of the run store; remove the link first")
    if not folder.is_dir():  # a copy of a store may lack the folders that were empty
        return []
    return sorted(path for path in folder.iterdir() if name.fullmatch(path.name))


def plan_files(folder: Path) -> list[Path]:
    """List the plans of a store."""
    return sorted(path for path in (folder / "plans").glob("*.json") if not is_hidden(path))


def check_store(folder: Path) -> None:
    """Raise StorageError unless a folder is a run store, all of which lies in it.

    Stores of 0.1.0 have no mark; they are told by a plan or a result whose digests hold.
    """
    for name in FOLDERS:
        own_entries(folder / name, RESULT)
    try:
        mark = read_sealed(folder / MARK_FILE, StoreMark)
    except StorageError as error:
        if _has_content(folder):
            return
        raise StorageError(f"{folder} is no run store ({error}); make one with: site-lens sweep") from None
    if mark.layout > LAYOUT:
        raise StorageError(f"{folder} was made by a newer site_lens; upgrade")


def make_store(folder: Path) -> None:
    """Make a folder a run store: the mark first, then its folders.

    Raises:
        StorageError: The folder cannot be written; or it is no store, and what a store would write to is there.
    """
    if os.path.lexists(folder / MARK_FILE) or any(_is_taken(folder / name) for name in FOLDERS):
        try:
            check_store(folder)
        except StorageError as error:
            raise StorageError(f"{error}; or choose another output folder") from None
    check_writable(folder)
    if not _is_entry(folder / MARK_FILE, StoreMark):
        write_sealed(StoreMark(layout=LAYOUT), folder / MARK_FILE)
    try:
        for name in FOLDERS:
            (folder / name).mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make {folder / name}: {error.strerror}; choose another output folder") from error


def _is_taken(folder: Path) -> bool:
    """Tell whether there is something of others where a store has a folder."""
    if folder.is_symlink() or not folder.is_dir():
        return os.path.lexists(folder)
    return not all(is_hidden(path) for path in folder.iterdir())


def _has_content(folder: Path) -> bool:
    """Tell whether a folder holds a plan or a result of a store."""
    plans = (_is_entry(path, SweepPlan) for path in plan_files(folder))
    return any(plans) or any(_is_result(path) for path in own_entries(folder / "results", RESULT))


def _is_entry(path: Path, kind: type[SweepPlan | StoreMark]) -> bool:
    try:
        read_sealed(path, kind)
    except StorageError:
        return False
    return True


def _is_result(folder: Path) -> bool:
    try:
        stored = read_sealed(folder / JOB_FILE, StoredJob)
    except StorageError:
        return False
    return folder.name == stored.name.key == digest_json(stored.made_from)
