"""Opening the explorer: with records alone, with a model, and refusals."""

import builtins
from pathlib import Path
from typing import Any

import pytest

import site_lens as sl
from site_lens.explorer.page import Complaint, PageSource, show_page
from site_lens.explorer.serving import free_port, serve_page
from site_lens.explorer.view import Explorer
from site_lens.models.base import LensModel
from tests.cli.test_cli import mistake
from tests.explorer.looking import fake_run
from tests.fakes import fake_fits

QUICK = sl.SiteConfig(n_steps=20, n_prompts=8, n_shots=4, n_valid=10)


@pytest.fixture(scope="module")
def fitted(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> sl.SiteFits:
    return sl.fit_site(demo, demo_tasks["antonym"], QUICK)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, fitted: sl.SiteFits) -> Path:
    return sl.Run(fitted).save(tmp_path_factory.mktemp("explored") / "run")


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Let the import of some packages fail as if they were not installed."""
    plain = builtins.__import__

    def importing(name: str, *rest: Any, **options: Any) -> Any:
        if name.split(".")[0] in packages:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return plain(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", importing)


def test_fits_alone_or_a_run_can_be_explored() -> None:
    assert sl.explore(fake_fits(["a"])).state.key == "a"
    explorer = sl.explore(fake_run())
    assert explorer.state.run.attention
    assert explorer.state.live is None


def test_a_model_answers_on_the_packages_own_rows(demo: LensModel, fitted: sl.SiteFits) -> None:
    explorer = sl.explore(fitted, demo, n_queries=12)
    assert explorer.message.value == ""
    assert "on 12 test queries" in explorer.live.results.value
    assert "expected:" in explorer.live.results.value
    assert explorer.attention.view.properties["tokens"]


def test_rows_of_other_tasks_must_be_passed_and_other_rows_are_noted(
    demo: LensModel, demo_tasks: dict[str, sl.Task], fitted: sl.SiteFits
) -> None:
    explorer = sl.explore(sl.SiteFits([fitted["antonym"].replace(task="mine")]), demo)
    assert "pass tasks=..." in explorer.live.results.value
    rows = [*demo_tasks["antonym"].test, *demo_tasks["antonym"].train]
    explorer = sl.explore(fitted, demo, tasks=sl.Task.from_examples("antonym", rows))
    assert "made on other rows" in explorer.box.children[0].value


def test_another_model_no_fits_and_missing_packages_are_refused(
    demo: LensModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(sl.MismatchError):
        sl.explore(fake_fits(["a"]), demo)
    with pytest.raises(sl.InputError):
        sl.explore(sl.SiteFits([]))
    for package in ("ipywidgets", "anywidget"):
        with monkeypatch.context() as patched, pytest.raises(sl.InputError, match=rf"needs {package}"):
            without(patched, package)
            sl.explore(fake_fits(["a"]))
    without(monkeypatch, "voila")
    with pytest.raises(sl.InputError, match=r'pip install "site_lens\[notebook\]"'):
        serve_page(PageSource(run="run", folder=str(tmp_path)), announce=lambda _: None, browser=False)


def test_a_page_shows_the_explorer_of_a_folder(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(saved)  # which is put back afterwards
    names: dict[str, object] = {}
    code = PageSource(run=saved.name, folder=str(saved.parent), model="demo", loading={"device": "cpu"}).code()
    first, last = code.split("\n")
    exec(first, names)
    shown = eval(last, names)
    assert isinstance(shown, Explorer)
    assert "expected:" in shown.live.results.value


def test_a_page_says_what_is_wrong(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(saved)
    nothing = show_page(run="<nowhere>", folder=str(tmp_path))
    assert isinstance(nothing, Complaint)
    assert "&lt;nowhere&gt; holds no run" in nothing._repr_html_()
    sl.Run(fake_fits(["a"])).save(tmp_path / "other")
    mismatch = show_page(run="other", folder=str(tmp_path), model="demo", loading={"device": "cpu"})
    assert isinstance(mismatch, Complaint)
    assert "fit it again" in mismatch.text


def test_a_port_that_is_taken_is_said(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(sl.InputError, match=f"port {port} cannot be used"):
            free_port(port)
        assert f"port {port}" in mistake(capsys, "explore", str(saved), "--port", str(port), "--no-browser")
    assert free_port(port) == port


def test_the_command_finds_mistakes_before_it_serves(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for message, arguments in {
        "no --model is given": [str(saved), "--tasks", "demo"],
        "nowhere.csv": [str(saved), "--tasks", "nowhere.csv", "--model", "demo"],
        "holds no run": [str(tmp_path)],
    }.items():
        assert message in mistake(capsys, "explore", *arguments)
