"""JSON files of a run store: mark, plans, results and failures, each with a digest of its content."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from site_lens.records.base import Frozen, readable
from site_lens.records.errors import InputError, StorageError
from site_lens.records.hashing import digest_json
from site_lens.records.limited_io import parse_json, read_file
from site_lens.records.outputs import write_whole
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
    """Read such a file back; a symlink is not followed.

    Raises:
        StorageError: It is missing, truncated, was edited, or does not hold such a value.
    """
    try:
        sealed = parse_json(read_file(path, MOST_BYTES, follow=False))
        content = sealed["content"]
        if digest_json(content) != sealed["digest"]:
            raise StorageError(f"{path} was edited after it was written")
        return kind(**content)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    except (InputError, ValidationError, ValueError, TypeError, KeyError) as error:
        reason = readable(error) if isinstance(error, ValidationError) else str(error)
        raise StorageError(f"{path} is truncated, or does not hold a valid {kind.__name__}: {reason}") from None
