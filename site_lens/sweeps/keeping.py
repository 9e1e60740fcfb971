"""Looking after a run store: what state jobs are in, which results are damaged, what can be cleared away."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from site_lens.core.errors import StorageError
from site_lens.sweeps.entries import JobName
from site_lens.sweeps.store import RunStore

State = Literal["stored", "damaged", "failed", "running", "missing"]


@dataclass(frozen=True, slots=True)
class JobState:
    """How a job of a sweep stands."""

    name: JobName
    state: State
    status: str | None = None
    """How its fit ended."""
    accuracy: float | None = None
    """First-token accuracy of SITE."""
    seconds: float | None = None
    note: str = ""
    """What went wrong, or what a reader should know."""


def job_states(store: RunStore, sweep: str | None = None) -> Iterator[JobState]:
    """Say how every job of a sweep stands, in the order of the sweep."""
    for name in store.plan(sweep).jobs:
        yield _state(store, name)


def _state(store: RunStore, name: JobName) -> JobState:
    if store.result_folder(name.key).is_dir():
        damage = store.damage(name.key)
        if damage is not None:
            return JobState(name, "damaged", note=damage)
        kept = store.stored(name.key)
        return JobState(name, "stored", kept.status, kept.accuracy, kept.seconds, "; ".join(kept.notes))
    if store.is_claimed(name.key):
        return JobState(name, "running")
    try:
        failure = store.failure(name.key)
    except StorageError as error:
        return JobState(name, "failed", note=f"the note on why is damaged: {error}")
    if failure is not None:
        return JobState(name, "failed", note=f"{failure.error}: {failure.message} (attempts: {failure.n_attempts})")
    return JobState(name, "missing")


def damaged_results(store: RunStore) -> dict[str, str]:
    """Read every result whole, and say what is wrong with those that are damaged, by key."""
    found = {key: store.damage(key, deep=True) for key in store.stored_keys()}
    return {key: damage for key, damage in found.items() if damage is not None}


def collect_garbage(store: RunStore, *, damaged: bool = False) -> list[Path]:
    """Remove what dead processes left behind; what a living one works on stays.

    Args:
        store: The store.
        damaged: Remove results that are damaged or were set aside, too; the next sweep computes them again.

    Returns:
        What was removed.

    Raises:
        StorageError: Something cannot be removed.
    """
    leftovers = _inside(store.folder / "partial")
    removed = [path for path in leftovers if _remove_unclaimed(store, path.name.split(".")[0], path)]
    for path in _inside(store.folder / "claims"):
        with store.claim([path.stem]) as mine:  # whoever lets go of a claim removes its file
            removed += [path] if mine else []
    if damaged:
        removed += [path for path in _inside(store.folder / "damaged") if _remove(path)]
        broken = [store.result_folder(key) for key in damaged_results(store)]
        removed += [path for path in broken if _remove_unclaimed(store, path.name, path)]
    return removed


def _inside(folder: Path) -> list[Path]:
    """List what is in a folder; a copy of a store may lack the folders that were empty."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _remove_unclaimed(store: RunStore, key: str, path: Path) -> bool:
    with store.claim([key]) as mine:
        return bool(mine) and _remove(path)


def _remove(path: Path) -> bool:
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return False  # somebody else did
    except OSError as error:
        raise StorageError(f"cannot remove {path}: {error.strerror}") from error
    return True
