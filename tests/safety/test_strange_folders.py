"""Folders that came from somewhere else: nothing is read without end, nothing is written or removed outside of them."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import site_lens as sl
from site_lens.records.outputs import PARTS
from site_lens.runs.run_folder import read_mark, study_mark
from site_lens.site.head_path import HeadPaths
from tests.fakes import fake_evaluation, fake_fits, fake_identity, fake_transfer
from tests.safety.mutations import damaged, texts
from tests.safety.watching import only_our_errors, watched
from tests.site.test_head_path import fake_path

MODEL = fake_identity(grid=sl.HeadGrid.full(2, 2))


def a_run() -> sl.Run:
    fits = fake_fits(["antonym", "plural"], model=MODEL)
    return sl.Run(
        fits=fits,
        controls={"site_zero_embedding": fits},
        evaluations=sl.Evaluations([fake_evaluation("antonym", model=MODEL)]),
        scores={"site": sl.ScoresByTask([fit.gates for fit in fits.values()])},
        studies={"transfer": fake_transfer("abcde", n_queries=4)},
        paths=HeadPaths([fake_path(((4,), (2,)), ((0.5,), (0.5,)), prices=(0.0, 0.01))]),
    )


FEW = sl.Run(fits=fake_fits(["antonym"], model=MODEL))


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as it was saved, with a card."""
    folder = tmp_path_factory.mktemp("honest") / "run"
    a_run().save(folder)
    (folder / "README.md").write_text("---\n---\n# Fits\n")
    study_mark(folder, "transfer").write_text("key")
    assert sl.Run.load(folder) == a_run()  # imports what any run needs
    assert set(PARTS) - {"attention"} <= {path.name for path in folder.iterdir()}
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def removed(path: Path) -> Path:
    """Remove whatever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return path


def changed(data: st.DataObject, folder: Path, outside: Path) -> None:
    """Do to one file or folder of a run what a stranger might have done."""
    paths = sorted(path for path in folder.rglob("*"))
    path = data.draw(st.sampled_from(paths))
    name = data.draw(texts.filter(lambda text: text not in (".", "..", "") and not {"/", "\0"} & set(text)))
    stem = os.fsdecode(name.encode("utf-8", "surrogatepass")[:99])  # half a character is a name to Linux
    match data.draw(st.sampled_from(["damage", "remove", "rename", "outside", "loop", "endless", "pipe", "folder"])):
        case "damage" if path.is_file():
            path.write_bytes(data.draw(damaged(path.read_bytes())))
        case "rename":
            target = path.parent / f"{stem}{path.suffix}"
            if target != path:
                path.rename(removed(target))
        case kind:
            removed(path)
            if kind in ("outside", "loop", "endless"):
                path.symlink_to({"outside": outside, "loop": folder, "endless": Path("/dev/zero")}[kind])
            elif kind == "pipe":
                os.mkfifo(path)
            elif kind == "folder":
                path.mkdir()


@given(data=st.data())
def test_folders_that_were_changed_are_read_or_refused_and_written_within(
    data: st.DataObject, honest: Path, tmp_path: Path
) -> None:
    place = tmp_path / "case"
    shutil.rmtree(place, ignore_errors=True)
    folder, outside = place / "run", place / "outside"
    shutil.copytree(honest, folder)
    shutil.copytree(honest / "fits", outside)
    before = contents(outside)
    for _ in range(data.draw(st.integers(1, 2))):
        changed(data, folder, outside)
    for read in (sl.Run.load, sl.from_hub, lambda path: read_mark(study_mark(path, "transfer"))):
        with watched(), only_our_errors():
            read(folder)
    with pytest.MonkeyPatch.context() as patched, watched(writes_below=folder), only_our_errors():
        patched.setattr(os, "fsync", lambda handle: None)  # nothing here outlives the test
        FEW.save(folder)
    assert contents(outside) == before


# Names


# Links


def test_a_run_is_not_saved_or_added_to_through_a_link(honest: Path, tmp_path: Path) -> None:
    outside = a_run().fits.save(tmp_path / "outside")
    before, run = contents(outside), a_run()
    for i, part in enumerate((*PARTS, "controls/site_zero_embedding", "scores/site")):
        folder = Path(shutil.copytree(honest, tmp_path / str(i)))
        if (folder / part).exists():
            shutil.rmtree(folder / part)
        (folder / part).symlink_to(outside)
        for write in (run.save, run.add_to, lambda path: run.with_study("transfer", run.studies["transfer"], path)):
            with pytest.raises(sl.StorageError, match=f"{part} is a link"):
                write(folder)
    assert contents(outside) == before


# What goes to the hub


def test_folders_of_tasks_that_lead_to_each_other_end(tmp_path: Path) -> None:
    for i in range(20):  # 20 ways at each of 40 levels
        (tmp_path / f"{i}.json").symlink_to(tmp_path)
    with watched(), pytest.raises(sl.TaskFileError):
        sl.load_tasks(tmp_path)
