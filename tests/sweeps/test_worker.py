"""Worker: claims, computes and stores; an error of one job leaves the others alone."""

from pathlib import Path

import pytest

import site_lens as sl
from site_lens.sweeps.jobs import JobGroup, SweepJob, jobs_of
from site_lens.sweeps.store import RunStore
from site_lens.sweeps.worker import Worker
from tests.sweeps.faulty import Faulty, small_sweep


def group_of(folder: Path, n_tasks: int) -> JobGroup:
    return JobGroup(tuple(jobs_of(small_sweep(folder, n_tasks))))


class Raising:
    """Computation that raises an error, on loading the model or later."""

    def __init__(self, error: BaseException, *, loading: bool = False) -> None:
        self.error, self.loading = error, loading
        self.budgets: list[int] = []
        self.n_loaded = 0

    def prepare(self, job: SweepJob) -> None:
        self.n_loaded += 1
        if self.loading:
            raise self.error

    def __call__(self, group: JobGroup, budget_bytes: int) -> dict[str, sl.Run]:
        self.budgets.append(budget_bytes)
        raise self.error


def test_the_batch_is_halved_when_memory_runs_out_and_the_record_says_so(
    tmp_path: Path, store: RunStore, diary: Path
) -> None:
    group = group_of(tmp_path, 4)
    done = Worker(store.folder, Faulty(diary, store.folder, {"task_0": "memory"}))(group)
    assert (done.failed, len(done.stored)) == ({}, 4)
    notes = {job.task.name: store.stored(job.key).notes for job in group.jobs}
    assert notes["task_0"] == (
        "memory ran out 2 times; computed with 1 tasks in the batch and 512 MiB of prefixes at a time",
    )
    assert notes["task_2"] == (
        "memory ran out once; computed with 2 tasks in the batch and 1024 MiB of prefixes at a time",
    )
    run = store.load(group.jobs[0].key)
    assert run.evaluations is not None
    records = [*run.fits.values(), *run.controls["site_zero_embedding"].values(), *run.evaluations.values()]
    assert {record.notes for record in records} == {notes["task_0"]}  # type: ignore[attr-defined]
    halved = [event.detail for event in done.events if event.kind == "memory_halved"]
    assert [(detail["n_tasks"], detail["budget_bytes"]) for detail in halved] == [(2, 2**30), (1, 2**29)]


def test_a_model_that_cannot_be_loaded_is_not_loaded_again_for_every_task(tmp_path: Path, store: RunStore) -> None:
    compute = Raising(sl.ModelError("no such heads"), loading=True)
    done = Worker(store.folder, compute)(group_of(tmp_path, 4))
    assert list(done.failed.values()) == ["ModelError: no such heads"] * 4
    assert (compute.n_loaded, compute.budgets) == (1, [])


def test_an_interruption_is_no_failure_and_frees_the_claims(tmp_path: Path, store: RunStore) -> None:
    group = group_of(tmp_path, 2)
    for error in (KeyboardInterrupt(), SystemExit()):
        with pytest.raises(type(error)):
            Worker(store.folder, Raising(error))(group)
        assert store.failure(group.keys[0]) is None
        assert list((store.folder / "claims").iterdir()) == []
