"""Run stores among files of others, and folders that are no store: nothing of others is removed or read."""

import shutil
from pathlib import Path

import pytest

import site_lens as sl
from site_lens.sweeps.maintenance import collect_garbage, job_states
from site_lens.sweeps.store import RunStore
from site_lens.sweeps.worker import Worker
from tests.cli.test_cli import run
from tests.safety.test_outputs import contents
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
    assert store.runs() == runs and {job.state for job in job_states(store)} == {"stored"}
    assert {command([name], store.folder) for name in ("verify", "show", "export")} == {0}
    assert fill(place).n_found == 4


def test_what_a_link_in_a_store_leads_to_stays(place: Path, store: RunStore) -> None:
    before = contents(place / "tasks")
    link = store.folder / "partial" / f"{store.plan().jobs[0].key}.12345678"
    link.symlink_to(place / "tasks")
    with pytest.raises(sl.StorageError):
        collect_garbage(store)
    link.unlink()
    shutil.rmtree(store.folder / "partial")
    (store.folder / "partial").symlink_to(place / "tasks")
    assert {command(arguments, store.folder) for arguments in COMMANDS} == {2}
    assert contents(place / "tasks") == before
