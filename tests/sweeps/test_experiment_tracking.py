"""Experiment tracking: sweeps are logged to W&B or trackio without either being needed."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import site_lens as sl
from site_lens.sweeps.events import Tracker
from site_lens.sweeps.worker import Worker
from tests.sweeps.faulty import Faulty, small_sweep


def test_stored_and_failed_jobs_are_logged_and_the_run_is_closed(
    tmp_path: Path, diary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    class FakeService(ModuleType):
        """W&B and trackio in one: `init` returns what logs."""

        def init(self, **options: Any) -> "FakeService":
            calls.append(options)
            return self

        def log(self, numbers: dict[str, Any]) -> None:
            calls.append((numbers["n_stored"], numbers["n_failed"], numbers.get("accuracy")))

        def finish(self) -> None:
            calls.append("finished")

    monkeypatch.setitem(sys.modules, "wandb", FakeService("wandb"))
    store = tmp_path / "store"
    worker = Worker(store, Faulty(diary, store, {"task_1": "raise"}))
    tracker = Tracker("wandb", project="sizes", config={"n": 2})
    sl.run_sweep(small_sweep(tmp_path, 2), store, worker=worker, watchers=[tracker])
    assert calls == [{"project": "sizes", "config": {"n": 2}}, (1, 0, 0.75), (1, 1, None), "finished"]
