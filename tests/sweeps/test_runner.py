"""Driver: what is missing is computed once, whatever happened before."""

from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

import site_lens as sl
from site_lens.sweeps.engines import Completed, InProcess
from site_lens.sweeps.jobs import JobGroup
from site_lens.sweeps.worker import Worker
from tests.sweeps.faulty import Faulty, Tally, small_sweep, tally
from tests.sweeps.scenarios import (
    full_disk,
    killed_driver,
    one_driver_dies_beside_another,
    read_only,
    two_drivers,
)


@pytest.fixture
def worker(tmp_path: Path, diary: Path) -> Worker:
    """A worker without faults."""
    return Worker(tmp_path / "store", Faulty(diary, tmp_path / "store"))


def clean(result: Tally, n_jobs: int) -> bool:
    """Tell whether so many jobs have one whole result each and none was computed after it was stored."""
    return result.holds and result.n_jobs == n_jobs


def test_a_second_call_computes_nothing_and_a_larger_sweep_only_what_is_new(
    tmp_path: Path, diary: Path, worker: Worker
) -> None:
    sweep = small_sweep(tmp_path, 3)
    counts = []
    for each in (sweep, sweep, sweep.replace(seeds=(0, 1))):
        outcome = sl.run_sweep(each, worker.folder, worker=worker)
        counts.append((outcome.n_jobs, outcome.n_found, len(outcome.stored), outcome.n_elsewhere, outcome.ok))
    assert counts == [(3, 0, 3, 0, True), (3, 3, 0, 0, True), (6, 3, 3, 0, True)]
    assert clean(tally(sweep.replace(seeds=(0, 1)), worker.folder, diary), 6)


def test_a_failed_job_does_not_stop_the_sweep_and_is_tried_again_by_the_next(
    tmp_path: Path, diary: Path, worker: Worker
) -> None:
    store, sweep = worker.folder, small_sweep(tmp_path, 6)
    once = Worker(store, Faulty(diary, store, {"task_2": "raise once"}))
    assert sl.run_sweep(sweep, store, worker=once).ok  # the whole group raised once, its halves did not
    (tmp_path / "tasks" / "task_6.csv").write_text((tmp_path / "tasks" / "task_5.csv").read_text())
    outcome = sl.run_sweep(sweep, store, worker=Worker(store, Faulty(diary, store, {"task_6": "raise"})))
    assert list(outcome.failed.values()) == ["ValueError: injected: task_6 cannot be fitted"]
    failure = sl.RunStore(store).failure(next(iter(outcome.failed)))
    assert failure is not None and "tests/sweeps/faulty.py" in failure.trace
    assert not outcome.ok
    assert sl.run_sweep(sweep, store, worker=worker).ok
    assert clean(tally(sweep, store, diary), 7)


def test_jobs_that_another_process_stored_meanwhile_count_as_done(tmp_path: Path, diary: Path, worker: Worker) -> None:
    sweep = small_sweep(tmp_path, 2)

    class Late(InProcess):
        """Is so slow to begin that another driver has done everything."""

        def run(self, worker: Worker, groups: Sequence[JobGroup]) -> Generator[Completed, None, None]:
            sl.run_sweep(sweep, worker.folder, worker=worker)
            yield from super().run(worker, groups)

    outcome = sl.run_sweep(sweep, worker.folder, worker=worker, engine=Late())
    assert (outcome.ok, outcome.stored, outcome.n_elsewhere) == (True, set(), 2)
    assert tally(sweep, worker.folder, diary).n_computed == 2


def test_a_driver_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    assert clean(killed_driver(tmp_path, n_tasks=12, kill_after=[3, 1]), 12)


def test_two_drivers_share_a_store(tmp_path: Path) -> None:
    result = two_drivers(tmp_path, n_tasks=16)
    assert clean(result, 16)
    assert result.n_computed == 16


def test_a_driver_takes_over_from_one_that_was_killed(tmp_path: Path) -> None:
    assert clean(one_driver_dies_beside_another(tmp_path, n_tasks=8), 8)


def test_a_full_or_read_only_disk_spoils_nothing(tmp_path: Path) -> None:
    for name in ("full", "read_only"):
        (tmp_path / name).mkdir()
    try:
        result, n_before, message = full_disk(tmp_path / "full", n_tasks=16, kilobytes=600)
        assert clean(result, 16)
        assert 0 < n_before < 16
        assert "No space left on device" in message or "the disk is full" in message
        result, message = read_only(tmp_path / "read_only", n_tasks=8)
        assert "Read-only file system" in message
        assert clean(result, 8)
    except PermissionError as error:
        pytest.skip(f"file systems cannot be mounted here ({error})")
