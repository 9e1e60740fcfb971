"""Run store: a result is there whole or not at all, and damage is found."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import site_lens as sl
from site_lens.sweeps.jobs import SweepJob, jobs_of
from site_lens.sweeps.maintenance import collect_garbage, damaged_results, job_states
from site_lens.sweeps.store import RunStore
from site_lens.sweeps.store_schema import SweepPlan
from tests.fakes import fake_identity
from tests.sweeps.faulty import GRID, made_up, small_sweep


@pytest.fixture
def jobs(tmp_path: Path, store: RunStore) -> list[SweepJob]:
    """Four jobs of a sweep whose plan is in the store."""
    jobs = jobs_of(small_sweep(tmp_path, 2, n_seeds=2))
    store.write_plan(SweepPlan(sweep="sweep", jobs=tuple(job.name for job in jobs)))
    return jobs


def commit(store: RunStore, job: SweepJob, seconds: float = 1.5) -> bool:
    return store.commit(job.name, job.parts, made_up(job), seconds=seconds)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def test_a_result_comes_back_as_a_run_and_the_first_one_stays(store: RunStore, jobs: list[SweepJob]) -> None:
    job = jobs[0]
    assert not store.has(job.key)
    assert commit(store, job)
    assert not commit(store, job, seconds=99)
    assert store.has(job.key)
    assert store.load(job.key) == made_up(job)
    stored = store.stored(job.key)
    assert (stored.made_from, stored.name) == (job.parts, job.name)
    assert (stored.seconds, stored.status, stored.accuracy) == (1.5, "converged", 0.75)
    assert list((store.folder / "partial").iterdir()) == []


def test_every_damage_is_found(store: RunStore, jobs: list[SweepJob]) -> None:
    commit(store, jobs[0])
    folder = store.result_folder(jobs[0].key)
    shutil.copytree(folder, store.folder / "whole")
    files = ["job.json", "fits/task_0.json", "fits/task_0.safetensors", "evaluations/task_0.json", "results.csv"]
    damages: tuple[Callable[[Path], None], ...] = (flip, truncate, Path.unlink)
    for file in files:
        for damage in damages:
            damage(folder / file)
            assert list(damaged_results(store)) == [jobs[0].key], (file, damage)
            assert damage is flip or not store.has(jobs[0].key), file
            if file != "results.csv":  # which is made from the evaluations, and is not read
                with pytest.raises(sl.StorageError):
                    store.runs()
            shutil.rmtree(folder)
            shutil.copytree(store.folder / "whole", folder)
    folder.rename(store.result_folder(jobs[1].key))  # under the key of another job
    assert list(damaged_results(store)) == [jobs[1].key]


def test_a_claim_is_held_by_one_process_and_free_afterwards(store: RunStore) -> None:
    keys = ["a" * 64, "b" * 64]
    other = RunStore(store.folder)
    with store.claim(keys) as claimed:
        assert claimed == set(keys)
        with other.claim([*keys, "c" * 64]) as theirs:
            assert theirs == {"c" * 64}
        assert store.is_claimed(keys[0])
    assert not store.is_claimed(keys[0])
    with other.claim(keys) as theirs:
        assert theirs == set(keys)
    assert list((store.folder / "claims").iterdir()) == []


def test_garbage_of_the_dead_is_collected_and_the_work_of_the_living_stays(
    store: RunStore, jobs: list[SweepJob]
) -> None:
    commit(store, jobs[0])
    dead, living = (store.folder / "partial" / f"{job.key}.0123" for job in jobs[1:3])
    for folder in (dead, living):
        (folder / "fits").mkdir(parents=True)
    claim = store.folder / "claims" / f"{jobs[3].key}.lock"
    claim.touch()
    with RunStore(store.folder).claim([jobs[2].key]):
        assert collect_garbage(store) == [dead, claim]
        assert living.is_dir()
    assert collect_garbage(store) == [living]
    flip(store.result_folder(jobs[0].key) / "fits/task_0.safetensors")
    assert collect_garbage(store) == []
    assert collect_garbage(store, damaged=True) == [store.result_folder(jobs[0].key)]
    assert store.stored_keys() == []


def test_the_state_of_every_job_is_known(store: RunStore, jobs: list[SweepJob]) -> None:
    commit(store, jobs[0])
    commit(store, jobs[1])
    truncate(store.result_folder(jobs[1].key) / "fits/task_0.json")
    store.fail(jobs[2].name, "ValueError", "no")
    store.fail(jobs[2].name, "ValueError", "no again \udc80", "Traceback ...")
    with RunStore(store.folder).claim([jobs[3].key]):
        states = list(job_states(store))
    assert [job.state for job in states] == ["stored", "damaged", "failed", "running"]
    assert (states[2].note, states[2].trace) == ("ValueError: no again \\udc80 (attempts: 2)", "Traceback ...")
    assert [job.state for job in job_states(store)][3] == "missing"
    truncate(store.folder / "failures" / f"{jobs[2].key}.json")
    assert [job.state for job in job_states(store)][2] == "failed"
    commit(store, jobs[2])
    assert store.failure(jobs[2].key) is None


def test_a_model_that_is_not_what_it_was_is_refused(store: RunStore, jobs: list[SweepJob]) -> None:
    commit(store, jobs[0])
    (identity,) = (store.folder / "models").iterdir()
    for damage in (lambda path: None, flip, truncate):  # a damaged record of the model is written again
        damage(identity)
        commit(store, jobs[1])
        other = fake_identity(jobs[1].model.name, grid=GRID, weights_digest="other weights")
        fit = made_up(jobs[1]).fits["task_0"]
        changed = sl.Run(sl.SiteFits([fit.replace(embedding=fit.embedding.replace(model=other))]))
        with pytest.raises(sl.MismatchError, match="weights_digest changed"):
            store.commit(jobs[2].name, jobs[2].parts, changed, seconds=1)
        assert not store.has(jobs[2].key)
