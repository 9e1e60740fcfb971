"""Sweeps through submitit, on its stand-ins for a cluster."""

import signal
import time
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
from tests.sweeps.test_runner import clean

pytest.importorskip("submitit")

# submitit leaves the log files of jobs that end badly to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

MINUTES = {"timeout_min": 5}


def test_every_group_is_a_job_and_all_results_are_stored(tmp_path: Path, diary: Path) -> None:
    store = tmp_path / "store"
    sweep = small_sweep(tmp_path, 4, tasks_at_once=2)
    engine = SlurmEngine(tmp_path / "slurm", cluster="local", parameters=MINUTES)
    assert engine.resources().n_workers is None
    assert sl.run_sweep(sweep, store, worker=Worker(store, Faulty(diary, store)), engine=engine).ok
    assert clean(tally(sweep, store, diary), 4)
    assert len(list((tmp_path / "slurm").glob("*_submitted.pkl"))) == 2


@pytest.mark.slow
def test_a_job_that_is_killed_fails_and_the_others_are_stored(tmp_path: Path, diary: Path) -> None:
    store = tmp_path / "store"
    sweep = small_sweep(tmp_path, 2, tasks_at_once=1)
    engine = SlurmEngine(tmp_path / "slurm", cluster="local", parameters=MINUTES)
    worker = Worker(store, Faulty(diary, store, {"task_1": "die"}))
    found = sl.run_sweep(sweep, store, worker=worker, engine=engine)
    assert len(found.stored) == 1
    (message,) = found.failed.values()
    assert message.startswith("WorkerDied: ")


def test_a_preempted_job_can_be_queued_again_with_the_same_group(tmp_path: Path, diary: Path) -> None:
    from submitit.core.utils import DelayedSubmission

    from site_lens.sweeps.slurm_engine import Requeued

    store = RunStore.create(tmp_path / "store")
    (group,) = group_jobs(jobs_of(small_sweep(tmp_path, 2)), tasks_at_once=2)
    requeued = Requeued(Worker(store.folder, Faulty(diary, store.folder)))
    again: Any = requeued.checkpoint(group)
    assert isinstance(again, DelayedSubmission)
    assert sorted(again.function(*again.args).stored) == sorted(group.keys)
    assert requeued(group).stored == []


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let processes that are started hear SIGINT, by which submitit cancels local jobs.

    Tests that a shell runs in the background ignore it, and what they start would, too.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_cancelled_jobs_end(tmp_path: Path, diary: Path) -> None:
    store = RunStore.create(tmp_path / "store")
    engine = SlurmEngine(tmp_path / "slurm", cluster="local", parameters=MINUTES)
    groups = list(group_jobs(jobs_of(small_sweep(tmp_path, 1)), tasks_at_once=1))
    engine.submit(Worker(store.folder, Faulty(diary, store.folder, seconds=60)), groups)
    ((job, _),) = engine._running
    deadline = time.monotonic() + 60
    while (
        not store.is_claimed(groups[0].keys[0]) and time.monotonic() < deadline
    ):  # a process that starts hears nothing
        time.sleep(0.05)
    engine.cancel()
    while not job.done() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert job.done()
    assert list(engine.as_completed()) == []
    assert store.stored_keys() == []


def test_without_a_cluster_the_error_says_so(tmp_path: Path) -> None:
    with pytest.raises(sl.InputError, match="cannot submit to slurm"):
        SlurmEngine(tmp_path, cluster="slurm")
    with pytest.raises(sl.InputError, match="cannot submit to local"):
        SlurmEngine(tmp_path, cluster="local", parameters={"time_limit": 3})
