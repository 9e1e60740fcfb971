"""The run store: a result is there whole or not at all, and damage is found."""

import errno
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
from tests.test_public_names import loaded_after


@pytest.fixture
def jobs(tmp_path: Path, store: RunStore) -> list[SweepJob]:
    """The jobs of a sweep that the store knows of."""
    sweep = small_sweep(tmp_path, 2, n_seeds=2)
    found = jobs_of(sweep)
    store.write_plan(SweepPlan(sweep=sweep.name, jobs=tuple(job.name for job in found)))
    return found


def commit(store: RunStore, job: SweepJob) -> bool:
    return store.commit(job.name, job.parts, made_up(job), seconds=1.5)


def test_a_result_comes_back_as_a_run_with_what_it_was_computed_from(store: RunStore, jobs: list[SweepJob]) -> None:
    job = jobs[0]
    assert not store.has(job.key)
    assert commit(store, job)
    assert store.has(job.key)
    assert store.load(job.key) == made_up(job)
    kept = store.stored(job.key)
    assert kept.made_from == job.parts
    assert kept.name == job.name
    assert (kept.seconds, kept.status, kept.accuracy) == (1.5, "converged", 0.75)
    assert list((store.folder / "partial").iterdir()) == []


def test_the_first_result_stays(store: RunStore, jobs: list[SweepJob]) -> None:
    assert commit(store, jobs[0])
    before = store.stored(jobs[0].key)
    assert not store.commit(jobs[0].name, jobs[0].parts, made_up(jobs[0]), seconds=99)
    assert store.stored(jobs[0].key) == before
    assert list((store.folder / "partial").iterdir()) == []


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


FILES = ["job.json", "results.csv", "fits/task_0.json", "fits/task_0.safetensors", "evaluations/task_0.safetensors"]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("harm", [flip, truncate, Path.unlink])
def test_any_harm_to_any_file_is_found_by_verify(
    store: RunStore, jobs: list[SweepJob], file: str, harm: Callable[[Path], None]
) -> None:
    commit(store, jobs[0])
    commit(store, jobs[1])
    assert damaged_results(store) == {}
    harm(store.result_folder(jobs[0].key) / file)
    assert list(damaged_results(store)) == [jobs[0].key]
    assert file in damaged_results(store)[jobs[0].key]
    if harm is not flip:
        assert not store.has(jobs[0].key)  # a glance at sizes shows that


def test_a_result_under_the_key_of_another_job_is_damaged(store: RunStore, jobs: list[SweepJob]) -> None:
    commit(store, jobs[0])
    shutil.copytree(store.result_folder(jobs[0].key), store.result_folder(jobs[1].key))
    assert "describes another job" in damaged_results(store)[jobs[1].key]


def test_a_claim_is_held_by_one_and_free_afterwards(store: RunStore) -> None:
    keys = ["a" * 64, "b" * 64]
    other = RunStore(store.folder)
    with store.claim(keys) as mine:
        assert mine == set(keys)
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
    (store.folder / "claims" / f"{jobs[3].key}.lock").touch()
    with RunStore(store.folder).claim([jobs[2].key]):
        removed = collect_garbage(store)
        assert removed == [dead, store.folder / "claims" / f"{jobs[3].key}.lock"]
        assert living.is_dir()
    assert store.has(jobs[0].key)
    assert collect_garbage(store) == [living]


def test_damaged_results_are_removed_on_request_only(store: RunStore, jobs: list[SweepJob]) -> None:
    for job in jobs[:3]:
        commit(store, job)
    flip(store.result_folder(jobs[0].key) / "fits/task_0.safetensors")
    aside = store.set_aside(jobs[1].key)
    assert collect_garbage(store) == []
    assert collect_garbage(store, damaged=True) == [aside, store.result_folder(jobs[0].key)]
    assert store.stored_keys() == [jobs[2].key]


def test_the_state_of_every_job_is_told(store: RunStore, jobs: list[SweepJob]) -> None:
    commit(store, jobs[0])
    commit(store, jobs[1])
    truncate(store.result_folder(jobs[1].key) / "fits/task_0.json")
    store.fail(jobs[2].name, "ValueError", "no")
    store.fail(jobs[2].name, "ValueError", "no again")
    with RunStore(store.folder).claim([jobs[3].key]):
        states = list(job_states(store))
    assert [one.state for one in states] == ["stored", "damaged", "failed", "running"]
    assert states[2].note == "ValueError: no again (attempts: 2)"
    assert [one.state for one in job_states(store)][3] == "missing"


def test_a_success_wipes_out_the_failure_before_it(store: RunStore, jobs: list[SweepJob]) -> None:
    store.fail(jobs[0].name, "ValueError", "no", "Traceback ...")
    failure = store.failure(jobs[0].key)
    assert failure is not None and failure.trace == "Traceback ..."
    commit(store, jobs[0])
    assert store.failure(jobs[0].key) is None


