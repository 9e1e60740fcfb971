"""The first minute at the command line: what to do next, completion, and what was meant."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import site_lens as sl
from site_lens.cli import main
from site_lens.cli.welcome import runs_in
from tests.fakes import fake_fits


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run the command line in this process and return what it printed."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 0
    return capsys.readouterr().out


def commands_of(text: str) -> list[str]:
    """List the commands that a text tells the reader to type."""
    return re.findall(r"^  site-lens (\S+)", text, re.MULTILINE)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save_run(folder: Path, *, age: int = 0) -> None:
    sl.Run(fake_fits(["antonym"])).save(folder)
    then = (folder / "fits").stat().st_mtime - age
    os.utime(folder / "fits", (then, then))


def test_in_an_empty_folder_it_begins_with_the_demo(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys)
    assert commands_of(text)[0] == "demo"
    assert "Runs here" not in text


def test_a_table_that_lies_here_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "my pairs.csv").write_text("input,output\n")
    assert "site-lens fit 'my pairs.csv' --out runs/mine" in shown(capsys)


def test_a_run_without_a_report_is_to_get_one(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_run(here / "runs/mine")
    text = shown(capsys)
    assert "site-lens report runs/mine " in text
    assert "compare" not in commands_of(text)


def test_of_several_runs_the_newest_comes_first_and_is_compared(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_run(here / "runs/old", age=100)
    save_run(here / "new")
    (here / "new/report.html").write_text("")
    assert runs_in(here) == [Path("new"), Path("runs/old")]
    text = shown(capsys)
    assert "  new/report.html " in text
    assert "site-lens compare new runs/old" in text
    assert "report" not in commands_of(text)


def test_every_command_that_is_told_exists(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = set(commands_of(shown(capsys)))
    save_run(here / "runs/mine")
    save_run(here / "runs/other")
    told |= set(commands_of(shown(capsys)))
    for command in told:
        assert command in shown(capsys, command, "--help")


def complete(words: str) -> list[str]:
    """Ask what bash would be offered for the last word."""
    asked = {"COMP_WORDS": f"site-lens {words}", "COMP_CWORD": str(words.count(" ") + 1)}
    environment = os.environ | asked | {"_SITE_LENS_COMPLETE": "complete_bash"}
    command = [sys.executable, "-m", "site_lens.cli"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("diag", ["diagnose"]),
        ("fit demo --mod", ["--model"]),
        ("fit demo --task english-f", ["english-french", "english-french_2"]),
    ],
)
def test_commands_options_and_tasks_are_completed(words: str, offered: list[str]) -> None:
    assert complete(words) == offered


def test_completion_can_be_installed() -> None:
    environment = os.environ | {"_SITE_LENS_COMPLETE": "source_bash"}
    command = [sys.executable, "-m", "site_lens.cli"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "complete" in done.stdout and "site-lens" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["fitt", "demo"], "Did you mean 'fit'?"),
        (["fit", "demo", "--task", "antonyms", "--out", "runs/x"], "did you mean 'antonym'"),
        (["tasks", "list", "dem"], "did you mean 'demo'?"),
        (["tasks", "list", "pair.csv"], "did you mean 'pairs.csv'?"),
        (["report", "runs/mime"], "did you mean 'runs/mine'?"),
        (["report", "mine"], "did you mean 'runs/mine'?"),
        (["fit", "demo", "--model", "gpt-2", "--out", "runs/x"], "did you mean 'gpt2'"),
        (["fit", "demo", "--model", "Demo", "--out", "runs/x"], "did you mean 'demo'"),
    ],
)
def test_a_slip_is_answered_with_what_was_meant(
    here: Path, arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "pairs.csv").write_text("input,output\n")
    save_run(here / "runs/mine")
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert meant in capsys.readouterr().err
