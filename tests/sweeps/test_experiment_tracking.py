"""Experiment tracking: sweeps are logged to W&B or trackio without either being needed."""

import sys
from pathlib import Path
from unittest.mock import MagicMock, call

import pytest

import site_lens as sl
from site_lens.sweeps.events import Tracker
from site_lens.sweeps.worker import Worker
from tests.sweeps.faulty import Faulty, small_sweep


def test_stored_and_failed_jobs_are_logged_and_the_run_is_closed(
    tmp_path: Path, diary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = MagicMock()
    monkeypatch.setitem(sys.modules, "wandb", service)
    store = tmp_path / "store"
    worker = Worker(store, Faulty(diary, store, {"task_1": "raise"}))
    tracker = Tracker("wandb", project="sizes", config={"n": 2})
    sl.run_sweep(small_sweep(tmp_path, 2), store, worker=worker, watchers=[tracker])
    run = service.init.return_value
    service.init.assert_called_once_with(project="sizes", config={"n": 2})
    stored, failed = (each.args[0] for each in run.log.call_args_list)
    assert (stored["n_stored"], stored["n_failed"], stored["accuracy"]) == (1, 0, 0.75)
    assert (failed["n_stored"], failed["n_failed"]) == (1, 1) and "accuracy" not in failed
    assert run.mock_calls[-1] == call.finish()
