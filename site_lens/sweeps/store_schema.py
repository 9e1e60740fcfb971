"""Layout of a run store: its mark, its folders, the names of its entries, and its sealed JSON files.

Nothing is removed or written in a folder that is no store, nor where a folder of a store is a symlink.
"""

import json
import os
import re
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from site_lens.records.base import Frozen, readable
from site_lens.records.errors import InputError, StorageError
from site_lens.records.hashing import digest_file, digest_json
from site_lens.records.library_errors import system_errors
from site_lens.records.limited_io import is_hidden, parse_json, read_file
from site_lens.records.outputs import check_writable, write_whole
from site_lens.sweeps.schema import Label

F = TypeVar("F", bound=Frozen)

MOST_BYTES = 2**30
"""Size limit of a file: the plan of the largest sweep keeps to it."""

LAYOUT = 1
"""Layout of a store; raised when it changes."""


class JobName(Frozen):
    """Key of a job, and the labels by which tables call it."""

    key: str = Field(pattern="^[0-9a-f]{64}$")
    model: Label
    template: Label
    config: Label
    task: str
    seed: int

    def __str__(self) -> str:
        return f"{self.model}/{self.template}/{self.config}/{self.task}#{self.seed}"


class StoredFile(Frozen):
    """Size and SHA-256 of a file of a result."""

    n_bytes: int = Field(ge=0)
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "StoredFile":
        """Measure a file."""
        return cls(n_bytes=path.stat().st_size, sha256=digest_file(path))


class StoredJob(Frozen):
    """Result of a job: its files, and what it was computed from."""

    name: JobName
    made_from: dict[str, Any]
    """Everything that the key is a digest of."""
    files: dict[str, StoredFile]
    """By path below the folder of the result."""
    seconds: float = Field(ge=0)
    """Its share of the time that its batch took."""
    status: str
    """How the fit ended; see `site.fit.STATUSES`."""
    accuracy: float | None = None
    """First-token accuracy of SITE on test, where it was evaluated."""
    notes: tuple[str, ...] = ()


class Failure(Frozen):
    """Error of the last attempt at a job."""

    name: JobName
    error: str
    """Class of the error."""
    message: str
    trace: str = ""
    """The traceback."""
    n_attempts: int = Field(1, ge=1)


class SweepPlan(Frozen):
    """The jobs of a sweep, stored or not."""

    sweep: Label
    jobs: tuple[JobName, ...]


class StoreMark(Frozen):
    """Mark that makes a folder a run store."""

    layout: int = Field(ge=1, le=LAYOUT)


def write_sealed(content: Frozen, path: Path) -> None:
    """Write a value as JSON with a digest of it; the file appears whole or not at all; raises StorageError."""
    fields = content.model_dump(mode="json")
    text = json.dumps({"digest": digest_json(fields), "content": fields}, indent=1, ensure_ascii=False)
    write_whole({path: text.encode() + b"\n"})


def read_sealed(path: Path, kind: type[F]) -> F:
    """Read such a file back.

    Raises:
        StorageError: It is missing, truncated, was edited, or does not hold such a value.
    """
    with system_errors(f"read {path}"):
        text = read_file(path, MOST_BYTES)
    try:
        sealed = parse_json(text)
        content = sealed["content"]
        if digest_json(content) != sealed["digest"]:
            raise StorageError(f"{path} was edited after it was written")
        return kind(**content)
    except (InputError, ValidationError, ValueError, TypeError, KeyError) as error:
        reason = readable(error) if isinstance(error, ValidationError) else str(error)
        raise StorageError(f"{path} is truncated, or does not hold a valid {kind.__name__}: {reason}") from None


FOLDERS = ("results", "failures", "plans", "models", "claims", "partial", "events")
DAMAGED = "damaged"
"""Folder of stores of 0.1, which is only cleaned up."""
JOB_FILE, MARK_FILE = "job.json", "run_store.json"

RESULT = re.compile("[0-9a-f]{64}")
"""Name of a result."""
UNFINISHED = re.compile(r"[0-9a-f]{64}\.[0-9a-f]+")
"""Name of a result that is being written or was set aside."""
CLAIM = re.compile(r"[0-9a-f]{64}\.lock")
"""Name of a claim."""


def entries(folder: Path, name: re.Pattern[str]) -> list[Path]:
    """List the entries of a store's folder by the names that the store gives; other files are left out."""
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
    for path in (folder / name for name in (*FOLDERS, DAMAGED)):
        if path.is_symlink():
            raise StorageError(f"{path} is a symlink to {path.readlink()}, out of the run store; remove it first")
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
    if any(os.path.lexists(folder / name) for name in (MARK_FILE, *FOLDERS, DAMAGED)):
        check_store(folder)
    check_writable(folder)
    if not _holds(folder / MARK_FILE, StoreMark):
        write_sealed(StoreMark(layout=LAYOUT), folder / MARK_FILE)
    for name in FOLDERS:
        with system_errors(f"make {folder / name}", "; choose another folder"):
            (folder / name).mkdir(exist_ok=True)


def _holds(path: Path, kind: type[SweepPlan | StoreMark]) -> bool:
    try:
        read_sealed(path, kind)
    except StorageError:
        return False
    return True
