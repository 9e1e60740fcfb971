"""Welcome screen, shell completion, and suggestions for misspelled names."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import site_lens as sl
from tests.cli.test_cli import mistake, run
from tests.fakes import fake_fits


def welcome(capsys: pytest.CaptureFixture[str]) -> str:
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


def test_the_welcome_screen_names_the_next_commands_and_each_exists(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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


def completed(**variables: str) -> list[str]:
    """Run the command line as bash does for completion, and return the words that it prints."""
    command = [sys.executable, "-m", "site_lens.cli"]
    return subprocess.run(
        command, env=os.environ | variables, capture_output=True, text=True, check=True
    ).stdout.split()


def test_commands_options_and_tasks_are_completed() -> None:
    for words, offered in {
        "diag": ["diagnose"],
        "fit demo --mod": ["--model"],
        "fit demo --task english-f": ["english-french", "english-french_2"],
    }.items():
        typed = {"COMP_WORDS": f"site-lens {words}", "COMP_CWORD": str(words.count(" ") + 1)}
        assert completed(_SITE_LENS_COMPLETE="complete_bash", **typed) == offered
    assert "complete" in completed(_SITE_LENS_COMPLETE="source_bash")


def test_misspelled_commands_tasks_paths_runs_and_models_get_a_suggestion(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "pairs.csv").write_text("input,output\n")
    save_run(here / "runs/mine")
    for suggestion, arguments in (
        ("'fit'", ["fitt", "demo"]),
        ("'antonym'", ["fit", "demo", "--task", "antonyms", "--out", "runs/x"]),
        ("'demo'", ["tasks", "list", "dem"]),
        ("'pairs.csv'", ["tasks", "list", "pair.csv"]),
        ("'runs/mine'", ["report", "runs/mime"]),
        ("'runs/mine'", ["report", "mine"]),
        ("'gpt2'", ["fit", "demo", "--model", "gpt-2", "--out", "runs/x"]),
        ("'demo'", ["fit", "demo", "--model", "Demo", "--out", "runs/x"]),
    ):
        assert f"did you mean {suggestion}" in mistake(capsys, *arguments).replace("Did", "did")
