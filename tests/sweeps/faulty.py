"""A stand-in for fitting that makes results up in no time, and fails in the ways it is told to.

What it does is written down outside the run store, so that a test can say what was computed, how often, and whether a
result was there already.
"""

import os
import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import site_lens as sl
from site_lens.sweeps.events import read_events
from site_lens.sweeps.jobs import JobGroup, SweepJob, jobs_of
from site_lens.sweeps.maintenance import damaged_results
from tests.fakes import fake_evaluation, fake_fit, fake_identity

GRID = sl.HeadGrid.full(2, 2)
ACCURACIES = {"zero_shot": 0.1, "ten_shot": 0.7, "site": 0.8, "site_hard": 0.8, "site_zero_embedding": 0.3}
CONFIG = {"name": "few", "n_steps": 2, "n_prompts": 2, "n_shots": 2, "eval_every": 1}


def write_tasks(folder: Path, n_tasks: int) -> Path:
    """Write tasks of a few rows, task_0, task_1, ..."""
    folder.mkdir(parents=True)
    for i in range(n_tasks):
        rows = "".join(f"word {j},answer {i} {j}\n" for j in range(8))
        (folder / f"task_{i}.csv").write_text("input,output\n" + rows)
    return folder


def small_sweep(
    folder: Path, n_tasks: int, *, n_seeds: int = 1, models: tuple[str, ...] = ("nobody/a",), **fields: Any
) -> sl.Sweep:
    """Ask for fits of made-up models on made-up tasks."""
    tasks = folder / "tasks"
    if not tasks.exists():
        write_tasks(tasks, n_tasks)
    return sl.Sweep(models=models, tasks=str(tasks), seeds=n_seeds, configs=[CONFIG], **fields)


def made_up(job: SweepJob) -> sl.Run:
    """Make up the result of a job; it depends on the job alone."""
    model = fake_identity(job.model.name, grid=GRID)
    options: dict[str, Any] = {"model": model, "config": job.config.config, "task_digest": job.task.digest}
    fits = sl.SiteFits([fake_fit(job.task.name, job.seed, **options)])
    measured = fake_evaluation(job.task.name, ACCURACIES, n_queries=4, model=model, task_digest=job.task.digest)
    return sl.Run(fits, {"site_zero_embedding": fits}, sl.Evaluations([measured]))


@dataclass(frozen=True)
class Faulty:
    """Makes results up, and fails on some tasks."""

    diary: Path
    """Folder in which every computation leaves a line."""
    store: Path
    """The run store, to tell whether a result was there already."""
    faults: Mapping[str, str] = field(default_factory=dict)
    """Fault by task: `raise` or `die` (each time), `raise once`, `die once`, `memory once`; `memory` while there are
    several tasks in the batch; `slow`, a minute more."""
    seconds: float = 0.0
    """Time that each job takes."""

    def prepare(self, job: SweepJob) -> None:
        """There is no model to load."""

    def __call__(self, group: JobGroup, budget_bytes: int) -> Mapping[str, sl.Run]:
        for task in group.tasks:
            self._fail(self.faults.get(task.name, ""), task.name, len(group.tasks))
        runs = {}
        store = sl.RunStore(self.store)
        for job in group.jobs:
            time.sleep(self.seconds)
            self._note(f"{job.key} {'again' if store.has(job.key) else 'first'} {os.getpid()}")
            runs[job.key] = made_up(job)
        return runs

    def _fail(self, fault: str, task: str, n_tasks: int) -> None:
        if not fault or fault.endswith("once") and not self._first(f"{task}.{fault}"):
            return
        if fault == "memory" and n_tasks == 1:
            return
        self._note(f"fault {fault} {task}")
        if fault == "slow":
            time.sleep(60)
            return
        if fault.startswith("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        if fault.startswith("memory"):
            import torch  # only here: a worker of a soak is up sooner without it

            raise torch.OutOfMemoryError("injected: out of memory")
        raise ValueError(f"injected: {task} cannot be fitted")

    def _first(self, mark: str) -> bool:
        try:
            (self.diary / mark).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _note(self, line: str) -> None:
        handle = os.open(self.diary / "diary.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(handle, f"{line}\n".encode())
        os.close(handle)


@dataclass(frozen=True)
class Tally:
    """What a store holds after a sweep, held against what the diary says was done."""

    n_jobs: int
    n_results: int
    n_lost: int
    """Jobs announced as stored, by the event log, that have no result now."""
    n_again: int
    """Computations of a job that was stored already."""
    n_corrupt: int
    """Results whose digests do not hold or that do not load."""
    n_computed: int
    """Computations, those included whose process died before it stored them."""
    n_faults: int

    @property
    def holds(self) -> bool:
        """Whether every job has one whole result, none was lost, and none computed after it was stored."""
        return self.n_results == self.n_jobs and not (self.n_lost or self.n_again or self.n_corrupt)


def tally(sweep: sl.Sweep, store: Path, diary: Path) -> Tally:
    """Count, reading every result whole."""
    opened = sl.RunStore(store)
    keys = [job.key for job in jobs_of(sweep)]
    results = set(opened.stored_keys())
    damaged = damaged_results(opened)
    for key in results - set(damaged):
        opened.load(key)
    announced = {event.detail["key"] for event in read_events(store / "events")[0] if event.kind == "job_stored"}
    path = diary / "diary.txt"
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    kinds = Counter("fault" if line[0] == "fault" else line[1] for line in lines)
    return Tally(
        n_jobs=len(keys),
        n_results=len(results & set(keys)),
        n_lost=len(announced - results),
        n_again=kinds["again"],
        n_corrupt=len(damaged),
        n_computed=kinds["first"] + kinds["again"],
        n_faults=kinds["fault"],
    )
