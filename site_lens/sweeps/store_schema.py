"""The small files of a run store: names of jobs, results, failures, plans; each with a digest of its content."""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, ValidationError

from site_lens.records.base import Frozen, readable
from site_lens.records.collections import file_name
from site_lens.records.errors import InputError, StorageError
from site_lens.records.hashing import digest_json
from site_lens.records.limited_io import current_limits, parse_json, read_file
from site_lens.records.outputs import write_whole

F = TypeVar("F", bound=Frozen)

PLAN_BYTES = 2**30
"""Bytes that the plan of the largest sweep may take; all other entries keep to `Limits`."""


@lru_cache(maxsize=4096)  # few labels stand on many jobs
def _label(name: str) -> str:
    if file_name(name) != name:
        raise ValueError(f"{name!r:.80} cannot name a folder")
    return name


Label = Annotated[str, AfterValidator(_label)]
"""A name that becomes a folder of its own, and leads nowhere else."""


class JobName(Frozen):
    """A job as tables show it, and the key under which its result is kept."""

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


def labelled_parts(made_from: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the labels of a job stand for, by kind of label, from what its key is a digest of."""
    parts = {kind: made_from.get(kind) for kind in ("model", "template", "config")}
    if isinstance(config := parts["config"], Mapping):
        parts["config"] = {name: value for name, value in config.items() if name != "seed"}
    return parts


class SweepPlan(Frozen):
    """The jobs of a sweep, stored or not."""

    sweep: Label
    jobs: tuple[JobName, ...]
    labels: dict[str, dict[str, str]] = {}
    """Digest of what each label stands for, by kind of label; nothing in plans of 0.1.0."""

    def mismatch(self, name: JobName, stored: StoredJob) -> str | None:
        """Say in what a result is not that of the job which this plan says it is, or return None."""
        if (name.task, name.seed) != (stored.name.task, stored.name.seed):
            return f"the plan says {name.task}#{name.seed}, the result {stored.name.task}#{stored.name.seed}"
        for kind, part in labelled_parts(stored.made_from).items() if self.labels else ():
            label = getattr(name, kind)
            if self.labels.get(kind, {}).get(label) != digest_json(part):
                return f"the plan says that the {kind} is {label}, the result is of another one"
        return None


class StoreMark(Frozen):
    """What makes a folder a run store."""

    layout: int = Field(ge=1)
    """How it is laid out."""


def _most_bytes(kind: type[Frozen]) -> int:
    return PLAN_BYTES if kind is SweepPlan else current_limits().record_json_bytes


def write_sealed(content: Frozen, path: Path) -> None:
    """Write a value as JSON with a digest of it; the file appears whole or not at all.

    Raises:
        StorageError: It cannot be written, or could not be read back.
    """
    fields = content.model_dump(mode="json")
    text = json.dumps({"digest": digest_json(fields), "content": fields}, indent=1, ensure_ascii=False)
    written = text.encode() + b"\n"
    most_bytes = _most_bytes(type(content))
    if len(written) > most_bytes:
        raise StorageError(f"{path} could not be read back: it would have more than {most_bytes} bytes")
    write_whole({path: written})


def read_sealed(path: Path, kind: type[F]) -> F:
    """Read such a file back; a link is not followed.

    Raises:
        StorageError: It is missing, truncated, was edited, or does not hold such a value.
    """
    try:
        whole = parse_json(read_file(path, _most_bytes(kind), follow=False))
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
