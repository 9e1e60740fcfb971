"""Event log of a sweep, one JSON line an event, appended and never changed; and what watches it: W&B and trackio."""

import json
import logging
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

from site_lens.records.base import Frozen
from site_lens.records.errors import InputError, StorageError
from site_lens.records.library_errors import system_errors
from site_lens.records.limited_io import is_hidden, read_file

logger = logging.getLogger(__name__)

MOST_BYTES = 2**28
"""A larger event log is not read."""

EventKind = Literal[
    "sweep_started", "job_stored", "job_failed", "job_set_aside", "memory_halved", "worker_died", "sweep_ended",
]  # fmt: skip


class Event(Frozen):
    """One thing that happened."""

    kind: EventKind
    at: str
    """Time of day (UTC), for people: nothing is decided by it."""
    source: str
    """The process that wrote it: the name of its log."""
    detail: dict[str, Any]


class Watcher(Protocol):
    """Observer of a sweep; it is called for every event that reaches the driver."""

    def on_event(self, event: Event) -> None:
        """Take note of an event."""


class EventLog:
    """Log that one process appends to, in a file of its own: appending to a shared one is safe on local disks only."""

    def __init__(self, folder: Path) -> None:
        self.source = secrets.token_hex(6)
        self._path = folder / f"{self.source}.jsonl"

    def write(self, kind: EventKind, detail: Mapping[str, Any]) -> Event:
        """Append an event, in one call of the operating system; raises StorageError."""
        event = Event(kind=kind, at=datetime.now(UTC).isoformat(), source=self.source, detail=dict(detail))
        logger.info("%s %s", kind, detail)
        line = json.dumps(event.model_dump(mode="json")).encode() + b"\n"
        with system_errors(f"write to {self._path}"), self._path.open("ab", buffering=0) as stream:
            if stream.write(line) < len(line):
                raise StorageError(f"cannot write to {self._path}: the disk is full")
        return event


def read_events(folder: Path) -> tuple[list[Event], int]:
    """Read all logs of a folder.

    Returns:
        The events by time of day, and how many lines cannot be read, such as one cut short by a full disk; a log that
        is no file, or larger than `MOST_BYTES`, counts as one line.
    """
    events: list[Event] = []
    n_unreadable = 0
    for path in sorted(path for path in folder.glob("*.jsonl") if not is_hidden(path)):
        try:
            content = read_file(path, MOST_BYTES)
        except OSError:
            n_unreadable += 1
            continue
        for line in filter(bytes.strip, content.split(b"\n")):
            try:
                events.append(Event(**json.loads(line)))
            except (ValueError, TypeError, RecursionError, InputError):
                n_unreadable += 1
    return sorted(events, key=lambda event: event.at), n_unreadable


class Tracker:
    """A watcher that logs stored and failed jobs to W&B or trackio, which has the same interface.

    Args:
        service: Which of them; it must be installed.
        project: Name of the project there.
        config: What to keep beside the numbers.

    Raises:
        InputError: It is not installed.
    """

    def __init__(
        self, service: Literal["wandb", "trackio"], *, project: str, config: Mapping[str, Any] | None = None
    ) -> None:
        try:
            module = import_module(service)
        except ImportError as error:
            raise InputError(f"{service} is not installed; pip install {service}") from error
        self._run: Any = module.init(project=project, config=dict(config or {}))
        self._n_stored = self._n_failed = 0

    def on_event(self, event: Event) -> None:
        """Log counts, and accuracy and time of a stored job; close the run when the sweep has ended."""
        self._n_stored += event.kind == "job_stored"
        self._n_failed += event.kind == "job_failed"
        if event.kind in ("job_stored", "job_failed"):
            numbers = {name: event.detail.get(name) for name in ("accuracy", "seconds")}
            known = {name: value for name, value in numbers.items() if value is not None}
            self._run.log({"n_stored": self._n_stored, "n_failed": self._n_failed} | known)
        elif event.kind == "sweep_ended":
            self._run.finish()
