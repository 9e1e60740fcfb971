"""A worker claims, computes and stores; what goes wrong with one job leaves the others alone."""

from pathlib import Path

import pytest

import site_lens as sl
from site_lens.sweeps.events import read_events
from site_lens.sweeps.jobs import JobGroup, SweepJob, jobs_of
from site_lens.sweeps.store import RunStore
from site_lens.sweeps.worker import LEAST_BUDGET_BYTES, Worker
from tests.sweeps.faulty import Faulty, made_up, small_sweep, tally


def group_of(folder: Path, n_tasks: int, n_seeds: int = 1) -> tuple[sl.Sweep, JobGroup]:
    sweep = small_sweep(folder, n_tasks, n_seeds=n_seeds)
    return sweep, JobGroup.of(jobs_of(sweep))


def test_a_group_is_computed_together_and_stored_job_by_job(tmp_path: Path, store: RunStore, diary: Path) -> None:
    sweep, group = group_of(tmp_path, 3, 2)
    done = Worker(store.folder, Faulty(diary, store.folder))(group)
    assert sorted(done.stored) == sorted(group.keys) == store.stored_keys() == sorted(store.stored_keys())
    assert (done.failed, done.busy, done.storage_error) == ({}, [], None)
    assert [event.kind for event in done.events] == ["job_stored"] * 6
    assert read_events(store.folder / "events")[0] == done.events


def test_what_is_stored_is_not_computed_again(tmp_path: Path, store: RunStore, diary: Path) -> None:
    sweep, group = group_of(tmp_path, 3)
    worker = Worker(store.folder, Faulty(diary, store.folder))
    worker(JobGroup.of(group.jobs[:1]))
    assert sorted(worker(group).stored) == sorted(group.keys[1:])
    assert worker(group).stored == []
    assert tally(sweep, store.folder, diary).n_computed == 3


def test_a_job_that_raises_is_kept_with_its_error_and_the_others_are_stored(
    tmp_path: Path, store: RunStore, diary: Path
) -> None:
    _, group = group_of(tmp_path, 5, 2)
    done = Worker(store.folder, Faulty(diary, store.folder, {"task_3": "raise"}))(group)
    broken = [job.key for job in group.jobs if job.task.name == "task_3"]
    assert sorted(done.failed) == sorted(broken)
    assert len(done.stored) == 8
    failure = store.failure(broken[0])
    assert failure is not None
    assert (failure.error, failure.message) == ("ValueError", "injected: task_3 cannot be fitted")
    assert "tests/sweeps/faulty.py" in failure.trace


def test_memory_that_runs_out_halves_the_batch_and_the_record_says_so(
    tmp_path: Path, store: RunStore, diary: Path
) -> None:
    _, group = group_of(tmp_path, 4)
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
    fits = [*run.fits.values(), *run.controls["site_zero_embedding"].values()]
    assert {fit.notes for fit in fits} | {one.notes for one in run.evaluations.values()} == {notes["task_0"]}
    halved = [event.detail for event in done.events if event.kind == "memory_halved"]
    assert [(one["n_tasks"], one["budget_bytes"]) for one in halved] == [(2, 2**30), (1, 2**29)]


class NeverEnough:
    """Runs out of memory whatever it is given."""

    def __init__(self) -> None:
        self.budgets: list[int] = []

    def prepare(self, job: SweepJob) -> None:
        """There is no model to load."""

    def __call__(self, group: JobGroup, budget_bytes: int) -> dict[str, sl.Run]:
        self.budgets.append(budget_bytes)
        raise MemoryError("no more")


def test_a_job_that_never_fits_into_memory_fails_in_the_end(tmp_path: Path, store: RunStore) -> None:
    _, group = group_of(tmp_path, 1)
    compute = NeverEnough()
    done = Worker(store.folder, compute)(group)
    assert list(done.failed.values()) == ["MemoryError: no more"]
    assert compute.budgets == [2**31 >> i for i in range(8)]
    assert compute.budgets[-1] == LEAST_BUDGET_BYTES


class WrongModel:
    """Cannot load the model."""

    def __init__(self) -> None:
        self.n_calls = 0

    def prepare(self, job: SweepJob) -> None:
        self.n_calls += 1
        raise sl.ModelError("no such heads")

    def __call__(self, group: JobGroup, budget_bytes: int) -> dict[str, sl.Run]:
        raise AssertionError("nothing can be computed without a model")


def test_a_model_that_cannot_be_loaded_is_not_tried_again_for_every_task(tmp_path: Path, store: RunStore) -> None:
    _, group = group_of(tmp_path, 4)
    compute = WrongModel()
    found = Worker(store.folder, compute)(group)
    assert list(found.failed.values()) == ["ModelError: no such heads"] * 4
    assert compute.n_calls == 1


def test_jobs_that_another_process_holds_are_left_to_it(tmp_path: Path, store: RunStore, diary: Path) -> None:
    _, group = group_of(tmp_path, 3)
    with RunStore(store.folder).claim(group.keys[:2]):
        done = Worker(store.folder, Faulty(diary, store.folder))(group)
    assert sorted(done.busy) == sorted(group.keys[:2])
    assert done.stored == [group.keys[2]]


def test_a_result_that_was_cut_short_is_set_aside_and_computed_again(
    tmp_path: Path, store: RunStore, diary: Path
) -> None:
    _, group = group_of(tmp_path, 2)
    worker = Worker(store.folder, Faulty(diary, store.folder))
    worker(group)
    path = store.result_folder(group.keys[0]) / "fits/task_0.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    done = worker(group)
    assert [event.kind for event in done.events] == ["job_set_aside", "job_stored"]
    assert done.stored == [group.keys[0]]
    assert store.load(group.keys[0]) == made_up(group.jobs[0])
    assert len(list((store.folder / "damaged").iterdir())) == 1


def test_a_store_that_is_gone_is_told_and_not_taken_for_a_failed_job(
    tmp_path: Path, store: RunStore, diary: Path
) -> None:
    _, group = group_of(tmp_path, 1)
    done = Worker(tmp_path / "nowhere", Faulty(diary, store.folder))(group)
    assert done.failed == {}
    assert done.storage_error is not None
    assert "is no run store" in done.storage_error


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interruption_is_no_failure_and_frees_the_claims(
    tmp_path: Path, store: RunStore, error: type[BaseException]
) -> None:
    _, group = group_of(tmp_path, 2)

    class Interrupted(NeverEnough):
        def __call__(self, group: JobGroup, budget_bytes: int) -> dict[str, sl.Run]:
            raise error

    with pytest.raises(error):
        Worker(store.folder, Interrupted())(group)
    assert store.failure(group.keys[0]) is None
    assert list((store.folder / "claims").iterdir()) == []
