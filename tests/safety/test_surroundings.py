"""Where the command line runs: full devices, closed outputs, folders that are gone, other alphabets, strange names."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import site_lens as sl
from tests.cli.test_cli import mistake
from tests.fakes import fake_fits

LONG = "a" * 5000


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose name and tasks are of other alphabets."""
    return sl.Run(fake_fits(["città", "日本"])).save(tmp_path_factory.mktemp("runs") / "été")


def shell(line: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of a shell in which `site-lens` is this command line."""
    program = f'{sys.executable} -m site_lens.cli "$@"'
    package = str(Path(sl.__file__).parents[1])
    return subprocess.run(
        ["bash", "-c", f"site-lens() {{ {program}; }}; {line}"],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": package} | environment,
        capture_output=True,
        check=False,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full (/dev/full)")
def test_an_output_that_takes_nothing_ends_with_2_and_one_line(saved: Path, tmp_path: Path) -> None:
    for command, where in (("tasks list --json", "> /dev/full"), (f"report '{saved}' --out x.html", ">&-")):
        done = shell(f"site-lens {command} {where}", tmp_path)
        assert done.returncode == 2, command
        assert done.stderr.startswith(b"error: "), command
        assert done.stderr.count(b"\n") == 1, command


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    done = shell("site-lens tasks list --json | true; exit ${PIPESTATUS[0]}", tmp_path)
    assert (done.returncode, done.stderr) == (1, b"")


MISTAKES: list[Sequence[str]] = [
    *(["fit", "demo", "--out", "OUT", "--n-steps", value] for value in (str(10**20), "0", "1.5", "x")),
    ["transfer", "RUN", "demo", "--max-queries", str(10**20)],
    ["demo", "--seed", "-1", "--out", "OUT"],
    ["report", "RUN", "--out", LONG],
    *(["diagnose", name] for name in ("", LONG, "\x1b[31m")),
    ["\x1b[31mnothing"],
]


def test_sizes_and_names_that_cannot_be_end_with_2_and_one_line(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"RUN": str(saved), "OUT": str(tmp_path / "out")}
    for arguments in MISTAKES:
        assert "\x1b" not in mistake(capsys, *(names.get(word, word) for word in arguments))
    assert not list(tmp_path.iterdir())
