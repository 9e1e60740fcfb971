"""What the README and the notebooks show is run, not only read."""

import re
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert (tmp_path / "runs/three-tasks/report.html").stat().st_size > 1e6
    assert (tmp_path / "runs/three-tasks/results.csv").exists()


PAGES = sorted(page for page in (ROOT / "docs").glob("*.md") if "```python" in page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, names)


def test_links_of_the_readme_and_docs_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "analysis/README.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_notebook_has_its_pair() -> None:
    assert NOTEBOOKS
    assert {path.stem for path in NOTEBOOKS} == {path.stem for path in (ROOT / "notebooks").glob("*.py")}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_equals_its_pair_and_keeps_no_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    pair = jupytext.read(path.with_suffix(".py"))
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [
        (cell.cell_type, cell.source) for cell in pair.cells
    ]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_begins_with_its_question_and_ends_with_what_was_learned_and_what_not(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    assert "**Question:**" in cells[0].source
    end = " ".join(cells[-1].source.split())
    assert "**What we learned:**" in end
    assert "**What we did not learn:**" in end
    for target in re.findall(
        r"\]\(([^)#:]+)\)", "".join(cell.source for cell in cells if cell.cell_type == "markdown")
    ):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"


SLOW = ("05_convergence", "06_rival_methods")
"""Notebooks of half a minute each; the first is always run."""

TO_RUN = [pytest.param(path, marks=[pytest.mark.slow] * (path.stem in SLOW), id=path.stem) for path in NOTEBOOKS]


@pytest.mark.parametrize("path", TO_RUN)
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")  # Jupyter's own, on starting a kernel
def test_a_notebook_runs_from_top_to_bottom(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # the package under test, whichever is installed
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    drawn = sum("application/vnd.plotly.v1+json" in output.get("data", {}) for output in outputs)
    assert drawn == sum("sl.plots." in cell.source for cell in notebook.cells)
    assert not [output.text for output in outputs if "Warning" in output.get("text", "")]
