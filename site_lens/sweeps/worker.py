"""Worker of a sweep: claims a group of jobs, computes and stores it; smaller groups after an error."""

import gc
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from site_lens.activations.prefix_settings import PREFIX_BUDGET
from site_lens.records.collections import RecordSet
from site_lens.records.errors import StorageError
from site_lens.runs.run import Run
from site_lens.sweeps.events import Event, EventKind, EventLog
from site_lens.sweeps.jobs import JobGroup, SweepJob, group_jobs
from site_lens.sweeps.store import RunStore

LEAST_BUDGET_BYTES = 2**24
"""A single job that runs out of memory with as little as this for prefixes has failed."""

T = TypeVar("T")
C = TypeVar("C", bound=RecordSet[Any])


class Compute(Protocol):
    """Function that computes the jobs of a group together."""

    def prepare(self, job: SweepJob) -> None:
        """Load what all jobs of a group need, such as the model; its time counts for none of them."""

    def __call__(self, group: JobGroup, budget_bytes: int) -> Mapping[str, Run]:
        """Return the result of every job by its key, with at most so many bytes of prefixes at a time."""


@dataclass
class GroupOutcome:
    """Outcome of the jobs of a group."""

    stored: list[str] = field(default_factory=list)
    """Keys that were computed and stored."""
    failed: dict[str, str] = field(default_factory=dict)
    """Errors by key."""
    busy: list[str] = field(default_factory=list)
    """Keys that another process has claimed."""
    events: list[Event] = field(default_factory=list)
    """Events that were written to the log."""
    storage_error: str | None = None
    """Why the store could not be written; what was stored before is whole."""


@dataclass(frozen=True)
class JobError:
    """Error of a computation, without the frames that hold its memory."""

    name: str
    message: str
    trace: str
    out_of_memory: bool


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
            with store.claim(group.keys) as claimed:
                outcome.busy += [key for key in group.keys if key not in claimed]
                work = _GroupWork(store, self.compute, outcome, store.event_log())
                work.run([job for job in group.jobs if job.key in claimed])
        except StorageError as error:
            outcome.storage_error = str(error)
        return outcome

    def checkpoint(self, group: JobGroup) -> Any:
        """Tell submitit what to queue after a preemption: the same group, which finds there what it stored."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, group)


@dataclass(frozen=True)
class _GroupWork:
    store: RunStore
    compute: Compute
    outcome: GroupOutcome
    log: EventLog

    def run(self, jobs: Sequence[SweepJob]) -> None:
        missing = [job for job in jobs if not self._is_stored(job)]
        if not missing:
            return
        error = _attempt(lambda: self.compute.prepare(missing[0]))
        if isinstance(error, JobError):  # without the model every job fails
            self._fail(missing, error)
            return
        for group in group_jobs(missing, tasks_at_once=len(missing)):
            self._compute(group, PREFIX_BUDGET)

    def _compute(self, group: JobGroup, budget_bytes: int, n_halved: int = 0) -> None:
        """Compute and store a group; after an error its halves, with half the memory if that ran out."""
        start = time.perf_counter()
        result = _attempt(lambda: self.compute(group, budget_bytes))
        if not isinstance(result, JobError):
            seconds = (time.perf_counter() - start) / len(group.jobs)
            for job in group.jobs:
                run = result[job.key]
                if n_halved:
                    run = _with_note(run, _memory_note(n_halved, len(group.tasks), budget_bytes))
                self._store(job, run, seconds)
            return
        halves = group.halves()
        if result.out_of_memory and (len(halves) > 1 or budget_bytes > LEAST_BUDGET_BYTES):
            _free_memory()
            budget_bytes, n_halved = max(budget_bytes // 2, LEAST_BUDGET_BYTES), n_halved + 1
            self._write("memory_halved", group.jobs[0], {"n_tasks": len(halves[0].tasks), "budget_bytes": budget_bytes})
        elif len(halves) == 1:
            self._fail(group.jobs, result)
            return
        for half in halves:
            self._compute(half, budget_bytes, n_halved)

    def _is_stored(self, job: SweepJob) -> bool:
        if not self.store.holds(job.key):
            return False
        damage = self.store.damage(job.key)
        if damage is not None:
            aside = self.store.set_aside(job.key).relative_to(self.store.folder)
            self._write("job_set_aside", job, {"damage": damage, "kept": str(aside)})
        return damage is None

    def _store(self, job: SweepJob, run: Run, seconds: float) -> None:
        result = _attempt(lambda: self.store.commit(job.name, job.parts, run, seconds=seconds))
        if isinstance(result, JobError):  # such as a model that is not what it was
            self._fail([job], result)
            return
        self.outcome.stored.append(job.key)
        stored = self.store.stored(job.key)
        detail = {"seconds": seconds, "status": stored.status, "accuracy": stored.accuracy, "notes": list(stored.notes)}
        self._write("job_stored", job, detail if result else detail | {"stored_before": True})

    def _fail(self, jobs: Sequence[SweepJob], error: JobError) -> None:
        for job in jobs:
            self.store.fail(job.name, error.name, error.message, error.trace)
            self.outcome.failed[job.key] = f"{error.name}: {error.message}"
            self._write("job_failed", job, {"error": error.name, "message": error.message})

    def _write(self, kind: EventKind, job: SweepJob, detail: Mapping[str, Any]) -> None:
        self.outcome.events.append(self.log.write(kind, {"key": job.key, "job": str(job.name), **detail}))


def _attempt(step: Callable[[], T]) -> T | JobError:
    """Return the result of a step, or its error: whatever a job raises is recorded, and the sweep goes on."""
    try:
        return step()
    except StorageError:
        raise
    except Exception as error:
        trace = "".join(traceback.format_exception(error))
        return JobError(type(error).__name__, str(error), trace, _is_out_of_memory(error))


def _is_out_of_memory(error: Exception) -> bool:
    torch = sys.modules.get("torch")  # an error of torch has loaded it
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch's allocator on a CPU


def _free_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _memory_note(n_halved: int, n_tasks: int, budget_bytes: int) -> str:
    times = "once" if n_halved == 1 else f"{n_halved} times"
    mebibytes = budget_bytes // 2**20
    return (
        f"memory ran out {times}; computed with {n_tasks} tasks in the batch and {mebibytes} MiB of prefixes at a time"
    )


def _with_note(run: Run, note: str) -> Run:
    """Add a note to every fit and evaluation."""

    def noted(records: C) -> C:
        return type(records)([record.replace(notes=(*record.notes, note)) for record in records.values()])

    controls = {name: noted(fits) for name, fits in run.controls.items()}
    evaluations = None if run.evaluations is None else noted(run.evaluations)
    return replace(run, fits=noted(run.fits), controls=controls, evaluations=evaluations)
