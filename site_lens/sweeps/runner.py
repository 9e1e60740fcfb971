"""Driver of a sweep: missing jobs go to an engine, round after round, until every job is stored or has failed."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

from site_lens.records.errors import StorageError
from site_lens.records.progress import progress_bar
from site_lens.sweeps.engines import Completed, Engine, InProcess
from site_lens.sweeps.events import Event, EventKind, Watcher
from site_lens.sweeps.jobs import JobGroup, SweepJob, group_jobs, jobs_of
from site_lens.sweeps.schema import Sweep
from site_lens.sweeps.store import RunStore
from site_lens.sweeps.store_schema import SweepPlan
from site_lens.sweeps.worker import Worker

WAIT_SECONDS = 0.5
"""Pause before asking again for jobs that another process is computing."""

DIED = "WorkerDied"
"""Error of a job that killed its worker even when it ran alone."""


@dataclass
class SweepOutcome:
    """Outcome of the jobs of a sweep."""

    n_jobs: int
    n_found: int
    """Jobs that were stored before."""
    stored: set[str] = field(default_factory=set)
    """Keys that this call computed."""
    failed: dict[str, str] = field(default_factory=dict)
    """Errors by key."""

    @property
    def n_elsewhere(self) -> int:
        """Jobs that another process computed meanwhile."""
        return self.n_jobs - self.n_found - len(self.stored) - len(self.failed)

    @property
    def ok(self) -> bool:
        """Whether every job is stored."""
        return not self.failed


def run_sweep(
    sweep: Sweep,
    folder: str | Path,
    *,
    engine: Engine | None = None,
    worker: Worker | None = None,
    watchers: Sequence[Watcher] = (),
    progress: bool | None = None,
) -> SweepOutcome:
    """Compute what a run store lacks of a sweep.

    Several calls, on several machines, may work on one store: each result is computed by one of them, and all return
    when every job is stored or has failed. A job that failed is tried again by the next call.

    Args:
        sweep: What to compute.
        folder: The run store; made if it is not there.
        engine: Where to compute; this process when None.
        worker: What computes; SITE, its controls and the evaluation when None.
        watchers: Who is told of every event.
        progress: Show a progress bar; on a terminal and in notebooks only when None.

    Returns:
        Which jobs were stored before, were computed now, and failed.

    Raises:
        InputError: A task is unknown.
        StorageError: The store cannot be written; what was stored before is whole.
    """
    jobs = jobs_of(sweep)
    store = RunStore.create(folder)
    store.write_plan(SweepPlan(sweep=sweep.name, jobs=tuple(job.name for job in jobs)))
    if worker is None:
        from site_lens.sweeps.fit_jobs import FitJobs  # which loads torch

        worker = Worker(Path(folder).resolve(), FitJobs(progress=False if engine is not None else progress))
    driver = _Driver(sweep, jobs, store, engine or InProcess(), watchers)
    with progress_bar(len(jobs), "sweep", unit="job", progress=progress) as bar:
        driver.run(worker, bar)
    return driver.outcome


class _Driver:
    def __init__(
        self, sweep: Sweep, jobs: Sequence[SweepJob], store: RunStore, engine: Engine, watchers: Sequence[Watcher]
    ) -> None:
        self._sweep, self._jobs, self._store, self._engine, self._watchers = sweep, jobs, store, engine, watchers
        self._log = store.event_log()
        self._suspects: set[str] = set()
        """Jobs of groups whose worker died: which of them kills it is found by running each alone."""
        self.outcome = SweepOutcome(len(jobs), sum(store.has(job.key) for job in jobs))

    def run(self, worker: Worker, bar: Any) -> None:
        bar.initial = bar.n = self.outcome.n_found  # stored jobs took no time, and stay out of the rate
        bar.refresh()
        self._write("sweep_started", {"n_jobs": len(self._jobs), "n_stored": self.outcome.n_found})
        while missing := self._missing():
            bar.update(len(self._jobs) - len(missing) - bar.n)  # jobs of other processes count, too
            free = [job for job in missing if not self._store.is_claimed(job.key)]
            if free:
                self._round(worker, free, bar)
            else:  # another process computes all of them: wait for it, or for its death
                time.sleep(WAIT_SECONDS)
        counts = {"n_stored": len(self.outcome.stored), "n_failed": len(self.outcome.failed)}
        self._write("sweep_ended", counts)

    def _missing(self) -> list[SweepJob]:
        return [job for job in self._jobs if job.key not in self.outcome.failed and not self._store.has(job.key)]

    def _round(self, worker: Worker, missing: Sequence[SweepJob], bar: Any) -> None:
        """Run the missing jobs on the engine, and take in their outcomes."""
        busy, n_suspects = False, len(self._suspects)
        with closing(self._engine.run(worker, list(self._groups(missing)))) as finished:  # an interruption cancels it
            for completed in finished:
                n_before = len(self.outcome.stored) + len(self.outcome.failed)
                busy |= self._take(completed)
                bar.update(len(self.outcome.stored) + len(self.outcome.failed) - n_before)
        if {job.key for job in missing} <= {job.key for job in self._missing()}:
            if busy:
                time.sleep(WAIT_SECONDS)
            elif len(self._suspects) == n_suspects:
                raise StorageError(f"results written to {self._store.folder} cannot be read back; check the disk")

    def _groups(self, missing: Sequence[SweepJob]) -> Iterator[JobGroup]:
        n_tasks = len({job.task.name for job in missing})
        at_once = max(1, min(self._sweep.tasks_at_once, ceil(n_tasks / (self._engine.n_workers() or 1))))
        yield from group_jobs([job for job in missing if job.key not in self._suspects], tasks_at_once=at_once)
        yield from (JobGroup((job,)) for job in missing if job.key in self._suspects)

    def _take(self, completed: Completed) -> bool:
        """Take in the outcome of a group; return whether another process has claimed some of its jobs."""
        outcome = completed.outcome
        if outcome is None:
            self._take_death(completed)
            return False
        self.outcome.stored |= set(outcome.stored)
        self.outcome.failed |= outcome.failed
        for event in outcome.events:
            self._tell(event)
        if outcome.storage_error is not None:
            raise StorageError(outcome.storage_error)
        return bool(outcome.busy)

    def _take_death(self, completed: Completed) -> None:
        """Take in the death of a worker: a job that ran alone has failed, several are run one by one from now on."""
        missing = [job for job in completed.group.jobs if not self._store.has(job.key)]
        self.outcome.stored |= set(completed.group.keys) - {job.key for job in missing}
        self._write("worker_died", {"reason": completed.reason, "keys": [job.key for job in missing]})
        if len(completed.group.jobs) > 1:
            self._suspects |= {job.key for job in missing}
            return
        for job in missing:
            self._store.fail(job.name, DIED, completed.reason)
            self.outcome.failed[job.key] = f"{DIED}: {completed.reason}"

    def _write(self, kind: EventKind, detail: dict[str, Any]) -> None:
        self._tell(self._log.write(kind, {"sweep": self._sweep.name} | detail))

    def _tell(self, event: Event) -> None:
        for watcher in self._watchers:
            watcher.on_event(event)
