"""Run stores that came from elsewhere, and folders that are none: nothing beyond them is removed, read or written."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import site_lens as sl
from site_lens.records.hashing import digest_json
from site_lens.sweeps.maintenance import collect_garbage, damaged_results, export_runs, job_states, unusable_results
from site_lens.sweeps.store import RunStore
from site_lens.sweeps.store_mark import FOLDERS, MARK_FILE
from site_lens.sweeps.store_schema import write_sealed
from site_lens.sweeps.worker import Worker
from tests.cli.test_cli import run
from tests.safety.test_strange_folders import contents, removed
from tests.safety.watching import limited_memory, watched
from tests.sweeps.faulty import Faulty, small_sweep

COMMANDS = (["list"], ["show"], ["verify"], ["gc"], ["gc", "--damaged"], ["export"])


def fill(folder: Path) -> sl.SweepOutcome:
    (folder / "diary").mkdir(exist_ok=True)
    worker = Worker(folder / "store", Faulty(folder / "diary", folder / "store"))
    return sl.run_sweep(small_sweep(folder, 2, n_seeds=2), worker.folder, worker=worker)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the store of a finished sweep, a failure, and leftovers of every kind."""
    folder = tmp_path_factory.mktemp("swept")
    assert fill(folder).ok
    store = RunStore(folder / "store")
    name = store.plan().jobs[0]
    store.fail(name, "ValueError", "no")
    for leftovers in ("partial", "damaged"):  # the latter as site_lens 0.1 named them
        (store.folder / leftovers / f"{name.key}.0123abcd").mkdir(parents=True)
    (store.folder / "claims" / f"{name.key}.lock").touch()
    return folder


