"""The driver: what is missing goes to an engine, round after round, until every job is stored or has failed."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

from site_lens.records.errors import StorageError
from site_lens.records.progress import progress_bar
from site_lens.records.type_checks import checked_methods
from site_lens.sweeps.engines import Completed, Engine, InProcess
from site_lens.sweeps.events import EventKind, Watcher
from site_lens.sweeps.jobs import JobGroup, SweepJob, group_jobs, jobs_of, plan_of
from site_lens.sweeps.schema import Sweep
from site_lens.sweeps.store import RunStore
from site_lens.sweeps.worker import Worker

WAIT_SECONDS = 0.5
"""Pause before asking again for jobs that another process is computing."""

DIED = "WorkerDied"
"""What a failure is called whose worker the system killed even when it had nothing else to do."""


@checked_methods
@dataclass
class SweepOutcome:
    """What became of the jobs of a sweep."""

    n_jobs: int
    n_found: int
    """Jobs that were stored before."""
    stored: set[str] = field(default_factory=set)
    """Keys of what this call computed."""
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
        What was found, computed, and what failed.

    Raises:
        InputError: A task is unknown.
        StorageError: The store cannot be written; what was stored before is whole.
    """
    jobs = jobs_of(sweep)
    store = RunStore.create(folder)
    store.write_plan(plan_of(sweep.name, jobs))
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
        bar.initial = bar.n = self.outcome.n_found  # what was found took no time, and stays out of the rate
        bar.refresh()
        self._write("sweep_started", {"n_jobs": len(self._jobs), "n_stored": self.outcome.n_found})
        try:
            while missing := self._missing():
                bar.update(len(self._jobs) - len(missing) - bar.n)  # what was done elsewhere counts, too
                free = [job for job in missing if not self._store.is_claimed(job.key)]
                if free:
                    self._round(worker, free, bar)
                else:  # all are being computed elsewhere: wait for that, or for the death of whoever does it
                    time.sleep(WAIT_SECONDS)
        except BaseException:  # an interruption, too: nothing is to run on unwatched
            self._engine.cancel()
            raise
        counts = {"n_stored": len(self.outcome.stored), "n_failed": len(self.outcome.failed)}
        self._write("sweep_ended", counts)

    def _missing(self) -> list[SweepJob]:
        return [job for job in self._jobs if job.key not in self.outcome.failed and not self._store.has(job.key)]

    def _round(self, worker: Worker, missing: Sequence[SweepJob], bar: Any) -> None:
        """Send off what is missing, and take in what comes back."""
        busy, n_suspects = False, len(self._suspects)
        self._engine.submit(worker, list(self._groups(missing)))
        for done in self._engine.as_completed():
            n_before = len(self.outcome.stored) + len(self.outcome.failed)
            busy |= self._take(done)
            bar.update(len(self.outcome.stored) + len(self.outcome.failed) - n_before)
        waits = {job.key for job in missing} <= {job.key for job in self._missing()}
        if waits and busy:
            time.sleep(WAIT_SECONDS)
        elif waits and len(self._suspects) == n_suspects:
            raise StorageError(f"results written to {self._store.folder} cannot be read back; check the disk")

    def _groups(self, missing: Sequence[SweepJob]) -> Iterator[JobGroup]:
        n_workers = self._engine.resources().n_workers or 1
        n_tasks = len({job.task.name for job in missing})
        at_once = max(1, min(self._sweep.tasks_at_once, ceil(n_tasks / n_workers)))
        yield from group_jobs([job for job in missing if job.key not in self._suspects], tasks_at_once=at_once)
        for job in missing:
            if job.key in self._suspects:
                yield JobGroup.of([job])

    def _take(self, done: Completed) -> bool:
        """Take in what became of a group; return whether another process holds some of its jobs."""
        if done.outcome is None:
            self._bury(done)
            return False
        self.outcome.stored |= set(done.outcome.stored)
        self.outcome.failed |= done.outcome.failed
        for event in done.outcome.events:
            for watcher in self._watchers:
                watcher.on_event(event)
        if done.outcome.storage_error is not None:
            raise StorageError(done.outcome.storage_error)
        return bool(done.outcome.busy)

    def _bury(self, done: Completed) -> None:
        """A worker died: what it stored counts, a job that was alone has failed, others are suspects from now on."""
        missing = [job for job in done.group.jobs if not self._store.has(job.key)]
        self.outcome.stored |= set(done.group.keys) - {job.key for job in missing}
        self._write("worker_died", {"reason": done.reason, "keys": [job.key for job in missing]})
        if len(done.group.jobs) > 1:
            self._suspects |= {job.key for job in missing}
            return
        for job in missing:
            self._store.fail(job.name, DIED, done.reason)
            self.outcome.failed[job.key] = f"{DIED}: {done.reason}"

    def _write(self, kind: EventKind, detail: dict[str, Any]) -> None:
        event = self._log.write(kind, {"sweep": self._sweep.name} | detail)
        for watcher in self._watchers:
            watcher.on_event(event)