def test_a_model_that_is_not_what_it_was_is_refused(store: RunStore, jobs: list[SweepJob]) -> None:
    commit(store, jobs[0])
    changed = made_up(jobs[1])
    other = fake_identity(jobs[1].model.name, grid=GRID, weights_digest="other weights")
    fit = changed.fits["task_0"]
    changed = sl.Run(sl.SiteFits([fit.replace(embedding=fit.embedding.replace(model=other))]))
    with pytest.raises(sl.MismatchError, match="nobody/a is not the model that it was .*: weights_digest changed"):
        store.commit(jobs[1].name, jobs[1].parts, changed, seconds=1)
    assert not store.has(jobs[1].key)


@pytest.mark.parametrize("harm", [flip, truncate])
def test_a_damaged_note_on_a_model_gives_way_and_then_guards_again(
    store: RunStore, jobs: list[SweepJob], harm: Callable[[Path], None]
) -> None:
    commit(store, jobs[0])
    (note,) = (store.folder / "models").iterdir()
    before = note.read_bytes()
    harm(note)
    assert commit(store, jobs[1])
    assert note.read_bytes() == before


def test_a_damaged_note_on_a_failure_is_told_beside_its_job_only(store: RunStore, jobs: list[SweepJob]) -> None:
    for job in jobs[:2]:
        store.fail(job.name, "ValueError", "no")
    truncate(store.folder / "failures" / f"{jobs[0].key}.json")
    states = list(job_states(store))
    assert [one.state for one in states] == ["failed", "failed", "missing", "missing"]
    assert "the note on why is damaged" in states[0].note and jobs[0].key in states[0].note
    assert states[1].note == "ValueError: no (attempts: 1)"


def test_a_copy_without_its_empty_folders_is_cleared_like_any_other(store: RunStore, jobs: list[SweepJob]) -> None:
    commit(store, jobs[0])
    for folder in list(store.folder.iterdir()):
        if folder.is_dir() and not list(folder.iterdir()):
            folder.rmdir()
    assert not (store.folder / "damaged").exists()
    assert collect_garbage(store, damaged=True) == []
    assert [one.state for one in job_states(store)] == ["stored", "missing", "missing", "missing"]


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_whoever_may_only_read_a_store_believes_a_claim_and_whoever_may_write_is_told(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(lock: object) -> None:
        raise OSError(code, "refused")

    (store.folder / "claims" / f"{'a' * 64}.lock").touch()
    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with pytest.raises(sl.StorageError, match="cannot look at the claim .*: refused"):
        store.is_claimed("a" * 64)
    monkeypatch.setattr("os.access", lambda path, mode: False)  # tests may run as root, who may write everywhere
    assert store.is_claimed("a" * 64)
    assert not store.is_claimed("b" * 64)


def test_results_go_together_as_runs_that_everything_else_reads(
    store: RunStore, jobs: list[SweepJob], tmp_path: Path
) -> None:
    for job in jobs[:3]:
        commit(store, job)
    (where, run), *others = store.runs().items()
    assert (where, others) == ("a/paper/few", [])
    assert set(run.fits) == {"task_0#0", "task_0#1", "task_1"}
    assert run.evaluations is not None
    assert {"site", "site#1", "site#1_hard", "site_zero_embedding#1"} <= set(run.evaluations["task_0"].methods)
    run.save(tmp_path / "run")
    assert sl.Run.load(tmp_path / "run") == run


@pytest.mark.parametrize("harm", [flip, truncate, Path.unlink])
def test_a_damaged_result_is_not_left_out_of_the_runs_but_named(
    store: RunStore, jobs: list[SweepJob], harm: Callable[[Path], None]
) -> None:
    for job in jobs[:2]:
        commit(store, job)
    harm(store.result_folder(jobs[1].key) / "fits/task_0.safetensors")
    says = f"{jobs[1].name} .*{jobs[1].key[:12]}.* is damaged: .*task_0.safetensors.*site-lens sweep gc .* --damaged"
    with pytest.raises(sl.StorageError, match=says):
        store.runs()


def test_a_folder_that_is_no_store_and_a_sweep_that_is_not_there_are_named(store: RunStore, tmp_path: Path) -> None:
    with pytest.raises(sl.StorageError, match="is no run store .*; make one with: site-lens sweep"):
        sl.RunStore(tmp_path)
    with pytest.raises(sl.InputError, match="holds 0 sweeps"):
        store.plan()
    for name in ("one", "two"):
        store.write_plan(SweepPlan(sweep=name, jobs=()))
    with pytest.raises(sl.InputError, match=r"holds 2 sweeps \(one, two\); name one"):
        store.plan()
    with pytest.raises(sl.InputError, match="unknown sweep 'three'"):
        store.plan("three")
    assert store.plan("two").jobs == ()


def test_a_store_is_read_without_torch(store: RunStore, jobs: list[SweepJob]) -> None:
    commit(store, jobs[0])
    code = f"""
import site_lens as sl
from site_lens.sweeps import costing, driving, engines, keeping, tracking
store = sl.RunStore({str(store.folder)!r})
assert len(list(keeping.job_states(store))) == 4 and keeping.damaged_results(store) == {{}}
assert len(store.runs()) == 1
"""
    assert not loaded_after(code) & {"torch", "transformer_lens", "transformers"}
