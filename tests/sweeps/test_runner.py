"""Driver: what is missing is computed once, whatever happened before."""

import logging
import random
import time
from collections.abc import Generator, Sequence
from datetime import datetime, tzinfo
from pathlib import Path

import pytest

import site_lens as sl
from site_lens.sweeps import events as events_module
from site_lens.sweeps.engines import Completed, InProcess
from site_lens.sweeps.events import Event, read_events
from site_lens.sweeps.jobs import JobGroup
from site_lens.sweeps.store import RunStore
from site_lens.sweeps.worker import Worker
from tests.sweeps.faulty import Faulty, Tally, small_sweep, tally
from tests.sweeps.scenarios import (
    full_disk,
    harmed_files,
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
    assert not outcome.ok
    assert sl.run_sweep(sweep, store, worker=worker).ok
    assert clean(tally(sweep, store, diary), 7)


def test_every_event_reaches_log_logger_and_watchers_and_nothing_is_printed(
    tmp_path: Path, diary: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    watched: list[Event] = []

    class Watching:
        def on_event(self, event: Event) -> None:
            watched.append(event)

    store = tmp_path / "store"
    worker = Worker(store, Faulty(diary, store, {"task_1": "raise"}))
    with caplog.at_level(logging.INFO, logger="site_lens"):
        sl.run_sweep(small_sweep(tmp_path, 2), store, worker=worker, watchers=[Watching()])
    kinds = ["sweep_started", "job_stored", "job_failed", "sweep_ended"]
    assert [event.kind for event in watched] == kinds == [record.message.split()[0] for record in caplog.records]
    logged, n_unreadable = read_events(store / "events")
    assert sorted(event.digest for event in logged) == sorted(event.digest for event in watched)
    assert (n_unreadable, watched[-1].detail) == (0, {"sweep": "sweep", "n_stored": 1, "n_failed": 1})
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("site_lens").handlers == []


def test_a_progress_bar_is_shown_on_request(tmp_path: Path, worker: Worker, capfd: pytest.CaptureFixture[str]) -> None:
    sl.run_sweep(small_sweep(tmp_path, 4), worker.folder, worker=worker, progress=True)
    printed = capfd.readouterr().err
    assert "sweep: " in printed and ("job/s" in printed or "s/job" in printed)


def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, diary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "store"
    stream, true_time = random.Random(0), time.time

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Jumping":
            return cls.fromtimestamp(true_time() + stream.uniform(-1e8, 1e8), tz)

    monkeypatch.setattr(time, "time", lambda: true_time() + stream.uniform(-1e8, 1e8))
    monkeypatch.setattr(events_module, "datetime", Jumping)
    sweep = small_sweep(tmp_path, 6, tasks_at_once=2)
    worker = Worker(store, Faulty(diary, store, {"task_1": "raise once", "task_3": "memory once"}))
    assert sl.run_sweep(sweep, store, worker=worker).ok
    assert clean(tally(sweep, store, diary), 6)


def test_a_store_that_cannot_be_made_or_read_back_ends_the_sweep(
    tmp_path: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(sl.StorageError):
        sl.run_sweep(small_sweep(tmp_path, 1), tmp_path / "file", worker=worker)
    monkeypatch.setattr(RunStore, "has", lambda self, key: False)
    with pytest.raises(sl.StorageError, match="check the disk"):
        sl.run_sweep(small_sweep(tmp_path, 1), worker.folder, worker=worker)


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
    assert clean(killed_driver(tmp_path, n_tasks=16, kill_after=[3, 1, 4]), 16)


def test_two_drivers_share_a_store(tmp_path: Path) -> None:
    result = two_drivers(tmp_path, n_tasks=16)
    assert clean(result, 16)
    assert result.n_computed == 16


def test_a_driver_takes_over_from_one_that_was_killed(tmp_path: Path) -> None:
    assert clean(one_driver_dies_beside_another(tmp_path, n_tasks=8), 8)


def test_a_flipped_byte_is_found_and_computed_again(tmp_path: Path) -> None:
    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)

    result = harmed_files(tmp_path, flip, n_tasks=8, every=3)
    assert (result.n_results, result.n_corrupt, result.n_computed) == (8, 0, 8 + 3)


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
