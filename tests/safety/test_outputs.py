"""Overwrite protection: outputs replace no input, no device and no file that was not written by the toolkit."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

import site_lens as sl
from site_lens.records.hashing import digest_bytes
from site_lens.records.outputs import LISTED, PARTS, is_sealed, listed, sealed
from site_lens.runs.run_folder import SAVED
from tests.cli.test_cli import run
from tests.fakes import fake_evaluation, fake_fit, fake_fits, fake_identity

MODEL = fake_identity(grid=sl.HeadGrid.full(2, 2))
ONE_SET = sl.HeadSet.of(MODEL.grid, ["L1H0"])
VECTOR = sl.ControlVector("a", "llama", {1: np.ones(4, dtype=np.float32)}, ("it is added at every token",))
ONE, TWO = fake_fits(["antonym"], model=MODEL), fake_fits(["antonym", "plural"], model=MODEL)


def run_of(*tasks: str, seed: int = 0) -> sl.Run:
    fits = sl.SiteFits(fake_fit(task, seed, model=MODEL) for task in tasks)
    return sl.Run(
        fits=fits,
        controls={"site_zero_embedding": fits},
        evaluations=sl.Evaluations(fake_evaluation(task, model=MODEL) for task in tasks),
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return run_of("antonym", "plural").save(tmp_path / "run")


@pytest.fixture
def _without_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let images be drawn by nobody: what counts here is where they go."""

    def draw(asked: list[dict[str, Any]], **options: Any) -> tuple[()]:
        for image in asked:
            image["path"].write_bytes(b"<svg></svg>")
        return ()

    monkeypatch.setattr("kaleido.write_fig_from_object_sync", draw)


WRITERS: dict[str, Callable[..., Any]] = {
    "x.html": lambda path, **options: sl.write_report(ONE, path, **options),
    "y.html": lambda path, **options: sl.write_comparison(sl.head_overlap(TWO), path, **options),
    "x.svg": lambda path, **options: sl.write_image(go.Figure(go.Scatter(y=[1, 2])), path, **options),
    "x.json": lambda path, **options: sl.save(fake_fit("antonym", model=MODEL), path, **options),
    "x.pt": lambda path, **options: sl.write_published_alphas(fake_fit("a", model=MODEL).gates, path, **options),
    "y.json": lambda path, **options: sl.write_head_sets({"a": ONE_SET}, MODEL, path, **options),
    "x.py": lambda path, **options: sl.write_head_sets({"a": ONE_SET}, MODEL, path, **options),
    "x.safetensors": lambda path, **options: sl.write_affine_edits(fake_fit("a", model=MODEL), path, **options),
    "x.gguf": lambda path, **options: sl.write_control_vector(VECTOR, path, approximate=True, **options),
    "README.md": lambda path, **options: sl.save_for_hub(ONE, path.parent, **options),
}
"""Every way to write a file, by the name of the file."""


@pytest.mark.usefixtures("_without_browser")
def test_files_of_others_and_pages_changed_by_hand_are_replaced_on_request_only(tmp_path: Path) -> None:
    for name, write in WRITERS.items():
        path = tmp_path / name.replace(".", "_") / name
        path.parent.mkdir()
        path.write_text("mine")
        with pytest.raises(sl.StorageError):
            write(path)
        assert path.read_text() == "mine", name
        assert [file.name for file in path.parent.iterdir()] == [name]
        write(path, replace=True)
        assert path.read_bytes() != b"mine", name
        write(path)  # what was written by the toolkit gives way
        if name.endswith((".html", ".svg", ".md")):
            assert is_sealed(path), name
            path.write_bytes(path.read_bytes().replace(b"a", b"b", 1) + b"my notes\n")
            before = path.read_bytes()
            with pytest.raises(sl.StorageError):
                write(path)
            assert path.read_bytes() == before, name
    for suffix in (".html", ".svg", ".png", ".pdf", ".md"):
        assert sealed(b"one\ntwo", suffix).startswith(b"one\ntwo\n")


def test_a_fit_is_not_saved_over_its_tasks_nor_over_files_of_others(tmp_path: Path) -> None:
    rows = "input,output\n" + "".join(f"a{i},b{i}\n" for i in range(30))
    for name in ("results.csv", "deep/tasks.csv"):
        table = tmp_path / "T" / name
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_text(rows)
        (tmp_path / "alias").unlink(missing_ok=True)
        (tmp_path / "alias").symlink_to(tmp_path / "T")
        for out in (tmp_path / "T", tmp_path / "alias"):
            assert run("fit", str(table), "--out", str(out), "--replace") == 2, name
    strange = tmp_path / "strange"
    for name in ("report.html", "results.csv", "studies/transfer.key", "evaluations/notes.json", "fits.txt"):
        (strange / name).parent.mkdir(parents=True, exist_ok=True)
        (strange / name).write_text("mine")
    before = contents(tmp_path)
    for command in (["fit", "demo"], ["demo"], ["methods", "demo"], ["selectors", "demo"]):
        for more in ([], ["--replace"]):  # on request, too: they stand where files of the run have to be
            assert run(*command, "--out", str(strange), *more) == 2, command
    for place in ("/dev/null", str(strange / "fits.txt")):
        assert run("fit", "demo", "--out", place, "--replace") == 2
    assert contents(tmp_path) == before


