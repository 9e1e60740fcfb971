"""House-keeping: one version, targets that say what they do, templates that can be read."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import site_lens as sl
from tests.documents import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_version_stands_in_one_place_and_the_citation_agrees() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["hatch"]["version"]["path"] == "site_lens/_version.py"
    (cited,) = re.findall(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert cited == sl.__version__


def test_every_target_says_what_it_does() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    described = set(re.findall(r"^([a-z0-9-]+):.*## \S", MAKEFILE, re.MULTILINE))
    assert set(phony.split()) == described


def test_make_help_lists_every_target() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert {line.split()[0] for line in shown.splitlines()} == set(phony.split())


@pytest.mark.parametrize("path", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.md")), ids=lambda path: path.stem)
def test_an_issue_template_has_a_name_and_a_description(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.match(r"---\nname: .+\nabout: .+\n", text)


def test_the_command_that_the_bug_template_asks_for_runs() -> None:
    template = (ROOT / ".github/ISSUE_TEMPLATE/bug.md").read_text(encoding="utf-8")
    (program,) = re.findall(r'`python -c "([^`]*)"`', template)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(sl.__version__)
