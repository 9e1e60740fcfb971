"""Sweeps in one process: what is missing is computed, whatever happened before."""

import logging
import random
import time
from collections.abc import Iterator
from datetime import datetime, tzinfo
from pathlib import Path

import pytest

import site_lens as sl
from site_lens.sweeps import events as events_module
from site_lens.sweeps.engines import Completed, InProcess
from site_lens.sweeps.events import Event, read_events
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


def clean(found: Tally, n_jobs: int) -> bool:
    """Say whether so many jobs have one whole result each and none was computed after it was stored."""
    return found.holds and found.n_jobs == n_jobs


class Watching:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)


def test_a_second_call_computes_nothing_and_a_larger_sweep_only_what_is_new(tmp_path: Path, diary: Path) -> None:
    store = tmp_path / "store"
    worker = Worker(store, Faulty(diary, store))
    sweep = small_sweep(tmp_path, 3)
    first = sl.run_sweep(sweep, store, worker=worker)
    assert (first.n_jobs, first.n_found, len(first.stored), first.ok) == (3, 0, 3, True)
    again = sl.run_sweep(sweep, store, worker=worker)
    assert (again.n_found, again.stored) == (3, set())
    more = sl.run_sweep(sweep.replace(seeds=(0, 1)), store, worker=worker)
    assert (more.n_jobs, more.n_found, len(more.stored), more.n_elsewhere) == (6, 3, 3, 0)
    assert clean(tally(sweep.replace(seeds=(0, 1)), store, diary), 6)


def test_a_failed_job_does_not_stop_the_sweep_and_is_tried_again_by_the_next(tmp_path: Path, diary: Path) -> None:
    store = tmp_path / "store"
    sweep = small_sweep(tmp_path, 6)
    found = sl.run_sweep(sweep, store, worker=Worker(store, Faulty(diary, store, {"task_2": "raise once"})))
    # The whole group raised once, its halves did not.
    assert found.ok
    worker = Worker(store, Faulty(diary, store, {"task_6": "raise"}))
    (tmp_path / "tasks" / "task_6.csv").write_text((tmp_path / "tasks" / "task_5.csv").read_text())
    found = sl.run_sweep(sweep, store, worker=worker)
    assert list(found.failed.values()) == ["ValueError: injected: task_6 cannot be fitted"]
    assert not found.ok
    assert sl.run_sweep(sweep, store, worker=Worker(store, Faulty(diary, store))).ok
    assert clean(tally(sweep, store, diary), 7)


def test_every_event_reaches_the_log_and_the_watchers(tmp_path: Path, diary: Path) -> None:
    store = tmp_path / "store"
    watching = Watching()
    worker = Worker(store, Faulty(diary, store, {"task_1": "raise"}))
    sl.run_sweep(small_sweep(tmp_path, 2), store, worker=worker, watchers=[watching])
    assert [event.kind for event in watching.events] == ["sweep_started", "job_stored", "job_failed", "sweep_ended"]
    logged, n_unreadable = read_events(store / "events")
    assert sorted(event.digest for event in logged) == sorted(event.digest for event in watching.events)
    assert n_unreadable == 0
    assert watching.events[-1].detail == {"sweep": "sweep", "n_stored": 1, "n_failed": 1}


