"""Opening the explorer: with records alone, with a model, and refusals."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

import site_lens as sl
from site_lens.explorer.page import PageSource, show_page
from site_lens.explorer.view import Explorer
from site_lens.models.base import LensModel
from tests.documents import ROOT

QUICK = sl.SiteConfig(n_steps=20, n_prompts=8, n_shots=4, n_valid=10)


@pytest.fixture(scope="module")
def fitted(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> sl.SiteFits:
    return sl.fit_site(demo, demo_tasks["antonym"], QUICK)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, fitted: sl.SiteFits) -> Path:
    return sl.Run(fitted).save(tmp_path_factory.mktemp("explored") / "run")


def test_a_model_answers_on_the_packages_own_rows(demo: LensModel, fitted: sl.SiteFits) -> None:
    explorer = sl.explore(fitted, demo, n_queries=12)
    assert explorer.message.value == ""
    assert "on 12 test queries" in explorer.live.results.value
    assert "expected:" in explorer.live.results.value
    assert explorer.attention.view.properties["tokens"]


def test_a_page_shows_the_records_of_a_folder_at_once_and_answers_when_the_model_is_loaded(
    saved: Path,
) -> None:
    names: dict[str, object] = {}
    code = PageSource(str(saved), model="demo", loading={"device": "cpu"}).code()
    first, last = code.split("\n")
    exec(first, names)

    async def opened() -> Explorer:
        explorer: Explorer = eval(last, names)
        assert explorer.map.figure.data
        assert "loading demo ..." in explorer.header.value
        while explorer.state.awaited:
            await asyncio.sleep(0.05)
        return explorer

    shown = asyncio.run(opened())
    assert "the model is loaded" in shown.header.value
    assert "expected:" in shown.live.results.value
    assert "no run" in show_page(PageSource("nowhere")).value  # a mistake is said on the page


def test_the_first_page_needs_neither_pandas_nor_torch() -> None:
    code = """
import sys
import site_lens as sl
from tests.fakes import fake_fits
assert sl.explore(fake_fits(["a"])).map.figure.data
assert not {"pandas", "torch"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
