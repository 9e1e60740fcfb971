"""The event log: appended line by line, readable whatever happened to it."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import site_lens as sl
from site_lens.sweeps.events import EventLog, read_events


def test_events_come_back_in_order(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    written = [log.write("job_stored", {"key": str(i), "accuracy": 0.5, "job": "ü\n"}) for i in range(3)]
    assert read_events(tmp_path) == (written, 0)
    assert len(next(tmp_path.iterdir()).read_text().splitlines()) == 3


def test_several_writers_do_not_disturb_each_other(tmp_path: Path) -> None:
    def write(log: EventLog) -> None:
        for i in range(50):
            log.write("job_stored", {"key": str(i)})

    logs = [EventLog(tmp_path) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, logs))
    found, n_unreadable = read_events(tmp_path)
    assert (len(found), n_unreadable) == (200, 0)
    for log in logs:
        assert [event.detail["key"] for event in found if event.source == log.source] == [str(i) for i in range(50)]


@pytest.mark.parametrize("junk", [b'{"kind": "job_st', b"\xff\xfe", b"[1]", b'{"kind": "nonsense"}', b"[" * 10000])
def test_lines_that_cannot_be_read_are_counted_and_the_rest_is_read(tmp_path: Path, junk: bytes) -> None:
    log = EventLog(tmp_path)
    event = log.write("sweep_started", {})
    with (tmp_path / "other.jsonl").open("wb") as stream:
        stream.write(junk)
    assert read_events(tmp_path) == ([event], 1)


def test_a_log_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(sl.StorageError, match="cannot write to .*No such file"):
        EventLog(tmp_path / "nowhere").write("sweep_started", {})


def test_a_line_cut_short_by_a_full_disk_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, content: write(handle, content[:5]))
    with pytest.raises(sl.StorageError, match="the disk is full"):
        EventLog(tmp_path).write("sweep_started", {})
    assert read_events(tmp_path) == ([], 1)
