"""Sweeps on Ray: models stay warm, and workers that die are replaced."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import site_lens as sl
from site_lens.sweeps.jobs import jobs_of
from site_lens.sweeps.ray_engine import RayEngine
from site_lens.sweeps.worker import Worker
from tests.sweeps.faulty import Faulty, small_sweep, tally
from tests.sweeps.ray_session import ray_session
from tests.sweeps.scenarios import driver, finish, n_results, on_ray, wait_for
from tests.sweeps.test_fit_jobs import SWEEP, assert_same
from tests.sweeps.test_runner import clean

pytest.importorskip("ray")

# Ray's own, in its subprocess handling and on start.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning:ray")


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    """One session for all tests, with more cores than there may be, since the workers do nearly nothing."""
    with ray_session(n_cores=4):
        yield


def pids(diary: Path) -> dict[str, str]:
    """Which process computed each key."""
    lines = [line.split() for line in (diary / "diary.txt").read_text().splitlines()]
    return {line[0]: line[2] for line in lines if line[0] != "fault"}


def test_every_model_stays_in_one_process_for_all_of_its_groups(session: None, tmp_path: Path, diary: Path) -> None:
    store = tmp_path / "store"
    sweep = small_sweep(tmp_path, 6, models=("nobody/a", "nobody/b"), tasks_at_once=1)
    engine = RayEngine()
    assert engine.n_workers() == 1  # of a model: its batches are not cut for cores that wait for others
    assert RayEngine(workers_per_model=3).n_workers() == 3
    assert sl.run_sweep(sweep, store, worker=Worker(store, Faulty(diary, store)), engine=engine).ok
    assert clean(tally(sweep, store, diary), 12)
    by_model: dict[str, set[str]] = {}
    for job in jobs_of(sweep):
        by_model.setdefault(job.model.label, set()).add(pids(diary)[job.key])
    assert [len(found) for found in by_model.values()] == [1, 1]
    assert by_model["a"] != by_model["b"]
    assert str(os.getpid()) not in by_model["a"] | by_model["b"]


def test_workers_that_raise_die_and_run_out_of_memory_cost_no_result(session: None, tmp_path: Path) -> None:
    faults = {"task_1": "raise once", "task_3": "die once", "task_6": "memory once"}
    found = on_ray(tmp_path, RayEngine(workers_per_model=2), n_tasks=8, faults=faults)
    assert clean(found, 8)
    assert found.n_faults == 3


@pytest.mark.slow
def test_a_driver_killed_on_ray_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "diary").mkdir()
    with driver(tmp_path, 12, seconds=0.2, engine="ray", tasks_at_once=2) as process:
        wait_for(lambda: n_results(tmp_path) >= 3)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert clean(finish(tmp_path, 12), 12)


@pytest.mark.slow
def test_five_hundred_jobs_with_faults_end_with_five_hundred_results(session: None, tmp_path: Path) -> None:
    kinds = ("raise once", "die once", "memory once")
    faults = {f"task_{i}": kinds[i % 3] for i in range(0, 50, 4)}
    found = on_ray(tmp_path, RayEngine(workers_per_model=4), n_tasks=50, n_seeds=10, faults=faults)
    assert clean(found, 500)
    assert found.n_faults == len(faults)


@pytest.mark.slow
def test_fits_on_ray_are_those_of_this_process(session: None, tmp_path: Path) -> None:
    assert sl.run_sweep(SWEEP, tmp_path / "ray", engine=RayEngine()).ok
    assert sl.run_sweep(SWEEP, tmp_path / "here").ok
    assert_same(*(sl.RunStore(tmp_path / name).runs()["demo/paper/few"] for name in ("ray", "here")))
