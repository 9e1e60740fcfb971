"""The explorer in a real browser, as the local page of `site-lens explore`."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

import site_lens as sl
from site_lens.models.base import LensModel
from tests.browser.test_report_in_chromium import CHROMIUM
from tests.documents import ROOT

PATIENCE = 90_000
"""Milliseconds for a server, a kernel or a model to start."""

expect.set_options(timeout=PATIENCE)

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH; apt-get install chromium"),
    pytest.mark.slow,  # a server, a kernel and a model: minutes where the machine is busy
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, demo: LensModel, demo_tasks: dict[str, sl.Task]) -> Path:
    tasks = {name: demo_tasks[name] for name in ("antonym", "country-capital")}
    folder = tmp_path_factory.mktemp("explored") / "run"
    options: dict[str, Any] = {"prices": (0.01,), "n_starts": 1, "max_queries": 8, "n_attention_heads": 2}
    sl.fit_and_evaluate(demo, tasks, sl.SiteConfig.quick(), save_to=folder, progress=False, **options)
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
def local_page(saved: Path) -> Iterator[str]:
    """Start `site-lens explore`; the address that it prints."""
    command = ["site_lens.cli", "explore", saved.name, "--model", "demo", "--device", "cpu", "--no-browser"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", *command], cwd=saved.parent, env=environment, text=True, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\w+", process.stdout.readline())
        try:
            assert found is not None
            yield found[0]
        finally:
            process.terminate()


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
    explorer, fit = page.locator(".site-lens"), run.fits["antonym"]
    expect(explorer.get_by_text("first-token accuracy on 32 test queries")).to_be_visible()
    click_cell(page, 1, 2, run)
    expect(explorer.get_by_text("L1H2: layer 1, head 2")).to_be_visible()
    expect(explorer.locator(".gtitle", has_text="alpha of L1H2 over the steps")).to_be_visible()
    expect(explorer.locator(".attention canvas")).to_be_visible()

    field = explorer.get_by_label("query")
    field.fill("hot")
    field.press("Enter")
    expect(explorer.get_by_text("answer to 'hot'")).to_be_visible()
    row = explorer.locator("tr", has_text="injected at")
    expect(row).to_contain_text(f"injected at {len(fit.gates.above(0.5))} heads")
    explorer.locator(".noUi-handle:visible").press("End")  # a threshold of 1 lets no head in
    expect(row).to_contain_text("injected at 0 heads")
    bare = explorer.locator("tr", has_text="zero-shot").locator("td").nth(1).inner_text()
    expect(row.locator("td").nth(1)).to_have_text(bare)
    explorer.get_by_role("button", name="highest k").click()
    expect(row).to_contain_text(f"injected at {max(1, round(fit.gates.mass()))} heads")  # the other slider is there now
    explorer.locator(".noUi-handle:visible").press("Home")
    expect(row).to_contain_text("injected at 0 heads")
    explorer.locator(".noUi-handle:visible").press("ArrowRight")
    expect(row).to_contain_text("injected at 1 heads")

    explorer.get_by_role("button", name="Add the head set").click()
    with page.expect_download() as waiting:
        explorer.get_by_text("Download head_sets.json").click()
    waiting.value.save_as(tmp_path / "head_sets.json")
    kept = json.loads((tmp_path / "head_sets.json").read_text())["head_sets"]
    assert sl.HeadSet.of(fit.gates.grid, kept["antonym: top 1"]["heads"]) == fit.gates.top(1)


def test_it_is_used_as_a_local_page(local_page: str, browser: Browser, saved: Path, tmp_path: Path) -> None:
    page = browser.new_page(viewport={"width": 1500, "height": 1100})
    page.set_default_timeout(PATIENCE)
    reached: list[str] = []
    page.on("requestfinished", lambda request: reached.append(request.url))
    page.goto(local_page, wait_until="commit")  # the page ends when its kernel has answered
    use(page, sl.Run.load(saved), tmp_path)
    hosts = {urlsplit(address).hostname for address in reached if urlsplit(address).scheme in ("http", "https", "ws")}
    assert hosts == {"127.0.0.1"}
    stranger = browser.new_context().new_page()
    stranger.goto(local_page.split("?")[0])
    expect(stranger.locator(".site-lens")).to_have_count(0)
    assert "login" in stranger.url
