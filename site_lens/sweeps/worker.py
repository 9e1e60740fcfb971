"""What happens to a group of jobs wherever it lands: claim, compute, store; smaller pieces where that goes wrong."""

import gc
import sys
import time
import traceback
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from site_lens.activations.prefix_settings import PREFIX_BUDGET
from site_lens.methods.evaluation import Evaluations
from site_lens.records.errors import StorageError
from site_lens.runs.run import Run
from site_lens.site.fit import SiteFits
from site_lens.sweeps.events import Event, EventKind, EventLog
from site_lens.sweeps.jobs import JobGroup, SweepJob, group_jobs
from site_lens.sweeps.store import RunStore

LEAST_BUDGET_BYTES = 2**24
"""A single job that runs out of memory with as little as this for prefixes has failed."""


class Compute(Protocol):
    """Computes the jobs of a group together."""

    def prepare(self, job: SweepJob) -> None:
        """Make ready what all jobs of a group need, such as the model; its time counts for none of them."""

    def __call__(self, group: JobGroup, budget_bytes: int) -> Mapping[str, Run]:
        """Return the result of every job by its key, holding so many bytes of prefixes at a time."""


@dataclass
class GroupOutcome:
    """What became of the jobs of a group."""

    stored: list[str] = field(default_factory=list)
    """Keys of what was computed and stored."""
    failed: dict[str, str] = field(default_factory=dict)
    """Errors by key."""
    busy: list[str] = field(default_factory=list)
    """Keys that another process holds."""
    events: list[Event] = field(default_factory=list)
    """What was written to the event log on the way."""
    storage_error: str | None = None
    """Why the store could not be written; nothing that was not stored before is lost but its time."""


