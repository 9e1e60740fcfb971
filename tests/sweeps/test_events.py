"""Event log: appended line by line, readable whatever happened to it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from site_lens.sweeps.events import EventLog, read_events


def test_events_of_several_writers_come_back_in_order(tmp_path: Path) -> None:
    def write(log: EventLog) -> None:
        for i in range(50):
            log.write("job_stored", {"key": str(i), "job": "ü\n\udc80"})

    logs = [EventLog(tmp_path) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, logs))
    events, n_unreadable = read_events(tmp_path)
    assert (len(events), n_unreadable) == (200, 0)
    for log in logs:
        assert [event.detail["key"] for event in events if event.source == log.source] == [str(i) for i in range(50)]


def test_lines_that_cannot_be_read_are_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    event = EventLog(tmp_path).write("sweep_started", {})
    for junk in (b'{"kind": "job_st', b"\xff\xfe", b"[1]", b'{"kind": "nonsense"}', b"[" * 10000):
        (tmp_path / "other.jsonl").write_bytes(junk)
        assert read_events(tmp_path) == ([event], 1), junk[:20]