def test_only_files_that_were_written_with_a_run_go_when_it_is_replaced(saved: Path, tmp_path: Path) -> None:
    sl.write_report(sl.Run.load(saved), saved / "report.html")
    mine = {"notes.md": "n", "fits/notes.txt": "n", "studies/mine/table.csv": "n", "README.md": "n", "other.html": "n"}
    for name, text in mine.items():
        (saved / name).parent.mkdir(parents=True, exist_ok=True)
        (saved / name).write_text(text)
    (tmp_path / "precious").write_text("mine")
    (saved / "link").symlink_to(tmp_path)
    with (saved / LISTED).open("a") as stream:
        for name in ("../precious", str(tmp_path / "precious"), "link/precious", "x/../../precious"):
            stream.write(f"{digest_bytes(b'mine')}  {name}\n")
    run_of("synonym").save(saved)
    assert sl.Run.load(saved) == run_of("synonym")
    assert (tmp_path / "precious").read_text() == "mine"
    (saved / "link").unlink()
    left = contents(saved)
    assert {name: left[name].decode() for name in mine} == mine
    assert not {"report.html", "fits/antonym.json", "evaluations/plural.safetensors"} & set(left)
    assert set(listed(saved)) == set(left) - set(mine) - {LISTED}


class Cut(BaseException):
    """As if the machine stopped."""


def test_whenever_saving_is_cut_off_the_folder_holds_one_of_the_two_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = run_of("antonym"), replace(run_of("antonym", seed=3), controls={})  # files that stay, change and go
    saved = old.save(tmp_path / "saved")
    (saved / "notes.md").write_text("mine")
    move, unlink = os.replace, os.unlink
    for steps in range(1000):
        folder = Path(shutil.copytree(saved, tmp_path / f"{steps}"))
        left = steps

        def one_step(*arguments: Any, do: Callable[..., Any] = move, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Cut
            return do(*arguments, **options)

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", one_step)
            patched.setattr(os, "rename", lambda *a, **k: one_step(*a, do=move, **k))
            patched.setattr(os, "unlink", lambda *a, **k: one_step(*a, do=unlink, **k))
            patched.setattr(os, "fsync", lambda handle: None)
            try:
                new.save(folder)
                finished = True
            except Cut:
                finished = False
        assert sl.Run.load(folder) in (old, new), steps
        new.save(folder)  # and then it goes on
        assert sl.Run.load(folder) == new, steps
        assert not (folder / SAVED).exists()
        assert (folder / "notes.md").read_text() == "mine"
        shutil.rmtree(folder)
        if finished:
            break
    assert finished
    assert steps > 20


@pytest.mark.usefixtures("_without_browser")
def test_devices_pipes_folders_and_links_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    stand_ins: dict[str, Callable[[Path], object]] = {
        "pipe": os.mkfifo,
        "folder": Path.mkdir,
        "device": lambda path: path.symlink_to("/dev/null"),
        "link": lambda path: path.symlink_to(tmp_path / "precious"),
    }
    for name, write in WRITERS.items():
        for what, make in stand_ins.items():
            path = tmp_path / what / name.replace(".", "_") / name
            path.parent.mkdir(parents=True)
            make(path)
            before = path.lstat()
            for options in ({},) if what == "link" else ({}, {"replace": True}):
                with pytest.raises(sl.StorageError):
                    write(path, **options)
            after = path.lstat()
            assert (after.st_mode, after.st_ino) == (before.st_mode, before.st_ino), (name, what)
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_run_is_not_saved_or_added_to_through_a_link(saved: Path, tmp_path: Path) -> None:
    outside = run_of("antonym").fits.save(tmp_path / "outside")
    before = contents(outside)
    for part in (*PARTS, "controls/site_zero_embedding"):
        folder = Path(shutil.copytree(saved, tmp_path / part.replace("/", "_")))
        shutil.rmtree(folder / part, ignore_errors=True)
        (folder / part).symlink_to(outside)
        for write in (run_of("synonym").save, run_of("synonym").add_to):
            with pytest.raises(sl.StorageError, match=f"{part} is a link"):
                write(folder)
    assert contents(outside) == before
