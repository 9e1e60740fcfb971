"""What happens in a sweep, one JSON line an event, appended and never changed."""

import json
import logging
import os
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from site_lens.records.base import Frozen
from site_lens.records.errors import InputError, StorageError
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
    """The process that wrote it: a name of its log."""
    detail: dict[str, Any]


class Watcher(Protocol):
    """Whoever wants to see the events of a sweep as they reach its driver."""

    def on_event(self, event: Event) -> None:
        """Take note of an event."""


class EventLog:
    """A log that one process appends to.

    Each writer has a file of its own, since appending to a shared one is safe on local disks only.
    """

    def __init__(self, folder: Path) -> None:
        self.source = secrets.token_hex(6)
        self._path = folder / f"{self.source}.jsonl"

    def write(self, kind: EventKind, detail: Mapping[str, Any]) -> Event:
        """Append an event, in one call of the operating system.

        Raises:
            StorageError: It cannot be written.
        """
        event = Event(kind=kind, at=datetime.now(UTC).isoformat(), source=self.source, detail=dict(detail))
        line = json.dumps(event.model_dump(mode="json"), ensure_ascii=False) + "\n"
        logger.info("%s %s", kind, detail)
        content = line.encode("utf-8", "backslashreplace")  # a path in a message may hold half a character
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                n_written = os.write(handle, content)
            finally:
                os.close(handle)
        except OSError as error:
            raise StorageError(f"cannot write to {self._path}: {error.strerror}") from error
        if n_written < len(content):
            raise StorageError(f"cannot write to {self._path}: the disk is full")
        return event


def read_events(folder: Path) -> tuple[list[Event], int]:
    """Read all logs of a folder.

    Returns:
        The events, those of one writer in order, writers merged by time of day; and how many lines cannot be read, such
        as one cut short by a full disk; a log that is no file, or larger than `MOST_BYTES`, counts as one line.
    """
    logs: list[list[Event]] = []
    n_unreadable = 0
    for path in sorted(path for path in folder.glob("*.jsonl") if not is_hidden(path)):
        found = []
        try:
            content = read_file(path, MOST_BYTES, follow=False)
        except OSError as error:
            logger.warning("the event log %s cannot be read: %s", path, error.strerror)
            n_unreadable += 1
            continue
        for line in content.split(b"\n"):
            if not line.strip():
                continue
            try:
                found.append(Event(**json.loads(line)))
            except (ValueError, TypeError, RecursionError, InputError):
                n_unreadable += 1
        logs.append(found)
    return _merged(logs), n_unreadable


def _merged(logs: list[list[Event]]) -> list[Event]:
    """Merge by time of day, never against the order within a log: a clock that jumps back moves nothing."""
    keyed = []
    for log in logs:
        latest = ""
        for event in log:
            latest = max(latest, event.at)
            keyed.append((latest, event))
    return [event for _, event in sorted(keyed, key=lambda pair: pair[0])]
