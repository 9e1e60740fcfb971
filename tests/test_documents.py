"""What README, docs and notebooks show is run, not only read."""

import re
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.records.assets import DEMO_MODEL
from tests.documents import DOCS, PAGES, ROOT, RUN, SHOWN, blocks, links, prepare, run_command, run_page, unfenced

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
README = ROOT / "README.md"
RUNNABLE = [
    page for page in PAGES if page != README and any(b.not_run is None and b.language in RUN for b in blocks(page))
]


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="session")
def other_run(tmp_path_factory: pytest.TempPathFactory, demo: LensModel) -> Path:
    """A run for pages that compare with another one."""
    config = sl.SiteConfig(n_prompts=4, n_shots=3, n_steps=5)
    return sl.Run(sl.fit_site(demo, sl.load_tasks("demo", ["synonym"]), config)).save(tmp_path_factory.mktemp("other"))


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_run: Path) -> Path:
    """The folder of somebody who follows a page."""
    pairs = sl.load_tasks("demo", ["antonym"])["antonym"].train[:40]
    table = "word,opposite\n" + "".join(f"{row.input},{row.output}\n" for row in pairs)
    prepare(tmp_path, DEMO_MODEL, table, other_run)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", RUNNABLE, ids=named)
def test_the_code_of_a_page_runs(page: Path, reader: Path) -> None:
    run_page(page)


def test_the_python_of_the_readme_runs(reader: Path) -> None:
    run_page(README, ["python"])
    assert (reader / "runs/three-tasks/report.html").stat().st_size > 1e6
    assert (reader / "runs/three-tasks/results.csv").exists()


@pytest.mark.slow  # every method and every selector
def test_the_commands_of_the_readme_run(reader: Path) -> None:
    run_page(README, ["bash"])
    assert (reader / "compare.html").exists()
    assert {"methods", "selectors", "mine"} <= {folder.name for folder in (reader / "runs").iterdir()}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_block_is_run_or_says_why_not(page: Path) -> None:
    for block in blocks(page):
        assert block.language in (*RUN, *SHOWN), f"{block}: a block of {block.language or 'no language'}"
        if block.language == "bash" and block.not_run is None:
            assert block.commands()
    assert unfenced(page) == []


def test_a_block_that_is_not_run_is_a_rare_thing() -> None:
    found = [block for page in PAGES for block in blocks(page) if block.language in RUN]
    left_out = [block for block in found if block.not_run is not None]
    assert len(left_out) < len(found) / 4
    assert all(block.language == "bash" for block in left_out), "Python that is shown is run"


def test_a_page_whose_command_fails_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match="site-lens report nowhere ended with 2"):
        run_command(["report", "nowhere"])


def test_links_of_the_readme_and_docs_lead_somewhere() -> None:
    for page in PAGES:
        for target in links(page):
            assert (page.parent / target).exists(), f"{named(page)} links to {target}"


def test_the_index_of_the_docs_links_to_every_page() -> None:
    linked = set(links(DOCS / "README.md"))
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {"README.md", "index.md"}
    assert {page for page in pages if not page.startswith("results/")} <= linked


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


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
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
