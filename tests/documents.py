"""Code blocks, links and names of the pages that people read."""

import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from site_lens.cli import main

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = (*sorted(ROOT.glob("*.md")), ROOT / "analysis/README.md", *sorted(DOCS.rglob("*.md")))

FENCE = re.compile(r"^(?:<!-- not run: (.+?) -->\n)?```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^\n {4}(?! *[-*\d])\S.*", re.MULTILINE)
"""A block without a fence, which says neither its language nor why it is not run."""
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")

RUN = ("python", "bash", "toml")
SHOWN = ("text", "json")
"""Languages of blocks that show output, and so cannot be run. A block of TOML is a sweep file, `study.toml`."""

ACTIVATE = ". .venv/bin/activate"
"""Line that puts site-lens on the path; in the tests it is there already."""

MAY_FAIL = ("diagnose", "doctor")
"""Commands whose exit code 1 is an answer."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str
    not_run: str | None
    """Why the block is not run, as the page says in a comment that readers do not see."""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def commands(self) -> list[list[str]]:
        """Split a bash block into the words of its commands.

        Raises:
            AssertionError: A line is no command of site-lens; such a block must say why it is not run.
        """
        lines = self.text.replace("\\\n", " ").splitlines()
        commands = [words for line in lines if line != ACTIVATE and (words := shlex.split(line, comments=True))]
        assert all(words[0] == "site-lens" for words in commands), f"{self}: mark it with <!-- not run: REASON -->"
        return [words[1:] for words in commands]


def blocks(page: Path) -> Iterator[Block]:
    """Read the fenced code of a page, without directives of the manual such as `{toctree}`."""
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        reason, language, code = match.groups()
        if not language.startswith("{"):
            yield Block(page, text[: match.start()].count("\n") + 1, language, code, reason)


def prose(page: Path) -> str:
    """Return the text of a page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """List the files that a page links to, as it names them."""
    return LINK.findall(prose(page))


def run_page(page: Path, languages: Sequence[str] = RUN) -> None:
    """Run the blocks of a page in order, in the current folder; Python blocks share their names."""
    names: dict[str, object] = {}
    for block in blocks(page):
        if block.not_run is not None or block.language not in languages:
            continue
        if block.language == "python":
            exec(compile(block.text, str(block), "exec"), names)
        elif block.language == "toml":
            Path("study.toml").write_text(block.text, encoding="utf-8")
        else:
            for words in block.commands():
                run_command(words)


def run_command(words: list[str]) -> None:
    """Run a command line in this process."""
    with pytest.raises(SystemExit) as exit_info:
        main(words)
    allowed = (0, 1) if words and words[0] in MAY_FAIL else (0,)
    assert exit_info.value.code in allowed, f"site-lens {shlex.join(words)} ended with {exit_info.value.code}"


def prepare(folder: Path, model: Path, pairs: str, other: Path) -> None:
    """Put into a folder what the pages take for granted: a model, a table of pairs, another run."""
    (folder / "path/to").mkdir(parents=True)
    (folder / "path/to/model").symlink_to(model)
    (folder / "my_pairs.csv").write_text(pairs, encoding="utf-8")
    shutil.copytree(other, folder / "runs/other")
