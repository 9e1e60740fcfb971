"""Welcome screen, shell completion, and suggestions for misspelled names."""

import os
import re
from pathlib import Path

import pytest

import site_lens as sl
from tests.cli.test_cli import Printed, mistake, run
from tests.fakes import fake_fits


def welcome(capsys: Printed) -> str:
    assert run() == 0
    return capsys.readouterr().out


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save_run(folder: Path, *, age: int = 0) -> None:
    sl.Run(fake_fits(["antonym"])).save(folder)
    then = (folder / "fits").stat().st_mtime - age
    os.utime(folder / "fits", (then, then))


def test_the_welcome_screen_names_the_next_commands_and_each_exists(here: Path, capsys: Printed) -> None:
    screens = [welcome(capsys)]
    assert "Runs here" not in screens[0] and "site-lens demo " in screens[0]
    (here / "my pairs.csv").write_text("input,output\n")
    screens.append(welcome(capsys))
    assert "site-lens fit 'my pairs.csv' --out runs/mine" in screens[1]
    save_run(here / "runs/old", age=100)
    screens.append(welcome(capsys))
    assert "site-lens report runs/old " in screens[2] and "site-lens compare" not in screens[2]
    save_run(here / "new")
    (here / "new/report.html").write_text("")
    screens.append(welcome(capsys))
    assert "newest first: new, runs/old" in screens[3]
    assert "  new/report.html " in screens[3] and "site-lens compare new runs/old" in screens[3]
    for command in set(re.findall(r"^  site-lens (\S+)", "".join(screens), re.MULTILINE)):
        assert run(command, "--help") == 0
        assert command in capsys.readouterr().out


def test_misspelled_commands_tasks_paths_runs_and_models_get_a_suggestion(here: Path, capsys: Printed) -> None:
    (here / "pairs.csv").write_text("input,output\n")
    save_run(here / "runs/mine")
    for suggestion, arguments in (
        ("'fit'", ["fitt", "demo"]),
        ("'antonym'", ["fit", "demo", "--task", "antonyms", "--out", "runs/x"]),
        ("'pairs.csv'", ["tasks", "list", "pair.csv"]),
        ("'runs/mine'", ["report", "runs/mime"]),
        ("'gpt2'", ["fit", "demo", "--model", "gpt-2", "--out", "runs/x"]),
    ):
        assert f"did you mean {suggestion}" in mistake(capsys, *arguments).replace("Did", "did")
