"""A run that the commands are tried on."""

from pathlib import Path

import pytest

from tests.cli.test_cli import FAST, run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two demo tasks, with head paths of one start and one price."""
    out = tmp_path_factory.mktemp("runs") / "two"
    few = ["--control", "none", "--price", "0", "--price", "0.01", "--starts", "1"]
    assert run("fit", "demo", "-t", "antonym,english-french", "--out", str(out), *FAST, *few) == 0
    return out
