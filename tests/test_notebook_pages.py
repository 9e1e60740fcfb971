"""Notebooks in the manual: executed on demand, shown with outputs while they are those of the code, drawn offline."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.browser.test_report_in_chromium import CHROMIUM, opened
from tests.documents import DOCS, ROOT
from tests.test_manual import LOADED

pytestmark = pytest.mark.slow  # builds five manuals, each in a process of its own

TITLE = "# Tiny\n\n**Question:** what do [the pages](../docs/index.md) show?"
PRINTS = "print('six is', 2 * 3)"
DRAWS = (
    "import plotly.graph_objects as go\n"
    "from site_lens.plots.theme import layout\n"
    "go.Figure(go.Scatter(x=[1, 2], y=[3, 4]), layout('A line', height=200))"
)
METADATA = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
"""The package under test, whichever is installed."""
CODE_ONLY = "This page shows the code only"


def write_notebook(repository: Path, *code: str, title: str = TITLE) -> None:
    cells = [nbformat.v4.new_markdown_cell(title, id="title")]
    cells += [nbformat.v4.new_code_cell(source, id=f"cell-{i}") for i, source in enumerate(code)]
    (repository / "notebooks").mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=METADATA), repository / "notebooks/tiny.ipynb")


def make_repository(folder: Path, *code: str) -> Path:
    """Make a repository with a manual of one page and one notebook."""
    docs = folder / "docs"
    docs.mkdir()
    settings = (
        f"import sys; sys.path.insert(0, {str(DOCS)!r}); extensions = ['notebook_pages']; html_theme = 'furo'; "
        "nb_execution_mode = 'off'\n"
    )
    (docs / "conf.py").write_text(settings, encoding="utf-8")
    page = "# Manual\n\n[Tiny](../notebooks/tiny.ipynb)\n\n```{toctree}\nnotebooks/tiny\n```\n"
    (docs / "index.md").write_text(page, encoding="utf-8")
    write_notebook(folder, *code)
    return folder


def execute(repository: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DOCS / "notebook_pages.py"), str(repository)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def build(repository: Path) -> str:
    """Build the manual; return the page of the notebook."""
    out = repository / "html"
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", str(repository / "docs"), str(out)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return (out / "notebooks/tiny.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose notebook was executed."""
    repository = make_repository(tmp_path_factory.mktemp("executed"), PRINTS, DRAWS, DRAWS)
    done = execute(repository)
    assert done.returncode == 0, done.stderr
    return repository


@pytest.fixture(scope="module")
def page(executed: Path) -> str:
    """The page of the notebook that was executed."""
    return build(executed)


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that makes the pages."""
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module("notebook_pages")


def test_the_page_of_an_executed_notebook_has_its_outputs_and_links(executed: Path, page: str) -> None:
    assert CODE_ONLY not in page and "six is 6" in page
    assert page.count('class="plot-canvas"') == page.count("<b>A line</b>") == 2
    assert 'href="../index.html"' in page.partition("what do")[2]
    assert 'href="notebooks/tiny.html"' in (executed / "html/index.html").read_text(encoding="utf-8")


def test_the_page_of_a_notebook_that_was_not_executed_shows_the_code_and_says_so(tmp_path: Path) -> None:
    page = build(make_repository(tmp_path, PRINTS))
    assert CODE_ONLY in page and "six is" in page and "six is 6" not in page


def test_outputs_stay_when_text_changes_and_go_when_code_changes(executed: Path, tmp_path: Path, pages: Any) -> None:
    copy = shutil.copytree(executed, tmp_path / "copy")
    write_notebook(copy, PRINTS, DRAWS, DRAWS, title="# Small")
    (source,) = pages.sources(copy)
    cells = pages.make_page(source).cells
    assert cells[0].source == "# Small" and cells[2].outputs[0].text == "six is 6\n"

    write_notebook(copy, PRINTS.replace("3", "4"), DRAWS, DRAWS)
    cells = pages.make_page(source).cells
    assert CODE_ONLY in cells[1].source and not any(cell.get("outputs") for cell in cells)


def test_a_failing_notebook_fails_the_command_and_leaves_no_outputs(tmp_path: Path) -> None:
    done = execute(make_repository(tmp_path, PRINTS, "1 / 0"))
    assert done.returncode != 0
    assert "tiny.ipynb" in done.stdout and "ZeroDivisionError" in done.stderr
    assert not (tmp_path / "build/notebooks/tiny.ipynb").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH; apt-get install chromium")
def test_figures_are_drawn_without_network_by_one_plotly(executed: Path, page: str) -> None:
    assert LOADED.findall(page) == []
    assert page.count("plotly-cartesian.min.js") == 1
    assert "plotly-cartesian" not in (executed / "html/index.html").read_text(encoding="utf-8")
    document, console = opened(executed / "html/notebooks/tiny.html")
    assert console == ""
    assert ['class="main-svg"' in part for part in document.split('<figure class="plot">')[1:]] == [True, True]
