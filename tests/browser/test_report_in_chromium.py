import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

import site_lens as sl
from site_lens.methods.registry import ZERO_EMBEDDING
from site_lens.report import write_comparison, write_report, write_text_page
from tests.fake_studies import fake_text_profiles
from tests.fakes import fake_attention, fake_evaluation, fake_fits

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
TASKS = ["antonym", "<script>alert(1)</script>", "</script><img src=x onerror=alert(2)>"]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH; apt-get install chromium")


def opened(path: Path, *, width: int = 1600) -> tuple[str, str]:
    """Open a page with the network cut; return the document as it then stands, and what the console said."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
         "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND", f"--window-size={width},1200",
         f"--user-data-dir={path.parent / 'profile'}", "--enable-logging=stderr", "--v=0",
         "--virtual-time-budget=8000", "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=180, check=True,
    )  # fmt: skip
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def report_of(tasks: list[str], folder: Path) -> Path:
    evaluations = sl.Evaluations(fake_evaluation(task) for task in tasks)
    samples = sl.AttentionSamples(fake_attention(task) for task in tasks)
    run = sl.Run(fake_fits(tasks), {ZERO_EMBEDDING: fake_fits(tasks)}, evaluations, samples)
    return write_report(run, folder / "report.html")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report_of(TASKS, tmp_path_factory.mktemp("browser"))


def drawn(document: str) -> set[str]:
    """Return the ids of the figures that were drawn."""
    found = set()
    for part in re.split(r'(?=<div class="plot-canvas)', document)[1:]:
        name = re.search(r'id="([^"]+)"', part)
        if name and 'class="main-svg"' in part.split("<script")[0]:
            found.add(name[1])
    return found


def test_the_figures_on_top_are_drawn_and_closed_sections_wait(tmp_path: Path) -> None:
    document, console = opened(report_of([*TASKS, *"abcde"], tmp_path))
    assert console == ""
    across = {"similarity", "overlap-counts", "layer-profile", "task-tree", "task-map", "co-clusters"}
    methods = {"method-means", "labelled-rows"}
    maps = {"head-maps", "site_zero_embedding-maps"}
    assert drawn(document) == {"accuracy"} | methods | maps | across


def columns(document: str) -> int:
    """Return in how many columns the head maps stand: distinct left edges of their names."""
    maps = document[document.index('id="head-maps"') :].split("head-maps-data")[0]
    names = re.findall(r'<g class="annotation" data-index="\d+".*?translate\(([\d.]+),', maps, flags=re.S)
    return len({round(float(left)) for left in names})


def test_head_maps_stand_in_fewer_columns_on_a_narrow_page(written: Path) -> None:
    assert columns(opened(written)[0]) == 3
    document, console = opened(written, width=500)
    assert console == ""
    assert columns(document) == 2


def test_opened_sections_draw_their_figures_and_tables_and_attention_of_all_tokens_waits_for_a_click(
    written: Path,
) -> None:
    copy = written.with_name("opened.html")
    page = re.sub(r'<details class="(fit|numbers)"', r'<details open class="\1"', written.read_text(encoding="utf-8"))
    copy.write_text(page, encoding="utf-8")
    document, console = opened(copy)
    assert console == "" and "rows as CSV" in document
    assert {"head-map-1", "training-1", "head-map-3", "last-token-1-0"} <= drawn(document)
    texts = [unescape(text) for text in re.findall(r"<figcaption><b>(.*?)</b>", document)]
    assert set(TASKS) <= set(texts)
    assert 'id="attention-1-1-view"' not in document
    copy.write_text(page.replace("<details><summary>Every token", "<details open><summary>Every token"), "utf-8")
    document, console = opened(copy)
    assert console == ""
    view = document[document.index('id="attention-1-1-view"') :].split('id="attention-2')[0]
    assert "L2H1" in view and ("<canvas" in view or "<svg" in view)


def test_the_comparison_page_draws_all_figures(tmp_path: Path) -> None:
    path = write_comparison(sl.head_overlap(fake_fits(TASKS[:2])), tmp_path / "compare.html")
    document, console = opened(path)
    assert console == ""
    assert drawn(document) == {"difference", "similarity", "layer-profile", "overlap-counts"}


def test_a_script_that_is_not_the_reports_own_is_refused(written: Path) -> None:
    page = written.read_text(encoding="utf-8")
    copy = written.with_name("injected.html")
    copy.write_text(page.replace("</header>", "<script>document.title = 'taken'</script></header>"), encoding="utf-8")
    document, console = opened(copy)
    assert "<title>taken" not in document
    assert "Content Security Policy" in console


def test_pieces_of_text_are_shown_as_they_are_written(tmp_path: Path) -> None:
    attack = "</script><img src=x onerror=alert(3)>"
    pieces = [["<s>", attack, " 東京", " مرحبا", " 🤷🏽\u200d♀️", "", "", " b"], ["<s>", "x", " y"]]
    page = write_text_page(fake_text_profiles(pieces), tmp_path / "text.html")
    document, console = opened(page)
    assert console == ""
    assert "onerror" not in document.replace("&lt;img src=x onerror", "")
    first = document.split('class="text"')[1].split("</div>")[0]
    spans = re.findall(r'data-token="(\d+)"[^>]*>([^<]*)</span>', first)
    assert [unescape(text) for _, text in spans] == [token for token in pieces[0] if token]
    assert [number for number, _ in spans][-2:] == ["4", "7"]  # further bytes of a character share its place
    assert 'class="query"' in first and "rgba(0, 114, 178" in first
    assert document.count('class="piece"') == 2
