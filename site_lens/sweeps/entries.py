"""The small files of a run store: names of jobs, results, failures, plans; each with a digest of its content."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from site_lens.core.digests import digest_json
from site_lens.core.errors import InputError, StorageError
from site_lens.core.outputs import write_whole
from site_lens.core.reading import current_limits, parse_json, read_file
from site_lens.core.records import Frozen, readable

F = TypeVar("F", bound=Frozen)


class JobName(Frozen):
    """A job as tables show it, and the key under which its result is kept."""

    key: str = Field(pattern="^[0-9a-f]{64}$")
    model: str
    template: str
    config: str
    task: str
    seed: int

    def __str__(self) -> str:
        return f"{self.model}/{self.template}/{self.config}/{self.task}#{self.seed}"


class StoredFile(Frozen):
    """Size and SHA-256 of a file of a result."""

    n_bytes: int = Field(ge=0)
    sha256: str


class StoredJob(Frozen):
    """The result of a job: which files it consists of, and what it was computed from."""

    name: JobName
    made_from: dict[str, Any]
    """Everything that the key is a digest of."""
    files: dict[str, StoredFile]
    """By path below the folder of the result."""
    seconds: float = Field(ge=0)
    """Its share of the time that its batch took."""
    status: str
    """How the fit ended; see `core.fits.STATUSES`."""
    accuracy: float | None = None
    """First-token accuracy of SITE on test, where it was evaluated."""
    notes: tuple[str, ...] = ()


class Failure(Frozen):
    """Why the last attempt at a job gave no result."""

    name: JobName
    error: str
    """Class of the error."""
    message: str
    trace: str = ""
    """The traceback, for whoever mends it."""
    n_attempts: int = Field(1, ge=1)


class SweepPlan(Frozen):
    """The jobs of a sweep, stored or not."""

    sweep: str
    jobs: tuple[JobName, ...]


def write_sealed(content: Frozen, path: Path) -> None:
    """Write a value as JSON with a digest of it; the file appears whole or not at all."""
    fields = content.model_dump(mode="json")
    text = json.dumps({"digest": digest_json(fields), "content": fields}, indent=1, ensure_ascii=False)
    write_whole({path: text.encode() + b"\n"})


def read_sealed(path: Path, kind: type[F]) -> F:
    """Read such a file back.

    Raises:
        StorageError: It is missing, truncated, was edited, or does not hold such a value.
    """
    limits = current_limits()
    try:
        whole = parse_json(read_file(path, limits.record_json_bytes), limits.record_json_values)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise StorageError(f"{path} is truncated or not JSON ({error})") from None
    if not isinstance(whole, dict) or set(whole) != {"digest", "content"} or not isinstance(whole["content"], dict):
        raise StorageError(f"{path} does not hold a digest and a content")
    try:
        if digest_json(whole["content"]) != whole["digest"]:
            raise StorageError(f"{path} was edited after it was written")
        return kind(**whole["content"])
    except (InputError, ValidationError, ValueError, TypeError, RecursionError) as error:
        reason = readable(error) if isinstance(error, ValidationError) else str(error)
        raise StorageError(f"{path} does not hold a valid {kind.__name__}: {reason}") from None
