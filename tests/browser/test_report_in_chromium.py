import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from site_lens.activations.attention_sample import AttentionSamples
from site_lens.diagnostics.head_overlap import head_overlap
from site_lens.methods.evaluation import Evaluations
from site_lens.methods.registry import ZERO_EMBEDDING
from site_lens.report import write_comparison, write_report
from site_lens.runs.run import Run
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


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    evaluations = Evaluations(fake_evaluation(task) for task in TASKS)
    folder = tmp_path_factory.mktemp("browser")
    samples = AttentionSamples(fake_attention(task) for task in TASKS)
    run = Run(fake_fits(TASKS), {ZERO_EMBEDDING: fake_fits(TASKS)}, evaluations, samples)
    return write_report(run, folder / "report.html")


def drawn(document: str) -> set[str]:
    """Return the ids of the figures that were drawn."""
    found = set()
    for part in re.split(r'(?=<div class="plot-canvas)', document)[1:]:
        name = re.search(r'id="([^"]+)"', part)
        if name and 'class="main-svg"' in part.split("<script")[0]:
            found.add(name[1])
    return found


def test_the_figures_on_top_are_drawn_and_closed_sections_wait(written: Path) -> None:
    document, console = opened(written)
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


def test_an_opened_section_draws_its_figures_with_the_plain_name_as_title(written: Path) -> None:
    page = written.read_text(encoding="utf-8")
    copy = written.with_name("opened.html")
    copy.write_text(page.replace('<details class="fit"', '<details open class="fit"'), encoding="utf-8")
    document, console = opened(copy)
    assert console == ""
    assert {"head-map-1", "training-1", "head-map-3"} <= drawn(document)
    texts = [unescape(text) for text in re.findall(r'<text class="gtitle"[^>]*>([^<]*)<', document)]
    assert set(TASKS) <= set(texts)


def test_attention_is_drawn_in_an_opened_section_with_its_tokens(written: Path) -> None:
    copy = written.with_name("attention.html")
    page = written.read_text(encoding="utf-8")
    copy.write_text(page.replace('<details class="fit"', '<details open class="fit"'), encoding="utf-8")
    document, console = opened(copy)
    assert console == ""
    view = document[document.index('id="attention-1-1-view"') :].split('id="attention-2')[0]
    assert "L2H1" in view
    assert "<canvas" in view or "<svg" in view
    assert page.count("var CircuitsVis") <= 1


def with_script(written: Path, name: str, script: str) -> Path:
    """Copy a page so that it runs a script when all is drawn."""
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", written.read_text(encoding="utf-8"))
    copy = written.with_name(name)
    copy.write_text(page.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    return copy


def test_the_numbers_behind_a_figure_open_as_a_table_with_a_file_to_download(written: Path) -> None:
    opening = "for (const d of document.querySelectorAll('details.numbers')) d.open = true"
    document, console = opened(with_script(written, "numbers.html", opening))
    assert console == ""
    section = document[document.index('data-of="similarity"') :].split("</details>")[0]
    assert 'download="similarity.csv"' in section
    assert "blob:" in section
    assert section.count("<tr>") == 1 + 3  # three tasks make three pairs
    assert "<td>antonym</td>" in section


def test_the_filter_hides_tasks_that_do_not_match(written: Path) -> None:
    typing = "const f = document.getElementById('filter'); f.value = 'ANTO'; f.dispatchEvent(new Event('input'))"
    document, console = opened(with_script(written, "filtered.html", typing))
    assert console == ""
    hidden = re.findall(r'<details class="fit" id="fit-(\d)"( hidden="")?', document)
    assert hidden == [("1", ""), ("2", ' hidden=""'), ("3", ' hidden=""')]


def test_the_comparison_page_draws_all_figures(tmp_path: Path) -> None:
    path = write_comparison(head_overlap(fake_fits(TASKS[:2])), tmp_path / "compare.html")
    document, console = opened(path)
    assert console == ""
    assert drawn(document) == {"difference", "similarity", "layer-profile", "overlap-counts"}


def test_hovering_a_head_names_layer_head_alpha_and_rank(written: Path) -> None:
    page = written.read_text(encoding="utf-8")
    copy = written.with_name("hover.html")
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)  # lets the test's own script run
    page = page.replace('<details class="fit"', '<details open class="fit"')
    hover = "Plotly.Fx.hover('head-map-1', {xval: 3, yval: 2})"
    copy.write_text(
        page.replace("</body>", f"<script>setTimeout(() => {hover}, 500)</script></body>"), encoding="utf-8"
    )
    document, console = opened(copy)
    assert console == ""
    gates = fake_fits(TASKS)["antonym"].gates
    rank = gates.frame().query("layer == 2 and head == 3")["rank"].item()
    label = document[document.index('class="hovertext"') :][:3000]
    text = re.sub(r"<[^>]*>", " ", label)
    for expected in ("L2H3", "layer 2, head 3", f"alpha {gates['L2H3']:.3f}", f"rank {rank} of 48"):
        assert expected in text


def test_a_script_that_is_not_the_reports_own_is_refused(written: Path) -> None:
    page = written.read_text(encoding="utf-8")
    copy = written.with_name("injected.html")
    copy.write_text(page.replace("</header>", "<script>document.title = 'taken'</script></header>"), encoding="utf-8")
    document, console = opened(copy)
    assert "<title>taken" not in document
    assert "Content Security Policy" in console
