"""Page of text profiles: whole, offline, escaped, and the same bytes for the same record."""

from pathlib import Path

from site_lens.report.text_page import write_text_page
from tests.fake_studies import fake_text_profiles


def test_the_page_lists_every_head_and_loads_nothing(tmp_path: Path) -> None:
    path = write_text_page(fake_text_profiles(), tmp_path / "a.html", title="<b>Heads</b>")
    page = path.read_text(encoding="utf-8")
    for head in ("L0H1", "L1H2"):
        assert f'<tr data-head="{head}">' in page and f'<script type="application/gzip" data-of="{head}">' in page
    assert '<td class="n">85%</td>' in page
    assert "&lt;b&gt;Heads&lt;/b&gt;" in page and "<b>Heads" not in page
    assert "http" not in page.split("</style>", 1)[1].replace("http-equiv", "")
    assert len(page) < 60_000  # without plotly
    write_text_page(fake_text_profiles(), path, title="<b>Heads</b>")
    assert path.read_text(encoding="utf-8") == page
