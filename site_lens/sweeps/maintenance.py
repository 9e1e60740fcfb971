"""Maintenance of a run store: states and costs of jobs, damaged results, garbage of dead processes."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from site_lens.records.errors import StorageError
from site_lens.records.hashing import digest_json
from site_lens.records.library_errors import system_errors
from site_lens.sweeps.jobs import SweepJob, by_settings
from site_lens.sweeps.store import RunStore
from site_lens.sweeps.store_schema import CLAIM, DAMAGED, UNFINISHED, JobName, entries

State = Literal["stored", "damaged", "failed", "running", "missing"]


@dataclass(frozen=True, slots=True)
class JobState:
    """State of a job of a sweep."""

    name: JobName
    state: State
    status: str | None = None
    """How its fit ended."""
    accuracy: float | None = None
    """First-token accuracy of SITE."""
    seconds: float | None = None
    note: str = ""
    """Error or damage, or notes of the fit."""
    trace: str = ""
    """Traceback of the last failure."""


def job_states(store: RunStore, sweep: str | None = None) -> Iterator[JobState]:
    """Return the state of every job of a sweep, in the order of the sweep."""
    return (_state(store, name) for name in store.plan(sweep).jobs)


def _state(store: RunStore, name: JobName) -> JobState:
    if store.holds(name.key):
        if (damage := store.damage(name.key)) is not None:
            return JobState(name, "damaged", note=damage)
        stored = store.stored(name.key)
        return JobState(name, "stored", stored.status, stored.accuracy, stored.seconds, "; ".join(stored.notes))
    if store.is_claimed(name.key):
        return JobState(name, "running")
    try:
        failure = store.failure(name.key)
    except StorageError as error:
        return JobState(name, "failed", note=f"the record of the error is damaged: {error}")
    if failure is None:
        return JobState(name, "missing")
    note = f"{failure.error}: {failure.message} (attempts: {failure.n_attempts})"
    return JobState(name, "failed", note=note, trace=failure.trace)


def damaged_results(store: RunStore) -> dict[str, str]:
    """Compare every result with its digests, and describe the damage of those that differ, by key."""
    damages = {key: store.damage(key, deep=True) for key in store.stored_keys()}
    return {key: damage for key, damage in damages.items() if damage is not None}


def unusable_results(store: RunStore) -> dict[str, str]:
    """Return why undamaged results cannot be read all the same, such as those of a later version, by key."""
    reasons = {}
    for key in store.stored_keys():
        if store.damage(key) is None:
            try:
                store.load(key)
            except StorageError as error:
                reasons[key] = str(error)
    return reasons


def collect_garbage(store: RunStore, *, damaged: bool = False) -> list[Path]:
    """Remove what dead processes left behind; files of running jobs and files of others stay.

    Args:
        store: The store.
        damaged: Remove damaged results, too; the next sweep computes them again.

    Returns:
        What was removed.

    Raises:
        StorageError: Something cannot be removed.
    """
    unfinished = [path for name in ("partial", DAMAGED) for path in entries(store.folder / name, UNFINISHED)]
    if damaged:
        unfinished += [store.result_folder(key) for key in damaged_results(store)]
    removed = []
    for path in unfinished:
        key = path.name.split(".")[0]
        with store.claim([key]) as claimed, system_errors(f"remove {path}"):
            if claimed and path.exists():  # another process may have removed it
                shutil.rmtree(path)
                removed.append(path)
    for path in entries(store.folder / "claims", CLAIM):
        with store.claim([path.stem]) as claimed:  # the end of a claim removes its file
            removed += [path] if claimed else []
    return removed


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of the jobs of one model, template and config."""

    model: str
    template: str
    config: str
    n_jobs: int
    n_stored: int
    seconds: float | None
    """Time of the missing jobs on one worker, by the median of such jobs in the store; None without any."""


def estimate_cost(jobs: Sequence[SweepJob], store: RunStore | None) -> list[Cost]:
    """Estimate the cost of the missing jobs, a row for each model, template and config.

    Args:
        jobs: The jobs of a sweep.
        store: Where results are kept; None if there is no store yet.
    """
    timed = {} if store is None else _median_seconds(store)
    costs = []
    for labels, members in by_settings(jobs).items():
        n_stored = 0 if store is None else sum(store.has(job.key) for job in members)
        seconds = timed.get(_kind(members[0].parts))
        missing_seconds = None if seconds is None else seconds * (len(members) - n_stored)
        costs.append(Cost(*labels, len(members), n_stored, missing_seconds))
    return costs


def _kind(parts: Mapping[str, Any]) -> str:
    """Return a digest of what jobs of about the same time share: everything but task and seed."""
    return digest_json({k: v for k, v in parts.items() if k != "task"} | {"config": dict(parts["config"], seed=0)})


def _median_seconds(store: RunStore) -> dict[str, float]:
    seconds: dict[str, list[float]] = {}
    for key in store.stored_keys():
        try:
            stored = store.stored(key)
        except StorageError:
            continue  # a damaged result was not timed; the sweep sets it aside
        seconds.setdefault(_kind(stored.made_from), []).append(stored.seconds)
    return {kind: median(times) for kind, times in seconds.items()}
