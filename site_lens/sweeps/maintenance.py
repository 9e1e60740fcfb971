"""Maintenance of a run store: states of jobs, damaged results, garbage of dead processes, exports."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from site_lens.records.errors import StorageError
from site_lens.sweeps.atomic_commit import read_result
from site_lens.sweeps.store import RunStore
from site_lens.sweeps.store_mark import CLAIM, UNFINISHED, entries
from site_lens.sweeps.store_schema import JobName

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
    """Return why undamaged results cannot be used all the same, such as for a record that was added later, by key."""
    reasons = {}
    for key in store.stored_keys():
        if store.damage(key) is None:
            try:
                read_result(store.result_folder(key), store.stored(key))
            except StorageError as error:
                reasons[key] = str(error)
    return reasons


def collect_garbage(store: RunStore, *, damaged: bool = False) -> list[Path]:
    """Remove what dead processes left behind; files of running jobs and files of others stay.

    Args:
        store: The store.
        damaged: Remove damaged results, too; the next sweep computes them again.

    Returns:
        What was removed; of a symlink the link alone.

    Raises:
        StorageError: Something cannot be removed, or a folder of the store is a symlink.
    """
    claims, partial, aside = (store.folder / name for name in ("claims", "partial", "damaged"))
    removed = [path for path in entries(claims, CLAIM) if (path.is_symlink() or not path.is_file()) and _remove(path)]
    unclaimed = [
        (path.name.split(".")[0], path) for path in (*entries(partial, UNFINISHED), *entries(aside, UNFINISHED))
    ]
    if damaged:
        unclaimed += [(key, store.result_folder(key)) for key in damaged_results(store)]
    for key, path in unclaimed:
        with store.claim([key]) as claimed:
            removed += [path] if claimed and _remove(path) else []
    for path in entries(claims, CLAIM):
        with store.claim([path.stem]) as claimed:  # the end of a claim removes its file
            removed += [path] if claimed else []
    return removed


def export_runs(store: RunStore, folder: Path, sweep: str | None = None) -> Iterator[Path]:
    """Save the results of a sweep as runs, FOLDER/model/template/config each, and yield their folders.

    Raises:
        StorageError: A result is damaged; nothing is written then. Or a folder on the way is a symlink.
    """
    for name, run in store.runs(sweep).items():
        for place in reversed([folder / name, *(folder / name).parents]):
            if place.is_relative_to(folder) and place != folder and place.is_symlink():
                raise StorageError(f"{place} is a symlink to {place.readlink()}; remove it first")
        yield run.save(folder / name)


def _remove(path: Path) -> bool:
    try:
        if path.is_symlink() or not path.is_dir():
            path.unlink()
        else:
            shutil.rmtree(path)  # which follows no symlink
    except FileNotFoundError:
        return False  # another process did
    except OSError as error:
        raise StorageError(f"cannot remove {path}: {error.strerror}") from error
    return True
