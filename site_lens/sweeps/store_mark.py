"""Layout of a run store: its mark, its folders, and the names of its entries.

Nothing is removed, exported or written in a folder that is no store, nor where a folder of a store is a symlink.
"""

import os
import re
from pathlib import Path

from site_lens.records.errors import StorageError
from site_lens.records.limited_io import is_hidden
from site_lens.records.outputs import check_writable
from site_lens.sweeps.store_schema import LAYOUT, StoreMark, SweepPlan, read_sealed, write_sealed

FOLDERS = ("results", "failures", "plans", "models", "claims", "partial", "damaged", "events")
"""Folders of a store; `damaged` belongs to stores of 0.1, and is only cleaned up."""
JOB_FILE, MARK_FILE = "job.json", "run_store.json"

RESULT = re.compile("[0-9a-f]{64}")
"""Name of a result."""
UNFINISHED = re.compile(r"[0-9a-f]{64}\.[0-9a-f]+")
"""Name of a result that is being written or was set aside."""
CLAIM = re.compile(r"[0-9a-f]{64}\.lock")
"""Name of a claim."""


def entries(folder: Path, name: re.Pattern[str]) -> list[Path]:
    """List the entries of a store's folder by the names that the store gives; other files are left out.

    Raises:
        StorageError: The folder is a symlink.
    """
    if folder.is_symlink():
        raise StorageError(f"{folder} is a symlink to {folder.readlink()}, out of the run store; remove it first")
    if not folder.is_dir():  # a copy of a store may lack the folders that were empty
        return []
    return sorted(path for path in folder.iterdir() if name.fullmatch(path.name))


def plan_files(folder: Path) -> list[Path]:
    """List the plans of a store."""
    return sorted(path for path in (folder / "plans").glob("*.json") if not is_hidden(path))


def check_store(folder: Path) -> None:
    """Raise StorageError unless a folder is a run store without symlinks to folders elsewhere.

    Stores of 0.1.0 have no mark; they are known by a plan.
    """
    for name in FOLDERS:
        entries(folder / name, RESULT)
    try:
        read_sealed(folder / MARK_FILE, StoreMark)
    except StorageError as error:
        if not any(_holds(path, SweepPlan) for path in plan_files(folder)):
            raise StorageError(f"{folder} is no run store ({error}); make one with: site-lens sweep run") from None


def make_store(folder: Path) -> None:
    """Make a folder a run store: the mark first, then its folders.

    Raises:
        StorageError: The folder cannot be written; or it is no store, and has a file or folder with the name of one of
            a store.
    """
    if any(os.path.lexists(folder / name) for name in (MARK_FILE, *FOLDERS)):
        check_store(folder)
    check_writable(folder)
    if not _holds(folder / MARK_FILE, StoreMark):
        write_sealed(StoreMark(layout=LAYOUT), folder / MARK_FILE)
    for name in FOLDERS[:-2] + FOLDERS[-1:]:
        try:
            (folder / name).mkdir(exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make {folder / name}: {error.strerror}; choose another folder") from error


def _holds(path: Path, kind: type[SweepPlan | StoreMark]) -> bool:
    try:
        read_sealed(path, kind)
    except StorageError:
        return False
    return True
