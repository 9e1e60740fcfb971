"""Run stores that came from elsewhere, and folders that are none: nothing beyond them is removed, read or written."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import site_lens as sl
from site_lens.records.hashing import digest_json
from site_lens.sweeps.maintenance import collect_garbage, damaged_results, export_runs, job_states, unusable_results
from site_lens.sweeps.store import RunStore
from site_lens.sweeps.store_mark import FOLDERS, MARK_FILE
from site_lens.sweeps.store_schema import SweepPlan, read_sealed, write_sealed
from site_lens.sweeps.worker import Worker
from tests.cli.test_cli import run
from tests.safety.test_strange_folders import contents, removed
from tests.safety.watching import limited_memory, watched
from tests.sweeps.faulty import CONFIG, Faulty, small_sweep

OTHER = CONFIG | {"name": "other", "lr": 0.1}
COMMANDS = (["list"], ["show"], ["verify"], ["gc"], ["gc", "--damaged"], ["export"])


def the_sweep(folder: Path) -> sl.Sweep:
    return small_sweep(folder, 2, n_seeds=2).replace(configs=[CONFIG, OTHER])


def fill(folder: Path) -> sl.SweepOutcome:
    (folder / "diary").mkdir(exist_ok=True)
    store = folder / "store"
    return sl.run_sweep(the_sweep(folder), store, worker=Worker(store, Faulty(folder / "diary", store)))


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the store of a finished sweep, two failures and all else that a store holds."""
    folder = tmp_path_factory.mktemp("swept")
    assert fill(folder).ok
    store = RunStore(folder / "store")
    for name in store.plan().jobs[:2]:
        store.fail(name, "ValueError", "no")
        (store.folder / "partial" / f"{name.key}.0123abcd").mkdir()
        (store.folder / "damaged" / f"{name.key}.0123abcd").mkdir()
        (store.folder / "claims" / f"{name.key}.lock").touch()
    return folder


