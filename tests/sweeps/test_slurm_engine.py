"""Slurm engine, on submitit's stand-ins for a cluster."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import site_lens as sl
from site_lens.sweeps.jobs import group_jobs, jobs_of
from site_lens.sweeps.slurm_engine import SlurmEngine
from site_lens.sweeps.store import RunStore
from site_lens.sweeps.worker import Worker
from tests.sweeps.faulty import Faulty, small_sweep, tally
from tests.sweeps.scenarios import interrupt, wait_for
from tests.sweeps.test_runner import clean

pytest.importorskip("submitit")

# submitit leaves the log files of jobs that end badly to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def engine(tmp_path: Path) -> SlurmEngine:
    return SlurmEngine(tmp_path / "slurm", cluster="local", parameters={"timeout_min": 5})


def test_every_group_is_a_job_and_all_results_are_stored(tmp_path: Path, diary: Path, engine: SlurmEngine) -> None:
    store = tmp_path / "store"
    sweep = small_sweep(tmp_path, 4, tasks_at_once=2)
    assert sl.run_sweep(sweep, store, worker=Worker(store, Faulty(diary, store)), engine=engine).ok
    assert clean(tally(sweep, store, diary), 4)
    assert len(list((tmp_path / "slurm").glob("*_submitted.pkl"))) == 2


def test_a_preempted_job_is_queued_again_with_the_same_group(tmp_path: Path, diary: Path) -> None:
    store = RunStore.create(tmp_path / "store")
    (group,) = group_jobs(jobs_of(small_sweep(tmp_path, 2)), tasks_at_once=2)
    worker = Worker(store.folder, Faulty(diary, store.folder))
    again: Any = worker.checkpoint(group)
    assert sorted(again.function(*again.args).stored) == sorted(group.keys)
    assert worker(group).stored == []


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let child processes hear SIGINT, by which submitit cancels local jobs; in the background they would ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interruption_cancels_unfinished_jobs(tmp_path: Path, diary: Path, engine: SlurmEngine) -> None:
    store = RunStore.create(tmp_path / "store")
    worker = Worker(store.folder, Faulty(diary, store.folder, {"task_1": "slow"}))
    sweep = small_sweep(tmp_path, 2, tasks_at_once=1)
    interrupt(sweep, worker, engine)
    wait_for(lambda: not any(store.is_claimed(job.key) for job in jobs_of(sweep)))
    assert len(store.stored_keys()) == 1
