"""Progress in logs."""

import pytest

from site_lens.records import progress


def test_a_log_gets_whole_lines_with_what_is_done_and_short_work_gets_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.progress_bar(4, "fitting", unit="step", progress=None) as bar:
        bar.update(2)
    assert not capsys.readouterr().err
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    with progress.progress_bar(4, "fitting", unit="step", progress=None) as bar:
        bar.update(2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("fitting: 2 of 4 step, 00:00, ") and lines[-1].endswith(" left")
