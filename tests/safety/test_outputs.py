"""Outputs replace nothing of others: no input, no device, no file that was not written by the toolkit."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

import site_lens as sl
from site_lens.cli import main
from site_lens.records.outputs import LISTED, is_sealed, listed, sealed
from site_lens.records.serialization import record_paths
from site_lens.runs.run_folder import SAVED, read_mark, study_mark, write_mark
from tests.fakes import fake_evaluation, fake_fit, fake_fits, fake_identity, fake_transfer

MODEL = fake_identity(grid=sl.HeadGrid.full(2, 2))


def run_of(*tasks: str, seed: int = 0) -> sl.Run:
    fits = sl.SiteFits(fake_fit(task, seed, model=MODEL) for task in tasks)
    return sl.Run(
        fits=fits,
        controls={"site_zero_embedding": fits},
        evaluations=sl.Evaluations(fake_evaluation(task, model=MODEL) for task in tasks),
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def code(*arguments: str) -> int:
    """Run the command line in this process and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return run_of("antonym", "plural").save(tmp_path / "run")


# One file


def figure_into(path: Path, **options: Any) -> Path:
    return sl.write_image(go.Figure(go.Scatter(y=[1, 2])), path, **options)


WRITERS: dict[str, tuple[str, Callable[..., Any]]] = {
    "report": ("x.html", lambda path, **options: sl.write_report(fake_fits(["antonym"], model=MODEL), path, **options)),
    "comparison": (
        "x.html",
        lambda path, **options: sl.write_comparison(
            sl.head_overlap(fake_fits(["antonym", "plural"], model=MODEL)), path, **options
        ),
    ),
    "image": ("x.svg", figure_into),
    "record": ("x.json", lambda path, **options: sl.save(fake_fit("antonym", model=MODEL), path, **options)),
    "alphas": (
        "x.pt",
        lambda path, **options: sl.write_published_alphas(fake_fit("antonym", model=MODEL).gates, path, **options),
    ),
    "card": (
        "README.md",
        lambda path, **options: sl.save_for_hub(fake_fits(["antonym"], model=MODEL), path.parent, **options),
    ),
}


