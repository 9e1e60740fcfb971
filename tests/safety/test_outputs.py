"""Overwrite protection: outputs replace no input, no device and no file that was not written by the toolkit."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

import site_lens as sl
from site_lens.records.hashing import digest_bytes
from site_lens.records.outputs import LISTED, is_sealed, listed
from site_lens.runs.run_folder import SAVED
from tests.cli.test_cli import run
from tests.fakes import fake_evaluation, fake_fit, fake_fits, fake_identity

MODEL = fake_identity(grid=sl.HeadGrid.full(2, 2))
FITS = fake_fits(["antonym"], model=MODEL)


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


WRITERS: dict[str, Callable[..., Any]] = {
    "x.html": lambda path, **options: sl.write_report(FITS, path, **options),
    "x.svg": lambda path, **options: sl.write_image(go.Figure(go.Scatter(y=[1, 2])), path, **options),
    "x.json": lambda path, **options: sl.save(FITS["antonym"], path, **options),
    "x.pt": lambda path, **options: sl.write_published_alphas(FITS["antonym"].gates, path, **options),
    "README.md": lambda path, **options: sl.save_for_hub(FITS, path.parent, **options),
}
"""A writer of each kind: page, image, record, foreign format, card; by the name of the file."""


def test_what_the_toolkit_did_not_write_or_was_changed_since_is_replaced_on_request_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(asked: list[dict[str, Any]], **options: Any) -> tuple[()]:
        for image in asked:
            image["path"].write_bytes(b"<svg></svg>")
        return ()

    monkeypatch.setattr("kaleido.write_fig_from_object_sync", draw)  # what counts here is where images go
    precious = tmp_path / "precious"
    precious.write_text("mine")
    make: dict[str, Callable[[Path], object]] = {
        "file": lambda path: path.write_text("mine"),
        "link": lambda path: path.symlink_to(precious),
        "pipe": os.mkfifo,
        "folder": Path.mkdir,
        "device": lambda path: path.symlink_to("/dev/null"),
    }
    for name, write in WRITERS.items():
        for what in make:
            path = tmp_path / name.replace(".", "_") / what / name
            path.parent.mkdir(parents=True)
            make[what](path)
            before = (path.lstat().st_ino, path.lstat().st_size)
            for options in [{}] if what in ("file", "link") else [{}, {"replace": True}]:
                with pytest.raises(sl.StorageError):
                    write(path, **options)
                assert (path.lstat().st_ino, path.lstat().st_size) == before, (name, what)
                assert list(path.parent.iterdir()) == [path], (name, what)
            if what in ("file", "link"):
                write(path, replace=True)
                assert path.is_file() and not path.is_symlink(), (name, what)
                write(path)  # what was written by the toolkit gives way
        if name.endswith((".html", ".svg", ".md")):
            assert is_sealed(path.parent.parent / "file" / name), name
            path = path.parent.parent / "file" / name
            path.write_bytes(path.read_bytes().replace(b"a", b"b", 1) + b"my notes\n")
            with pytest.raises(sl.StorageError):
                write(path)
    assert precious.read_text() == "mine"


def test_a_fit_is_not_saved_over_its_tasks_nor_over_files_of_others(tmp_path: Path) -> None:
    table = tmp_path / "T" / "deep" / "results.csv"
    table.parent.mkdir(parents=True)
    table.write_text("input,output\n" + "".join(f"a{i},b{i}\n" for i in range(30)))
    (tmp_path / "alias").symlink_to(tmp_path / "T")
    strange = tmp_path / "strange"
    for name in ("report.html", "results.csv", "studies/transfer.key", "evaluations/notes.json", "fits.txt"):
        (strange / name).parent.mkdir(parents=True, exist_ok=True)
        (strange / name).write_text("mine")
    before = contents(tmp_path)
    for out in ("T", "T/deep", "alias"):
        assert run("fit", str(table), "--out", str(tmp_path / out), "--replace") == 2, out
    for command in (["fit", "demo"], ["demo"], ["methods", "demo"], ["selectors", "demo"]):
        assert run(*command, "--out", str(strange)) == 2, command
        assert run(*command, "--out", str(strange), "--replace") == 2, command  # they stand where files of the run go
    for place in ("/dev/null", str(strange / "fits.txt")):
        assert run("fit", "demo", "--out", place, "--replace") == 2
    assert contents(tmp_path) == before


def test_only_files_that_were_written_with_a_run_go_when_it_is_replaced(saved: Path, tmp_path: Path) -> None:
    sl.write_report(sl.Run.load(saved), saved / "report.html")
    mine = {"notes.md": "n", "fits/notes.txt": "n", "studies/mine/table.csv": "n", "README.md": "n", "other.html": "n"}
    for name, text in mine.items():
        (saved / name).parent.mkdir(parents=True, exist_ok=True)
        (saved / name).write_text(text)
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (saved / "link").symlink_to(tmp_path)
    with (saved / LISTED).open("a") as stream:
        for name in ("../precious", str(precious), "link/precious", "x/../../precious"):
            stream.write(f"{digest_bytes(b'mine')}  {name}\n")
    run_of("synonym").save(saved)
    assert sl.Run.load(saved) == run_of("synonym")
    assert precious.read_text() == "mine"
    (saved / "link").unlink()
    left = contents(saved)
    assert {name: left[name].decode() for name in mine} == mine
    assert set(listed(saved)) == set(left) - set(mine) - {LISTED}


def test_files_that_a_list_of_others_names_outside_of_the_folder_are_not_written(saved: Path, tmp_path: Path) -> None:
    waiting = saved.rename(tmp_path / SAVED).rename(run_of("antonym").save(tmp_path / "other") / SAVED)
    (waiting.parent / "link").symlink_to(tmp_path)
    for name in ("../x/antonym.json", "link/x.json"):
        (waiting / name).parent.mkdir(parents=True, exist_ok=True)
        (waiting / name).write_text("theirs")
        with (waiting / LISTED).open("a") as stream:
            stream.write(f"{digest_bytes(b'theirs')}  {name}\n")
    run_of("synonym").save(waiting.parent)
    assert not (tmp_path / "x.json").exists() and not (tmp_path / "x").exists()


class Cut(BaseException):
    """As if the machine stopped."""


def test_whenever_saving_is_cut_off_the_folder_holds_one_of_the_two_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (replace(run_of("antonym", seed=seed), evaluations=None) for seed in (0, 3))
    new = replace(new, controls={})  # so that files change, and files go
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


def test_a_run_is_not_saved_or_added_to_through_a_link(saved: Path, tmp_path: Path) -> None:
    outside = run_of("antonym").fits.save(tmp_path / "outside")
    before = contents(outside)
    for part in ("fits", "studies", "controls/site_zero_embedding"):
        folder = Path(shutil.copytree(saved, tmp_path / part.replace("/", "_")))
        shutil.rmtree(folder / part, ignore_errors=True)
        (folder / part).symlink_to(outside)
        for write in (run_of("synonym").save, run_of("synonym").add_to):
            with pytest.raises(sl.StorageError, match=f"{part} is a link"):
                write(folder)
    assert contents(outside) == before
