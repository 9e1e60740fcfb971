"""The explorer in a real browser: in JupyterLab, and as the local page of `site-lens explore`."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

import site_lens as sl
from site_lens.explorer.serving import free_port
from site_lens.models.protocol import LensModel

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
ROOT = Path(__file__).parent.parent.parent
PATIENCE = 90_000
"""Milliseconds for a server, a kernel or a model to start."""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH; apt-get install chromium")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, demo: LensModel, demo_tasks: dict[str, sl.Task]) -> Path:
    tasks = {name: demo_tasks[name] for name in ("antonym", "country-capital")}
    folder = tmp_path_factory.mktemp("explored") / "run"
    config = sl.SiteConfig.quick()
    sl.fit_and_evaluate(demo, tasks, config, folder=folder, max_queries=8, n_attention_heads=2, progress=False)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"],
        )
        yield opened
        opened.close()


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    """An environment in which kernels find this copy of the package, and Jupyter leaves nothing behind."""
    own = {name: str(tmp_path / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")}
    return os.environ | own | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def in_background(command: list[str], folder: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *command], cwd=folder, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip


def line_of(process: subprocess.Popen[str], pattern: str) -> str:
    """Read what a process says until a line matches, and return the match."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if found := re.search(pattern, line):
            return found[0]
    raise AssertionError(f"{process.args} ended without saying {pattern}: {''.join(said)}")


@pytest.fixture
def lab(saved: Path, tmp_path: Path, surroundings: dict[str, str]) -> Iterator[str]:
    """Start JupyterLab with a notebook that shows the explorer; the address that opens it."""
    cell = f"import site_lens as sl\nsl.explore(sl.Run.load({str(saved)!r}), sl.load_model('demo', device='cpu'))"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "look.ipynb")
    options = ["--allow-root", "--no-browser", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={free_port(None)}",
               "--LabApp.news_url=", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]  # fmt: skip
    process = in_background(["jupyterlab", *options], tmp_path, surroundings)
    address = line_of(process, r"http://127\.0\.0\.1:\d+/lab\?token=\w+")
    yield address.replace("/lab?", "/lab/tree/look.ipynb?")
    process.terminate()
    process.communicate(timeout=30)


@pytest.fixture
def local_page(saved: Path, surroundings: dict[str, str]) -> Iterator[str]:
    """Start `site-lens explore`; the address that it prints."""
    command = ["site_lens.cli", "explore", saved.name, "--model", "demo", "--device", "cpu", "--no-browser"]
    process = in_background(command, saved.parent, surroundings)
    yield line_of(process, r"http://127\.0\.0\.1:\d+/\?token=\w+")
    process.terminate()
    process.communicate(timeout=30)


def watched(browser: Browser, *, width: int = 1500) -> tuple[Page, list[str]]:
    """Open an empty page; every address that it gets anything from is taken down."""
    page = browser.new_page(viewport={"width": width, "height": 1100})
    page.set_default_timeout(PATIENCE)
    reached: list[str] = []
    page.on("requestfinished", lambda request: reached.append(request.url))
    return page, reached


def click_cell(page: Page, layer: int, head: int, run: sl.Run) -> None:
    """Click a head on the map."""
    n_layers, n_heads = run.fits.one_grid().shape
    place = page.locator(".site-lens .js-plotly-plot").first.locator(".nsewdrag").first.bounding_box()
    assert place is not None
    x = place["x"] + (head + 0.5) / n_heads * place["width"]
    y = place["y"] + (1 - (layer + 0.5) / n_layers) * place["height"]
    page.mouse.move(x, y)
    page.mouse.click(x, y)


def use(page: Page, run: sl.Run, tmp_path: Path) -> None:
    """Do with the explorer what a person does, and see that it answers."""
    explorer = page.locator(".site-lens")
    expect(explorer.get_by_text("first-token accuracy on 32 test queries")).to_be_visible(timeout=PATIENCE)
    click_cell(page, 1, 2, run)
    expect(explorer.get_by_text("L1H2: layer 1, head 2")).to_be_visible()
    expect(explorer.locator("canvas, svg.attention").first).to_be_attached()

    answered = explorer.locator("table tr", has_text="injected at")
    n_open = len(run.fits["antonym"].gates.above(0.5))
    expect(answered).to_contain_text(f"injected at {n_open} heads")
    before = answered.inner_text()
    explorer.locator(".noUi-handle:visible").first.press("End")  # a threshold of 1 lets no head in
    expect(answered).to_contain_text("injected at 0 heads")
    assert answered.inner_text().split("\t")[1:] != before.split("\t")[1:]
    explorer.get_by_role("button", name="highest k").click()
    handle = explorer.locator(".noUi-handle:visible").first
    handle.press("Home")
    for _ in range(3):
        handle.press("ArrowRight")
    expect(answered).to_contain_text("injected at 3 heads")

    explorer.get_by_role("button", name="Add the head set").click()
    with page.expect_download() as waiting:
        explorer.get_by_text("Download head_sets.json").click()
    waiting.value.save_as(tmp_path / "head_sets.json")
    kept = json.loads((tmp_path / "head_sets.json").read_text())["head_sets"]
    fit = run.fits["antonym"]
    assert sl.HeadSet.of(fit.gates.grid, kept["antonym: top 3"]["heads"]) == fit.gates.top(3)


def need_loopback_only(reached: list[str]) -> None:
    hosts = {urlsplit(address).hostname for address in reached if urlsplit(address).scheme in ("http", "https", "ws")}
    assert hosts == {"127.0.0.1"}


def test_it_is_used_in_jupyterlab(lab: str, browser: Browser, saved: Path, tmp_path: Path) -> None:
    page, reached = watched(browser)
    page.goto(lab)
    page.locator(".jp-Notebook .jp-CodeCell").first.click()
    page.keyboard.press("Shift+Enter")
    use(page, sl.Run.load(saved), tmp_path)
    need_loopback_only(reached)


def test_it_is_used_as_a_local_page(local_page: str, browser: Browser, saved: Path, tmp_path: Path) -> None:
    page, reached = watched(browser)
    page.goto(local_page)
    use(page, sl.Run.load(saved), tmp_path)
    need_loopback_only(reached)
    stranger = browser.new_context().new_page()
    stranger.goto(local_page.split("?")[0])
    expect(stranger.locator(".site-lens")).to_have_count(0)
    assert "login" in stranger.url