@pytest.fixture
def without_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let images be drawn by nobody: what counts here is where they go."""

    def draw(asked: list[dict[str, Any]], **options: Any) -> tuple[()]:
        for one in asked:
            one["path"].write_bytes(b"<svg></svg>")
        return ()

    monkeypatch.setattr("kaleido.write_fig_from_object_sync", draw)


@pytest.mark.usefixtures("without_browser")
@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_of_others_is_replaced_where_that_is_asked_for_alone(writer: str, tmp_path: Path) -> None:
    name, write = WRITERS[writer]
    path = tmp_path / name
    path.write_text("mine")
    with pytest.raises(sl.StorageError):
        write(path)
    assert path.read_text() == "mine"
    assert [one.name for one in tmp_path.iterdir()] == [name]
    write(path, replace=True)
    assert path.read_bytes() != b"mine"
    write(path)  # what was written by the toolkit gives way unasked


@pytest.mark.usefixtures("without_browser")
@pytest.mark.parametrize("writer", ["report", "image", "card"])
def test_a_page_that_was_changed_by_hand_is_no_page_of_ours_any_more(writer: str, tmp_path: Path) -> None:
    name, write = WRITERS[writer]
    write(tmp_path / name)
    assert is_sealed(tmp_path / name)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes().replace(b"a", b"b", 1) + b"my notes\n")
    before = (tmp_path / name).read_bytes()
    with pytest.raises(sl.StorageError):
        write(tmp_path / name)
    assert (tmp_path / name).read_bytes() == before


@pytest.mark.usefixtures("without_browser")
@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("what", ["device", "pipe", "folder", "link to a device", "link to a file of others"])
def test_whatever_is_no_file_of_ours_stays_what_it_is(what: str, writer: str, tmp_path: Path) -> None:
    name, write = WRITERS[writer]
    path = tmp_path / name
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "link to a file of others":
        (tmp_path / "precious").write_text("mine")
        path.symlink_to(tmp_path / "precious")
    else:
        path.symlink_to("/dev/null")
    before = path.lstat()
    for options in ({}, {"replace": True}) if what != "link to a file of others" else ({},):
        with pytest.raises(sl.StorageError):
            write(path, **options)
    after = path.lstat()
    assert (after.st_mode, after.st_ino) == (before.st_mode, before.st_ino)
    if what == "link to a file of others":
        assert (tmp_path / "precious").read_text() == "mine"


def test_a_page_goes_where_a_link_leads_if_an_earlier_page_lies_there(tmp_path: Path) -> None:
    fits = fake_fits(["antonym"], model=MODEL)
    sl.write_report(fits, tmp_path / "first.html")
    (tmp_path / "latest.html").symlink_to(tmp_path / "first.html")
    sl.write_report(fits, tmp_path / "latest.html", title="Another")
    assert (tmp_path / "latest.html").is_symlink()
    assert "Another" in (tmp_path / "first.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("place", ["fits/x.json", "fits/x.html", "FITS/x.html", "controls/a/x.html", "studies/x"])
def test_nothing_but_records_goes_among_the_records_of_a_run(place: str, saved: Path) -> None:
    before = contents(saved)
    if place.startswith("FITS") and not (saved / "FITS").exists():
        (saved / "FITS").mkdir()  # a system that does not tell upper case from lower
    with pytest.raises(sl.InputError):
        sl.write_report(sl.Run.load(saved), saved / place)
    assert contents(saved) == before


def test_an_empty_name_is_no_output() -> None:
    with pytest.raises(sl.InputError):
        sl.write_report(fake_fits(["a"]), "")
    with pytest.raises(sl.InputError):
        run_of("a").save(" ")


def test_a_seal_holds_for_what_it_was_made_of_alone() -> None:
    for suffix in (".html", ".svg", ".png", ".pdf", ".md"):
        made = sealed(b"one\ntwo", suffix)
        assert made.startswith(b"one\ntwo\n")
        assert sealed(b"one\ntwo", suffix) == made


# Commands on inputs


@pytest.mark.parametrize("place", ["fits/antonym.json", "results.csv", "new", "fits"])
def test_a_report_replaces_nothing_of_the_run_that_it_shows(place: str, saved: Path) -> None:
    before = contents(saved)
    ended = [code("report", str(saved), "--out", str(saved / place), *more) for more in ([], ["--replace"])]
    assert ended == ([0, 0] if place == "new" else [2, 2])
    assert {name: content for name, content in contents(saved).items() if name not in ("new", LISTED)} == {
        name: content for name, content in before.items() if name != LISTED
    }


@pytest.mark.parametrize("alias", ["itself", "tensors", "hard link", "link", "the run", "link to the run"])
def test_a_comparison_replaces_nothing_that_it_compares(alias: str, saved: Path, tmp_path: Path) -> None:
    one, other = (record_paths(saved / "fits" / task)[1] for task in ("antonym", "plural"))
    first = str(saved) if "run" in alias else str(one)
    out = {"itself": one, "tensors": record_paths(one)[0], "the run": saved}.get(alias, tmp_path / "out.json")
    if alias == "hard link":
        os.link(one, out)
    elif alias.startswith("link"):
        out.symlink_to(saved if "run" in alias else one)
    before = contents(saved)
    for more in ([], ["--replace"]):
        assert code("compare", first, str(other), "--out", str(out), *more) == 2
    assert contents(saved) == before
    assert os.path.lexists(out)


@pytest.mark.parametrize("more", [[], ["--replace"]])
@pytest.mark.parametrize("name", ["results.csv", "tasks.csv", "deep/tasks.csv"])
def test_a_fit_is_not_saved_into_a_folder_that_holds_its_tasks(name: str, more: list[str], tmp_path: Path) -> None:
    table = tmp_path / "T" / name
    table.parent.mkdir(parents=True)
    table.write_text("input,output\n" + "".join(f"a{i},b{i}\n" for i in range(30)))
    (tmp_path / "alias").symlink_to(tmp_path / "T")
    for out in (tmp_path / "T", tmp_path / "alias"):
        assert code("fit", str(table), "--out", str(out), *more) == 2
    assert contents(tmp_path / "T") == {name: table.read_bytes()}


@pytest.mark.parametrize("command", ["fit", "demo", "methods", "selectors"])
def test_a_folder_with_files_of_others_is_refused_unasked(command: str, tmp_path: Path) -> None:
    names = ("report.html", "results.csv", "studies/transfer.key", "evaluations/notes.json", "fits.txt")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    before = contents(tmp_path)
    for more in ([], ["--replace"]):  # asked, too: they stand where files of the run have to be
        assert code(command, *([] if command == "demo" else ["demo"]), "--out", str(tmp_path), *more) == 2
        assert contents(tmp_path) == before


@pytest.mark.parametrize("out", ["/dev/null", "PIPE", "FILE"])
def test_what_is_no_folder_does_not_become_one(out: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "PIPE")
    (tmp_path / "FILE").write_text("mine")
    place = Path(out) if out.startswith("/") else tmp_path / out
    before = place.lstat()
    assert code("fit", "demo", "--out", str(place), "--replace") == 2
    assert (place.lstat().st_ino, place.lstat().st_mode) == (before.st_ino, before.st_mode)


# A run in the place of another


def test_only_what_was_written_with_a_run_goes_when_it_is_replaced(saved: Path) -> None:
    sl.write_report(sl.Run.load(saved), saved / "report.html")
    mine = {"notes.md": "n", "fits/notes.txt": "n", "studies/mine/table.csv": "n", "README.md": "n", "other.html": "n"}
    for name, text in mine.items():
        (saved / name).parent.mkdir(parents=True, exist_ok=True)
        (saved / name).write_text(text)
    run_of("synonym").save(saved)
    assert sl.Run.load(saved) == run_of("synonym")
    left = contents(saved)
    assert {name: left[name].decode() for name in mine} == mine
    assert not {"report.html", "fits/antonym.json", "evaluations/plural.safetensors"} & set(left)
    assert set(listed(saved)) == set(left) - set(mine) - {LISTED}


@pytest.mark.parametrize("name", ["report.html", "results.csv", "fits/stranger.json", "studies/x.key"])
@pytest.mark.parametrize("kind", ["new", "changed"])
def test_where_a_file_of_others_stands_in_the_way_nothing_is_done(kind: str, name: str, saved: Path) -> None:
    sl.write_report(sl.Run.load(saved), saved / "report.html")
    (saved / name).parent.mkdir(exist_ok=True)
    if kind == "new" and (saved / name).exists():
        (saved / name).unlink()
    (saved / name).write_bytes(b"mine" if kind == "new" else (contents(saved).get(name, b"") + b"mine"))
    before = contents(saved)
    with pytest.raises(sl.StorageError):
        run_of("synonym").save(saved)
    assert contents(saved) == before


def test_a_record_of_another_run_does_not_join_the_next_one(saved: Path) -> None:
    sl.SiteFits(run_of("copied").fits.values()).save(saved.parent / "elsewhere")
    for path in (saved.parent / "elsewhere").iterdir():
        shutil.copy(path, saved / "fits" / path.name)
    with pytest.raises(sl.StorageError):
        run_of("synonym").save(saved)
    assert set(sl.Run.load(saved).fits) == {"antonym", "plural", "copied"}


def test_a_run_without_a_list_as_the_first_version_wrote_it_is_replaced_and_nothing_else(saved: Path) -> None:
    write_mark(study_mark(saved, "transfer"), "0" * 64)
    study_mark(saved, "transfer").write_text("0" * 64)
    (saved / "report.html").write_text('<html>\n<meta name="generator" content="site_lens 0.1.0">\n</html>')
    (saved / LISTED).unlink()
    (saved / "notes.md").write_text("mine")
    run_of("synonym").save(saved)
    assert sl.Run.load(saved) == run_of("synonym")
    assert set(contents(saved)) - set(listed(saved)) == {LISTED, "notes.md"}
    assert not (saved / "report.html").exists()
    assert not (saved / "studies").exists()


@pytest.mark.parametrize("name", ["report.html", "results.csv", "fits/mine.json", "studies/x.key"])
def test_without_a_list_files_that_do_not_say_that_they_are_ours_stay(name: str, saved: Path) -> None:
    (saved / LISTED).unlink()
    (saved / name).parent.mkdir(exist_ok=True)
    (saved / name).write_text("[1]")
    before = contents(saved)
    with pytest.raises(sl.StorageError):
        run_of("synonym").save(saved)
    assert contents(saved) == before


class Cut(BaseException):
    """As if the machine stopped."""


@pytest.mark.parametrize("with_list", [True, False])
def test_whenever_saving_is_cut_off_the_folder_holds_one_of_the_two_runs(
    with_list: bool, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = run_of("antonym", "plural"), run_of("plural", "synonym", seed=3)
    (saved / "notes.md").write_text("mine")
    if not with_list:
        (saved / LISTED).unlink()
    rename, unlink = os.replace, os.unlink
    for steps in range(1000):
        folder = Path(shutil.copytree(saved, tmp_path / f"{steps}"))
        left = steps

        def one_step(*arguments: Any, do: Callable[..., Any] = rename, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Cut
            return do(*arguments, **options)

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", one_step)
            patched.setattr(os, "rename", lambda *a, **k: one_step(*a, do=rename, **k))
            patched.setattr(os, "unlink", lambda *a, **k: one_step(*a, do=unlink, **k))
            patched.setattr(os, "fsync", lambda handle: None)
            try:
                new.save(folder)
                finished = True
            except Cut:
                finished = False
        found = sl.Run.load(folder)
        assert found in (old, new), steps
        assert (folder / "notes.md").read_text() == "mine"
        new.save(folder)  # and then it goes on
        assert sl.Run.load(folder) == new, steps
        assert not (folder / SAVED).exists()
        assert (folder / "notes.md").read_text() == "mine"
        shutil.rmtree(folder)
        if finished:
            break
    assert finished
    assert steps > 20


def test_a_list_that_names_files_elsewhere_removes_none_of_them(saved: Path, tmp_path: Path) -> None:
    from site_lens.records.hashing import digest_bytes

    (tmp_path / "precious").write_text("mine")
    (saved / "link").symlink_to(tmp_path)
    digest = digest_bytes(b"mine")
    with (saved / LISTED).open("a") as stream:
        for name in ("../precious", str(tmp_path / "precious"), "link/precious", "x/../../precious"):
            stream.write(f"{digest}  {name}\n")
    run_of("synonym").save(saved)
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_list_that_is_a_link_is_not_written_through(saved: Path, tmp_path: Path) -> None:
    shutil.move(saved / LISTED, tmp_path / "list")
    (saved / LISTED).symlink_to(tmp_path / "list")
    before = (tmp_path / "list").read_bytes()
    for write in (run_of("a").save, run_of("a").add_to):
        with pytest.raises(sl.StorageError):
            write(saved)
    sl.save(fake_fit("a", model=MODEL), saved / "fits" / "a")
    assert (tmp_path / "list").read_bytes() == before


# Studies and their marks


def test_a_run_takes_no_study_that_its_report_does_not_show() -> None:
    run = run_of("antonym", "plural")
    for study in (fake_fit("antonym"), run.fits, None, "transfer"):
        with pytest.raises(sl.InputError):
            run.with_study("x", study)  # type: ignore[arg-type]
    with pytest.raises(sl.InputError):
        run.with_study("../x", fake_transfer("abc", n_queries=4))


def test_marks_of_commands_and_of_studies_are_read_alike(tmp_path: Path) -> None:
    write_mark(tmp_path / "a.key", "f" * 64, seconds=1.5)
    assert read_mark(tmp_path / "a.key") == {"key": "f" * 64, "seconds": 1.5}
    (tmp_path / "b.key").write_text("e" * 64)  # as 0.1.0 wrote it
    assert read_mark(tmp_path / "b.key") == {"key": "e" * 64}
    write_mark(tmp_path / "b.key", "d" * 64)
    for content in (b"", b"\xff", b"[1]", b"7"):
        (tmp_path / "c.key").write_bytes(content)
        assert read_mark(tmp_path / "c.key").get("key") != "d" * 64