@dataclass(frozen=True)
class _Piece:
    """Some jobs to compute together."""

    group: JobGroup
    budget_bytes: int
    n_halved: int = 0
    """How often memory had run out before."""

    @property
    def notes(self) -> tuple[str, ...]:
        if not self.n_halved:
            return ()
        times = "once" if self.n_halved == 1 else f"{self.n_halved} times"
        return (
            f"memory ran out {times}; computed with {len(self.group.tasks)} tasks in the batch and "
            f"{self.budget_bytes / 2**20:.0f} MiB of prefixes at a time",
        )

    def smaller(self) -> "list[_Piece]":
        """Halve the batch and the bytes of prefixes; nothing when neither can be."""
        halves = self.group.halves()
        if len(halves) == 1 and self.budget_bytes <= LEAST_BUDGET_BYTES:
            return []
        budget = max(self.budget_bytes // 2, LEAST_BUDGET_BYTES)
        return [_Piece(half, budget, self.n_halved + 1) for half in halves]


@dataclass(frozen=True)
class Worker:
    """Works on groups of jobs; travels to other processes, and keeps what its `compute` keeps between groups."""

    folder: Path
    """The run store, which every process must see."""
    compute: Compute

    def __call__(self, group: JobGroup) -> GroupOutcome:
        """Compute what is missing of a group and store it; an error of one job leaves the others alone."""
        outcome = GroupOutcome()
        try:
            store = RunStore(self.folder)
            with store.claim(group.keys) as mine:
                outcome.busy += [key for key in group.keys if key not in mine]
                _Work(store, self.compute, outcome).on([job for job in group.jobs if job.key in mine])
        except StorageError as error:
            outcome.storage_error = str(error)
        return outcome


class _Work:
    """One worker at one group."""

    def __init__(self, store: RunStore, compute: Compute, outcome: GroupOutcome) -> None:
        self._store, self._compute, self._outcome = store, compute, outcome
        self._log: EventLog = store.event_log()

    def on(self, jobs: Sequence[SweepJob]) -> None:
        missing = [job for job in jobs if not self._is_stored(job)]
        if not missing or not self._is_prepared(missing):
            return
        groups = group_jobs(missing, tasks_at_once=max(1, len(missing)))
        waiting = deque(_Piece(group, PREFIX_BUDGET) for group in groups)
        while waiting:
            waiting.extendleft(reversed(self._try(waiting.popleft())))

    def _is_prepared(self, jobs: Sequence[SweepJob]) -> bool:
        """Load the model; where that fails all jobs have failed, and none is tried by itself."""
        try:
            self._compute.prepare(jobs[0])
        except StorageError:
            raise
        except Exception as error:  # as in `_try`
            for job in jobs:
                self._fail(job, error)
            return False
        return True

    def _is_stored(self, job: SweepJob) -> bool:
        if not self._store.holds(job.key):
            return False
        damage = self._store.damage(job.key)
        if damage is None:
            return True
        aside = self._store.set_aside(job.key)
        self._write("job_set_aside", job, {"damage": damage, "kept": str(aside.relative_to(self._store.folder))})
        return False

    def _try(self, piece: _Piece) -> list[_Piece]:
        """Compute a piece and store its results; return the pieces to try instead where that did not go."""
        start = time.perf_counter()
        try:
            runs = self._compute(piece.group, piece.budget_bytes)
        except StorageError:
            raise
        except Exception as error:  # whatever a job raises is kept with it, and the sweep goes on
            instead = self._after(error, piece)
        else:
            seconds = (time.perf_counter() - start) / len(piece.group.jobs)
            for job in piece.group.jobs:
                self._keep(job, _noted(runs[job.key], piece.notes), seconds)
            return []
        if any(smaller.n_halved > piece.n_halved for smaller in instead):
            _free_memory()  # only here, when the error and the frames that it holds are gone
        return instead

    def _keep(self, job: SweepJob, run: Run, seconds: float) -> None:
        try:
            stored = self._store.commit(job.name, job.parts, run, seconds=seconds)
        except StorageError:
            raise
        except Exception as error:  # such as a model that is not what it was
            self._fail(job, error)
            return
        self._outcome.stored.append(job.key)
        kept = self._store.stored(job.key)
        detail = {"seconds": seconds, "status": kept.status, "accuracy": kept.accuracy, "notes": list(kept.notes)}
        self._write("job_stored", job, detail | ({} if stored else {"stored_before": True}))

    def _after(self, error: Exception, piece: _Piece) -> list[_Piece]:
        """Decide what follows an error: smaller pieces while they may help, else the job has failed."""
        if _is_out_of_memory(error):
            smaller = piece.smaller()
            if smaller:
                sizes = {"n_tasks": len(smaller[0].group.tasks), "budget_bytes": smaller[0].budget_bytes}
                self._write("memory_halved", piece.group.jobs[0], sizes)
                return smaller
        elif len(piece.group.jobs) > 1:  # whose fault is it? try halves
            return [replace(piece, group=half) for half in piece.group.halves()]
        for job in piece.group.jobs:
            self._fail(job, error)
        return []

    def _fail(self, job: SweepJob, error: Exception) -> None:
        name, message = type(error).__name__, str(error)
        trace = "".join(traceback.format_exception(error))
        self._store.fail(job.name, name, message, trace)
        self._outcome.failed[job.key] = f"{name}: {message}"
        self._write("job_failed", job, {"error": name, "message": message})

    def _write(self, kind: EventKind, job: SweepJob, detail: Mapping[str, Any]) -> None:
        named = {"key": job.key, "job": str(job.name)}
        self._outcome.events.append(self._log.write(kind, named | dict(detail)))


def _noted(run: Run, notes: tuple[str, ...]) -> Run:
    """Add notes to every fit and evaluation."""
    if not notes:
        return run
    return replace(
        run,
        fits=SiteFits([fit.replace(notes=fit.notes + notes) for fit in run.fits.values()]),
        controls={
            name: SiteFits([fit.replace(notes=fit.notes + notes) for fit in fits.values()])
            for name, fits in run.controls.items()
        },
        evaluations=None
        if run.evaluations is None
        else Evaluations([one.replace(notes=one.notes + notes) for one in run.evaluations.values()]),
    )


def _is_out_of_memory(error: Exception) -> bool:
    torch = sys.modules.get("torch")  # what was not loaded did not raise
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch's allocator on a CPU


def _free_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
