"""Sweeps are logged to W&B or trackio without either being needed."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import site_lens as sl
from site_lens.sweeps.experiment_tracking import Tracker
from site_lens.sweeps.worker import Worker
from tests.sweeps.faulty import Faulty, small_sweep


class FakeRun:
    """What such a service's `init` returns."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.finished = False

    def log(self, numbers: dict[str, Any]) -> None:
        self.lines.append(numbers)

    def finish(self) -> None:
        self.finished = True


@pytest.mark.parametrize("service", ["wandb", "trackio"])
def test_stored_and_failed_jobs_are_logged_and_the_run_is_closed(
    tmp_path: Path, diary: Path, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, given = FakeRun(), {}

    def init(**options: Any) -> FakeRun:
        given.update(options)
        return run

    module = ModuleType(service)
    module.init = init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, service, module)
    store = tmp_path / "store"
    worker = Worker(store, Faulty(diary, store, {"task_1": "raise"}))
    tracker = Tracker(service, project="sizes", config={"n": 2})
    sl.run_sweep(small_sweep(tmp_path, 2), store, worker=worker, watchers=[tracker])
    assert given == {"project": "sizes", "config": {"n": 2}}
    assert [(line["n_stored"], line["n_failed"], line.get("accuracy")) for line in run.lines] == [
        (1, 0, 0.75),
        (1, 1, None),
    ]
    assert run.finished


def test_a_service_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(sl.InputError, match="trackio is not installed; pip install trackio"):
        Tracker("trackio", project="x")