@pytest.fixture
def place(swept: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(swept, tmp_path / "place")


@pytest.fixture
def store(place: Path) -> RunStore:
    return RunStore(place / "store")


def command(arguments: list[str], store: Path) -> int:
    """Run a command of sweeps on a store; its exit code."""
    target = [str(store.parent / "exported")] if arguments[0] == "export" else []
    return run("sweep", arguments[0], str(store), *target, *arguments[1:])


def states(store: RunStore) -> set[str]:
    return {job.state for job in job_states(store)}


def test_a_folder_that_is_no_store_is_left_alone(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = place / "mine"
    for name in ("partial/thesis/a.txt", "claims/door.lock", "results/mine/b.txt", "damaged/d/e.txt"):
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).write_text("mine")
    before = contents(mine)
    for arguments in COMMANDS:
        assert command(arguments, mine) == 2, arguments
        assert "is no run store" in capsys.readouterr().err
    with pytest.raises(sl.StorageError):
        RunStore.create(mine)
    assert contents(mine) == before


def test_files_of_others_in_a_store_are_neither_cleared_nor_read(place: Path, store: RunStore) -> None:
    key, runs = store.plan().jobs[0].key, store.runs()
    for path in list(store.folder.rglob("*")):  # as macOS writes them
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    for folder in ("partial", "claims", "results", "damaged", "events"):
        for name in ("mine", key[:-1], f"{key}x", ".DS_Store", f"{key}.lock.txt"):
            (store.folder / folder / name).mkdir()
            (store.folder / folder / name / "work.txt").write_text("mine")
    before = contents(store.folder)
    assert len(collect_garbage(store, damaged=True)) == 2
    assert all(Path(name).parent.name == "claims" for name in before.keys() - contents(store.folder).keys())
    assert (store.runs(), states(store)) == (runs, {"stored"})
    assert (
        command(["verify"], store.folder) == command(["show"], store.folder) == command(["export"], store.folder) == 0
    )
    assert fill(place).n_found == 4


def test_a_store_of_which_a_folder_lies_elsewhere_is_refused(swept: Path, tmp_path: Path) -> None:
    for part in FOLDERS:
        place = shutil.copytree(swept, tmp_path / part)
        folder, outside = place / "store", place / "outside"
        opened = RunStore(folder)
        shutil.move(folder / part, outside)
        (outside / "work.txt").write_text("mine")
        (folder / part).symlink_to(outside)
        before = contents(outside)
        for arguments in COMMANDS:
            assert command(arguments, folder) == 2, (part, arguments)
        with pytest.raises(sl.StorageError):
            fill(place)
        if part in ("partial", "claims", "damaged", "results"):
            with pytest.raises(sl.StorageError):  # whenever the link was made
                collect_garbage(opened, damaged=True)
        assert contents(outside) == before, part


def test_a_link_in_a_store_is_removed_and_its_target_stays(place: Path, store: RunStore) -> None:
    outside = shutil.copytree(place / "tasks", place / "outside")
    before = contents(outside)
    keys = [name.key for name in store.plan().jobs]
    shutil.rmtree(store.result_folder(keys[2]))
    for name in (f"partial/{keys[0]}.12345678", f"damaged/{keys[1]}.12345678", f"results/{keys[2]}"):
        (store.folder / name).symlink_to(outside)
    (store.folder / "claims" / f"{keys[3]}.lock").symlink_to(outside / "task_0.csv")
    (store.folder / "partial" / f"{keys[3]}.12345678").mkdir()
    (store.folder / "partial" / f"{keys[3]}.12345678" / "fits").symlink_to(outside)
    assert len(collect_garbage(store, damaged=True)) == 3 + 4
    assert fill(place).stored == {keys[2]}
    assert contents(outside) == before


def test_a_store_of_0_1_0_is_known_by_its_plan_and_then_marked(place: Path) -> None:
    folder = place / "store"
    (folder / MARK_FILE).unlink()
    assert states(RunStore(folder)) == {"stored"}
    assert not (folder / MARK_FILE).exists()
    assert fill(place).n_found == 4
    assert (folder / MARK_FILE).exists()
    (folder / MARK_FILE).unlink()
    (folder / "plans" / "sweep.json").write_text("{}")
    with pytest.raises(sl.StorageError):
        RunStore(folder)


STAND_INS: dict[str, Callable[[Path, Path], object]] = {
    "file": lambda path, outside: path.write_text("a file"),
    "dangling link": lambda path, outside: path.symlink_to(outside / "nowhere"),
    "link": lambda path, outside: path.symlink_to(outside),
    "pipe": lambda path, outside: os.mkfifo(path),
    "device": lambda path, outside: path.symlink_to("/dev/zero"),
    "folder": lambda path, outside: path.mkdir(),
}


def test_what_stands_in_the_place_of_a_result_is_reported_cleared_and_computed_again(
    place: Path, store: RunStore
) -> None:
    key = store.stored_keys()[0]
    result = store.result_folder(key)
    for kind, stand_in in STAND_INS.items():
        for clears in (True, False):  # a sweep sets it aside by itself
            shutil.rmtree(result)
            stand_in(result, place / "tasks")
            assert states(store) == {"stored", "damaged"}, kind
            assert list(damaged_results(store)) == [key], kind
            with pytest.raises(sl.StorageError):
                store.runs()
            assert not clears or result in collect_garbage(store, damaged=True), kind
            assert fill(place).stored == {key}, kind
            assert damaged_results(store) == {}, kind


def test_whatever_stands_in_the_place_of_a_file_every_command_ends(place: Path) -> None:
    folder = place / "store"
    (folder / "events" / "other.jsonl").touch()
    result = RunStore(folder).result_folder(RunStore(folder).stored_keys()[0])
    paths = [folder / MARK_FILE, result / "job.json", min((result / "fits").iterdir())]
    paths += [min((folder / name).iterdir()) for name in ("plans", "events", "failures", "claims", "models")]
    for kind in ("pipe", "device", "folder"):
        for name in [str(path.relative_to(folder)) for path in paths]:
            case = shutil.copytree(place, place.parent / "case")
            STAND_INS[kind](removed(case / "store" / name), case / "tasks")
            with limited_memory():
                codes = {arguments[0]: command(arguments, case / "store") for arguments in COMMANDS}
            assert codes["gc"] == 0 and set(codes.values()) <= {0, 1, 2}, (kind, name)
            if name != MARK_FILE and not name.startswith("plans/"):  # which a sweep does not replace
                assert fill(case).ok, (kind, name)
            shutil.rmtree(case)


def test_an_export_goes_nowhere_else_whatever_a_plan_says(place: Path, store: RunStore) -> None:
    plan = store.folder / "plans" / "sweep.json"
    content = json.loads(plan.read_text())["content"]
    before = contents(place.parent)
    for label in ("../../out", "/tmp/out", "..", ".", "", "a/b", "a\0b", "x" * 300, "con", "a b"):
        changed = content | {"jobs": [content["jobs"][0] | {"template": label}]}
        plan.write_text(json.dumps({"digest": digest_json(changed), "content": changed}))
        with watched(writes_below=place / "exported"), pytest.raises(sl.StorageError):
            list(export_runs(store, place / "exported"))
    plan.write_text(json.dumps({"digest": digest_json(content), "content": content}, indent=1) + "\n")
    outside = shutil.copytree(place / "tasks", place / "outside")
    for part in ("a", "a/paper", "a/paper/few", "a/paper/few/fits"):
        shutil.rmtree(place / "exported", ignore_errors=True)
        (place / "exported" / part).parent.mkdir(parents=True)
        (place / "exported" / part).symlink_to(outside)
        with pytest.raises(sl.StorageError):
            list(export_runs(store, place / "exported"))
    assert contents(place / "tasks") == contents(outside)
    assert before.keys() <= contents(place.parent).keys()


def test_a_record_of_another_job_in_a_result_is_found_and_not_removed(store: RunStore) -> None:
    first, other = (name for name in store.plan().jobs if name.seed == 0)
    folder = store.result_folder(first.key)
    for part in ("fits", "controls/site_zero_embedding", "evaluations"):
        slipped = [
            Path(shutil.copy(path, folder / part / f"slipped{path.suffix}"))
            for path in (store.result_folder(other.key) / part).iterdir() if path.suffix != ".key"
        ]  # fmt: skip
        assert list(unusable_results(store)) == [first.key], part
        assert command(["verify"], store.folder) == 1
        with pytest.raises(sl.StorageError):
            store.runs()
        assert not [path for path in collect_garbage(store, damaged=True) if path.parent.name == "results"]
        for path in slipped:
            path.unlink()
    forged = store.stored(first.key).replace(files=store.stored(other.key).files)
    shutil.rmtree(folder)
    shutil.copytree(store.result_folder(other.key), folder)
    write_sealed(forged, folder / "job.json")
    assert list(unusable_results(store)) == [first.key]


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
