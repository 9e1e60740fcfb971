"""The manual: it builds without a warning, loads nothing from the network, and documents each public name once."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import site_lens as sl
from tests.documents import DOCS, ROOT

LOADED = re.compile(r"""<(?:script|img|iframe|source)\b[^>]*?\bsrc=["'](?:https?:)?//[^"']*|"""
                    r"""<link\b(?! rel="canonical")[^>]*?\bhref=["'](?:https?:)?//[^"']*""")  # fmt: skip
"""Tags that make a browser load something from elsewhere; links to click on and to the page itself are none."""
FETCHED = re.compile(r"""(?:url\(|@import\s+)["']?(?:https?:)?//[^)"']*""")
"""The same in a style sheet."""
DIRECTIVE = re.compile(r"^\.\. (currentmodule|autofunction|autoclass|autoexception|automodule|py:data):: (\S+)", re.M)


COMMAND_LINE = (DOCS / "cli.md").read_text(encoding="utf-8")
"""The page of the command line, before a build writes it."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as HTML."""
    out = tmp_path_factory.mktemp("manual")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(DOCS), str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def test_every_page_is_built(built: Path) -> None:
    pages = {page.relative_to(DOCS).with_suffix(".html") for page in DOCS.rglob("*.md")}
    notebooks = {Path("notebooks") / f"{path.stem}.html" for path in (ROOT / "notebooks").glob("*.py")}
    assert (pages | notebooks) - {page.relative_to(built) for page in built.rglob("*.html")} == {Path("README.html")}
    assert "Which heads carry the task?" in (built / "index.html").read_text(encoding="utf-8")
    assert (built / "_images/report.png").exists()
    picture = (built / "_images/floors.svg").read_text(encoding="utf-8")
    assert all(f">{room}</text>" in picture for room in ("records", "models", "cli"))


def test_llms_txt_lists_every_page_with_its_title_and_what_it_is_about(built: Path) -> None:
    listed = (built / "llms.txt").read_text(encoding="utf-8")
    assert listed.startswith("# site_lens\n\n> Few-shot prompting makes a language model do a task.")
    base, line = "https://site-lens.github.io/site_lens/", r"^- \[\S.*\]\((\S+)\): \S.*$"
    pages = {str(page.relative_to(DOCS).with_suffix(".html")) for page in DOCS.rglob("*.md")} - {"README.html"}
    pages |= {f"notebooks/{path.stem}.html" for path in (ROOT / "notebooks").glob("*.py")}
    assert {url.removeprefix(base) for url in re.findall(line, listed, re.M)} == pages - {"index.html"}
    whole = (built / "llms-full.txt").read_text(encoding="utf-8")
    assert (DOCS / "limits.md").read_text(encoding="utf-8").strip() in whole


@pytest.mark.usefixtures("built")
def test_the_page_of_the_command_line_is_that_of_the_code() -> None:
    assert (DOCS / "cli.md").read_text(encoding="utf-8") == COMMAND_LINE, "run `make docs` and commit docs/cli.md"


def test_nothing_is_loaded_from_elsewhere(built: Path) -> None:
    for page in built.rglob("*.html"):
        assert LOADED.findall(page.read_text(encoding="utf-8")) == [], page.name
    for style in built.rglob("*.css"):
        assert FETCHED.findall(style.read_text(encoding="utf-8")) == [], style.name
    assert LOADED.search('<script async src="https://cdn.example/x.js">')
    assert LOADED.search('<link rel="stylesheet" href="//fonts.example/x.css">')
    assert not LOADED.search('<a href="https://example.org">')
    assert FETCHED.search("src: url(https://fonts.example/x.woff)")


def test_the_api_shows_fields_methods_and_figures(built: Path) -> None:
    fits = (built / "api/fitting.html").read_text(encoding="utf-8")
    assert 'id="site_lens.SiteConfig.n_prompts"' in fits
    assert "M: few-shot prompts averaged into the task embedding." in fits
    assert 'id="site_lens.Run.load"' in fits
    assert 'id="site_lens.plots.head_map"' in (built / "api/showing.html").read_text(encoding="utf-8")


def documented() -> Counter[str]:
    """Count the names that the API pages document, with their module."""
    names: Counter[str] = Counter()
    for page in sorted((DOCS / "api").glob("*.md")):
        module = ""
        for directive, name in DIRECTIVE.findall(page.read_text(encoding="utf-8")):
            if directive == "currentmodule":
                module = name
            else:
                names[name if directive == "automodule" else f"{module}.{name}"] += 1
    return names


def test_every_public_name_is_documented_exactly_once() -> None:
    public = [f"site_lens.{name}" for name in dir(sl)] + [f"site_lens.plots.{name}" for name in dir(sl.plots)]
    assert documented() == Counter(public)