@pytest.fixture
def place(swept: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(swept, tmp_path / "place")


@pytest.fixture
def store(place: Path) -> RunStore:
    return RunStore(place / "store")


def runs(command: list[str], store: Path) -> int:
    """Run a command for stores; its exit code."""
    target = [str(store.parent / "exported")] if command[0] == "export" else []
    return run("sweep", command[0], str(store), *target, *command[1:])


def states(store: RunStore) -> set[str]:
    return {one.state for one in job_states(store)}


def test_a_folder_that_is_no_store_is_left_alone(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = place / "own"
    for name in ("partial/thesis/a.txt", "claims/door.lock", "results/mine/b.txt", "results/c.csv", "damaged/d/e.txt"):
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_text("mine")
    before = contents(own)
    for command in COMMANDS:
        assert runs(command, own) == 2, command
        assert "is no run store" in capsys.readouterr().err
    with pytest.raises(sl.StorageError):
        sl.run_sweep(the_sweep(place), own, worker=Worker(own, Faulty(place / "diary", own)))
    assert contents(own) == before


def test_what_others_put_into_a_store_is_not_cleared(store: RunStore) -> None:
    key = store.plan().jobs[0].key
    own = [
        f"{folder}/{name}" for folder in ("partial", "claims", "results", "damaged", "events")
        for name in ("mine", key[:-1], f"{key}x", ".DS_Store", f"._{key}", f"{key}.lock.txt")
    ]  # fmt: skip
    for name in own:
        (store.folder / name).mkdir()
        (store.folder / name / "work.txt").write_text("mine")
    before = contents(store.folder)
    cleared = collect_garbage(store, damaged=True)
    assert len(cleared) == 4  # whoever clears what a claim was for clears the claim
    assert all(Path(name).parent.name == "claims" for name in before.keys() - contents(store.folder).keys())
    assert states(store) == {"stored"}


@pytest.mark.parametrize("part", FOLDERS)
def test_a_store_of_which_a_part_lies_elsewhere_is_refused(part: str, place: Path) -> None:
    folder = place / "store"
    shutil.move(folder / part, place / "outside")
    (place / "outside" / "mine").mkdir()
    (place / "outside" / "mine" / "work.txt").write_text("mine")
    opened = RunStore(folder)
    (folder / part).symlink_to(place / "outside")
    before = contents(place / "outside")
    for command in COMMANDS:
        assert runs(command, folder) == 2, command
    with pytest.raises(sl.StorageError):
        fill(place)
    if part in ("partial", "claims", "damaged", "results"):
        with pytest.raises(sl.StorageError):  # whenever the link was made
            collect_garbage(opened, damaged=True)
    assert contents(place / "outside") == before


def test_a_link_in_a_store_is_removed_and_what_it_leads_to_stays(place: Path, store: RunStore) -> None:
    outside = shutil.copytree(place / "tasks", place / "outside")
    before = contents(outside)
    keys = [name.key for name in store.plan().jobs]
    for name in (f"partial/{keys[0]}.12345678", f"damaged/{keys[1]}.12345678", f"results/{keys[2]}"):
        removed_path = store.folder / name
        shutil.rmtree(removed_path, ignore_errors=True)
        removed_path.symlink_to(outside)
    (store.folder / "claims" / f"{keys[3]}.lock").symlink_to(outside / "task_0.csv")
    (store.folder / "partial" / f"{keys[4]}.12345678").mkdir()
    (store.folder / "partial" / f"{keys[4]}.12345678" / "fits").symlink_to(outside)
    assert len(collect_garbage(store, damaged=True)) == 4 + 5
    assert contents(outside) == before
    assert fill(place).stored == {keys[2]}
    assert contents(outside) == before


def test_a_store_of_an_earlier_version_is_known_by_what_it_holds_and_then_marked(place: Path) -> None:
    folder = place / "store"
    (folder / MARK_FILE).unlink()
    assert states(RunStore(folder)) == {"stored"}
    assert not (folder / MARK_FILE).exists()
    shutil.rmtree(folder / "plans")
    assert len(RunStore(folder).stored_keys()) == 8  # by its results
    assert fill(place).n_found == 8
    assert (folder / MARK_FILE).exists()
    (folder / MARK_FILE).unlink()
    shutil.rmtree(folder / "results")
    (folder / "plans" / "sweep.json").write_text("{}")
    with pytest.raises(sl.StorageError):
        RunStore(folder)


def file(path: Path, outside: Path) -> None:
    path.write_text("a file")


def dangling(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "nowhere")


def link(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def pipe(path: Path, outside: Path) -> None:
    os.mkfifo(path)


def endless(path: Path, outside: Path) -> None:
    path.symlink_to("/dev/zero")


def folder_there(path: Path, outside: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("stand_in", [file, dangling, link, pipe, endless, folder_there])
def test_what_stands_in_the_place_of_a_result_is_reported_and_cleared_and_the_sweep_finished(
    stand_in: Callable[[Path, Path], None], place: Path, store: RunStore
) -> None:
    key = store.stored_keys()[0]
    result = store.result_folder(key)
    for clears in (True, False):  # a sweep sets it aside by itself
        shutil.rmtree(result)
        stand_in(result, place / "tasks")
        assert states(store) == {"stored", "damaged"}
        assert list(damaged_results(store)) == [key]
        with pytest.raises(sl.StorageError):
            store.runs()
        if clears:
            assert result in collect_garbage(store, damaged=True)
            assert states(store) == {"stored", "missing"} or states(store) == {"stored", "failed"}
        assert fill(place).stored == {key}
        assert damaged_results(store) == {}
    assert len(list((store.folder / "damaged").iterdir())) == 1


@pytest.mark.parametrize("stand_in", [pipe, endless, folder_there])
def test_whatever_stands_in_the_place_of_a_file_every_command_ends(
    stand_in: Callable[[Path, Path], None], place: Path
) -> None:
    folder = place / "store"
    (folder / "events" / "other.jsonl").touch()
    result = RunStore(folder).result_folder(RunStore(folder).stored_keys()[0])
    tried = [folder / MARK_FILE, result / "job.json", *(result / "fits").iterdir()]
    tried += [min((folder / name).iterdir()) for name in ("plans", "events", "failures", "claims", "models")]
    for name in [str(path.relative_to(folder)) for path in tried]:
        case = shutil.copytree(place, place.parent / "case")
        stand_in(removed(case / "store" / name), case / "tasks")
        with limited_memory():
            codes = {command[0]: runs(command, case / "store") for command in COMMANDS if command[0] != "gc"}
        assert codes["verify"] == (1 if name.startswith("results/") else 0), name
        assert set(codes.values()) <= {0, 1, 2}, name
        with limited_memory():
            assert runs(["gc", "--damaged"], case / "store") == 0, name
        if name != MARK_FILE and not name.startswith("plans/"):  # for which no pipe, device or folder is replaced
            assert fill(case).ok, name
        shutil.rmtree(case)


def replanned(store: RunStore, change: Callable[[list[dict[str, Any]]], None]) -> Path:
    """Change the jobs of a plan, and give it the digest that it needs."""
    path = store.folder / "plans" / "sweep.json"
    content = json.loads(path.read_text())["content"]
    change(content["jobs"])
    path.write_text(json.dumps({"digest": digest_json(content), "content": content}))
    return path


@pytest.mark.parametrize("label", ["../../out", "/tmp/out", "..", ".", "", "a/b", "a\0b", "x" * 300, "con", "a b"])
@pytest.mark.parametrize("kind", ["model", "template", "config"])
def test_an_export_goes_nowhere_else_whatever_the_labels_of_a_plan_say(
    kind: str, label: str, place: Path, store: RunStore
) -> None:
    def change(jobs: list[dict[str, Any]]) -> None:
        jobs[0][kind] = label

    replanned(store, change)
    before = contents(place.parent)
    with watched(writes_below=place / "exported"), pytest.raises(sl.StorageError):
        list(export_runs(store, place / "exported"))
    assert runs(["export"], store.folder) == 2
    assert contents(place.parent) == before


@pytest.mark.parametrize("part", ["a", "a/paper", "a/paper/few", "a/paper/few/fits"])
def test_an_export_follows_no_link_out_of_its_folder(part: str, place: Path, store: RunStore) -> None:
    outside = shutil.copytree(place / "tasks", place / "outside")
    before = contents(outside)
    (place / "exported" / part).parent.mkdir(parents=True)
    (place / "exported" / part).symlink_to(outside)
    with pytest.raises(sl.StorageError):
        list(export_runs(store, place / "exported"))
    assert contents(outside) == before


@pytest.mark.parametrize("kind", ["task", "seed", "config"])
def test_names_that_were_swapped_in_a_plan_are_not_believed(kind: str, store: RunStore) -> None:
    def swap(jobs: list[dict[str, Any]]) -> None:
        first = jobs[0]
        other = next(job for job in jobs if job[kind] != first[kind])
        first[kind], other[kind] = other[kind], first[kind]

    replanned(store, swap)
    found = list(job_states(store))
    assert [one.state for one in found].count("mismatched") == 2
    assert all(one.accuracy is None for one in found if one.state == "mismatched")
    with pytest.raises(sl.StorageError):
        store.runs()


def test_labels_may_change_from_sweep_to_sweep(place: Path, store: RunStore) -> None:
    renamed = the_sweep(place).replace(name="again", configs=[CONFIG | {"name": "other"}, OTHER | {"name": "few"}])
    worker = Worker(store.folder, Faulty(place / "diary", store.folder))
    assert sl.run_sweep(renamed, store.folder, worker=worker).n_found == 8
    assert {one.state for name in ("sweep", "again") for one in job_states(store, name)} == {"stored"}
    assert store.runs("again").keys() == store.runs("sweep").keys()


@pytest.mark.parametrize("part", ["fits", "controls/site_zero_embedding", "evaluations", "studies", "scores/random"])
def test_a_record_that_was_slipped_into_a_result_is_found_and_nothing_good_is_removed(
    part: str, store: RunStore
) -> None:
    first, other = store.stored_keys()[:2]
    target = store.result_folder(first) / part
    target.mkdir(parents=True, exist_ok=True)
    for path in (store.result_folder(other) / "fits").iterdir():
        shutil.copy(path, target / f"slipped{path.suffix}")
    assert list(unusable_results(store)) == [first]
    assert runs(["verify"], store.folder) == 1
    with pytest.raises(sl.StorageError):
        store.runs()
    before = contents(store.folder / "results")
    collect_garbage(store, damaged=True)
    assert contents(store.folder / "results") == before


def test_a_result_that_is_another_jobs_is_found_though_all_its_digests_hold(store: RunStore) -> None:
    first, other = (name for name in store.plan().jobs if name.config == "few" and name.seed == 0)
    stored = store.stored(first.key)
    shutil.rmtree(store.result_folder(first.key))
    shutil.copytree(store.result_folder(other.key), store.result_folder(first.key))
    forged = stored.replace(files=store.stored(other.key).files)
    write_sealed(forged, store.result_folder(first.key) / "job.json")
    assert list(unusable_results(store)) == [first.key]


def test_files_of_an_operating_system_change_nothing(place: Path, store: RunStore) -> None:
    before = store.runs()
    for path in list(place.joinpath("store").rglob("*")):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
        (path.parent / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    assert store.runs() == before
    assert states(store) == {"stored"}
    assert runs(["verify"], store.folder) == runs(["show"], store.folder) == runs(["export"], store.folder) == 0
    assert fill(place).n_found == 8
    collect_garbage(store, damaged=True)
    assert store.runs() == before


def test_a_study_keeps_nothing_behind_a_link(tmp_path: Path) -> None:
    from site_lens.runs.run_folder import check_run_folder, study_pieces
    from site_lens.studies.cache import StudyCache

    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "run" / "studies").mkdir(parents=True)
    place = study_pieces(tmp_path / "run", "transfer")
    place.symlink_to(outside)
    with pytest.raises(sl.StorageError):
        check_run_folder(tmp_path / "run")
    with pytest.raises(sl.StorageError):
        StudyCache(place, "any").arrays("a", lambda: pytest.fail("measured before it is known where to keep it"))
    assert list(outside.iterdir()) == []


def test_a_plan_of_very_many_jobs_is_read_back(store: RunStore) -> None:
    name = store.plan().jobs[0]
    jobs = tuple(name.replace(seed=seed) for seed in range(150_000))
    path = store.folder / "plans" / "large.json"
    write_sealed(SweepPlan(sweep="large", jobs=jobs), path)
    assert read_sealed(path, SweepPlan).jobs[-1].seed == 149_999


def test_nothing_is_written_that_could_not_be_read_back(store: RunStore) -> None:
    name = store.plan().jobs[0]
    failure = store.failure(name.key)
    assert failure is not None
    path = store.folder / "failures" / "large.json"
    with sl.reading_limits(sl.Limits(record_json_bytes=10_000)), pytest.raises(sl.StorageError):
        write_sealed(failure.replace(trace="x" * 20_000), path)
    assert not path.exists()
    store.fail(name, "ValueError", "half a character: \udc80", "x, " * 10**7)
    kept = store.failure(name.key)
    assert kept is not None and "\\udc80" in kept.message
