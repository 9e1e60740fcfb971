"""Looking after a run store: what state jobs are in, which results are damaged, what can be cleared away."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from site_lens.records.errors import StorageError
from site_lens.sweeps.atomic_commit import read_result
from site_lens.sweeps.store import RunStore
from site_lens.sweeps.store_mark import CLAIM, UNFINISHED, own_entries
from site_lens.sweeps.store_schema import JobName, SweepPlan

State = Literal["stored", "damaged", "mismatched", "failed", "running", "missing"]


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
    trace: str = ""
    """Traceback of the last failure."""


def job_states(store: RunStore, sweep: str | None = None) -> Iterator[JobState]:
    """Say how every job of a sweep stands, in the order of the sweep."""
    plan = store.plan(sweep)
    for name in plan.jobs:
        yield _state(store, plan, name)


def _state(store: RunStore, plan: SweepPlan, name: JobName) -> JobState:
    if store.holds(name.key):
        damage = store.damage(name.key)
        if damage is not None:
            return JobState(name, "damaged", note=damage)
        kept = store.stored(name.key)
        mismatch = plan.mismatch(name, kept)
        if mismatch is not None:
            return JobState(name, "mismatched", note=mismatch)
        return JobState(name, "stored", kept.status, kept.accuracy, kept.seconds, "; ".join(kept.notes))
    if store.is_claimed(name.key):
        return JobState(name, "running")
    try:
        failure = store.failure(name.key)
    except StorageError as error:
        return JobState(name, "failed", note=f"the note on why is damaged: {error}")
    if failure is not None:
        return JobState(
            name,
            "failed",
            note=f"{failure.error}: {failure.message} (attempts: {failure.n_attempts})",
            trace=failure.trace,
        )
    return JobState(name, "missing")


def damaged_results(store: RunStore) -> dict[str, str]:
    """Read every result whole, and say what those have lost that are damaged, by key."""
    found = {key: store.damage(key, deep=True) for key in store.stored_keys()}
    return {key: damage for key, damage in found.items() if damage is not None}


def unusable_results(store: RunStore) -> dict[str, str]:
    """Say of results that have lost nothing why they cannot be used all the same, by key.

    Such as a record that was put there later: to remove it is not for the store to do.
    """
    found = {}
    for key in store.stored_keys():
        if store.damage(key) is None:
            try:
                read_result(store.result_folder(key), store.stored(key))
            except StorageError as error:
                found[key] = str(error)
    return found


def collect_garbage(store: RunStore, *, damaged: bool = False) -> list[Path]:
    """Remove what dead processes left behind; what a living one works on stays, and so does what others put there.

    Args:
        store: The store.
        damaged: Remove results that are damaged or were set aside, too; the next sweep computes them again.

    Returns:
        What was removed; of a link the link alone.

    Raises:
        StorageError: Something cannot be removed, or a folder of the store is a link.
    """
    claims = own_entries(store.folder / "claims", CLAIM)
    removed = [path for path in claims if (path.is_symlink() or not path.is_file()) and _remove(path)]  # none is held
    leftovers = own_entries(store.folder / "partial", UNFINISHED)
    removed += [path for path in leftovers if _remove_unclaimed(store, path.name.split(".")[0], path)]
    for path in own_entries(store.folder / "claims", CLAIM):
        with store.claim([path.stem]) as mine:  # whoever lets go of a claim removes its file
            removed += [path] if mine else []
    if damaged:
        removed += [path for path in own_entries(store.folder / "damaged", UNFINISHED) if _remove(path)]
        broken = [store.result_folder(key) for key in damaged_results(store)]
        removed += [path for path in broken if _remove_unclaimed(store, path.name, path)]
    return removed


def export_runs(store: RunStore, folder: Path, sweep: str | None = None) -> Iterator[Path]:
    """Save the results of a sweep as runs, FOLDER/model/template/config each, and yield where each is.

    Raises:
        StorageError: A result is damaged; nothing is written then. Or a folder on the way is a link out of `folder`.
    """
    for where, run in store.runs(sweep).items():
        place = folder
        for part in where.split("/"):
            place = place / part
            if place.is_symlink():
                raise StorageError(f"{place} is a link to {place.readlink()}, out of {folder}; remove the link first")
        yield run.save(place)


def _remove_unclaimed(store: RunStore, key: str, path: Path) -> bool:
    with store.claim([key]) as mine:
        return bool(mine) and _remove(path)


def _remove(path: Path) -> bool:
    try:
        if path.is_symlink() or not path.is_dir():
            path.unlink()
        else:
            shutil.rmtree(path)  # which follows no link
    except FileNotFoundError:
        return False  # somebody else did
    except OSError as error:
        raise StorageError(f"cannot remove {path}: {error.strerror}") from error
    return True