def test_nothing_is_printed_and_logging_is_left_to_the_user(
    tmp_path: Path, diary: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    store = tmp_path / "store"
    handlers = list(logging.getLogger().handlers), list(logging.getLogger("site_lens").handlers)
    with caplog.at_level(logging.INFO, logger="site_lens"):
        sl.run_sweep(small_sweep(tmp_path, 1), store, worker=Worker(store, Faulty(diary, store)))
    assert capfd.readouterr() == ("", "")
    assert (list(logging.getLogger().handlers), list(logging.getLogger("site_lens").handlers))[1] == handlers[1] == []
    assert [record.message.split()[0] for record in caplog.records] == ["sweep_started", "job_stored", "sweep_ended"]


def test_a_progress_bar_shows_rate_and_time_left_when_it_is_asked_for(
    tmp_path: Path, diary: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    worker = Worker(store, Faulty(diary, store))
    sl.run_sweep(small_sweep(tmp_path, 4), store, worker=worker, progress=True)
    shown = capfd.readouterr().err
    assert "sweep: " in shown
    assert "job/s" in shown or "s/job" in shown
    assert "4/4" in shown or "4 [" in shown or "100%" in shown


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
    logged, _ = read_events(store / "events")
    for source in {event.source for event in logged}:  # shown in the order in which they were written, whatever it says
        path = store / "events" / f"{source}.jsonl"
        assert [event.detail for event in logged if event.source == source] == [
            event.detail for event in (Event.model_validate_json(line) for line in path.read_text().splitlines())
        ]


def test_a_store_that_does_not_keep_what_is_written_ends_the_sweep(
    tmp_path: Path, diary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    monkeypatch.setattr(RunStore, "has", lambda self, key: False)
    worker = Worker(store, Faulty(diary, store))
    engine = InProcess()
    with pytest.raises(sl.StorageError, match="cannot be read back; check the disk"):
        sl.run_sweep(small_sweep(tmp_path, 1), store, worker=worker, engine=engine)


def test_a_store_that_cannot_be_made_is_found_out_before_anything_is_computed(tmp_path: Path, diary: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(sl.StorageError, match="cannot write to"):
        sl.run_sweep(small_sweep(tmp_path, 1), tmp_path / "store", worker=Worker(tmp_path, Faulty(diary, tmp_path)))


def test_a_driver_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    assert clean(killed_driver(tmp_path, n_tasks=16, kill_after=[3, 1, 4]), 16)


def test_two_drivers_share_a_store(tmp_path: Path) -> None:
    found = two_drivers(tmp_path, n_tasks=16)
    assert clean(found, 16)
    assert found.n_computed == 16


def test_a_driver_takes_over_from_one_that_was_killed(tmp_path: Path) -> None:
    assert clean(one_driver_dies_beside_another(tmp_path, n_tasks=8), 8)


def test_a_flipped_byte_is_found_and_computed_again(tmp_path: Path) -> None:
    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)

    found = harmed_files(tmp_path, flip, n_tasks=8, every=3)
    assert (found.n_results, found.n_corrupt, found.n_computed) == (8, 0, 8 + 3)


def test_a_full_disk_spoils_nothing(tmp_path: Path) -> None:
    try:
        found, n_before, said = full_disk(tmp_path, n_tasks=16, kilobytes=600)
    except PermissionError as error:
        pytest.skip(f"file systems cannot be mounted here ({error})")
    assert clean(found, 16)
    assert 0 < n_before < 16
    assert "No space left on device" in said or "the disk is full" in said


def test_a_store_that_may_only_be_read_is_left_as_it_is(tmp_path: Path) -> None:
    try:
        found, said = read_only(tmp_path, n_tasks=8)
    except PermissionError as error:
        pytest.skip(f"file systems cannot be mounted here ({error})")
    assert "Read-only file system" in said
    assert clean(found, 8)


def test_what_another_process_stored_in_the_meantime_counts_as_done(tmp_path: Path, diary: Path) -> None:
    store = tmp_path / "store"
    sweep = small_sweep(tmp_path, 2)

    class Late(InProcess):
        """Is so slow to begin that another driver has done everything."""

        def as_completed(self) -> Iterator[Completed]:
            sl.run_sweep(sweep, store, worker=Worker(store, Faulty(diary, store)))
            yield from super().as_completed()

    found = sl.run_sweep(sweep, store, worker=Worker(store, Faulty(diary, store)), engine=Late())
    assert (found.ok, found.stored, found.n_elsewhere) == (True, set(), 2)
    assert tally(sweep, store, diary).n_computed == 2
