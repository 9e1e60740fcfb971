"""Page of text profiles: whole, offline, escaped, and never over a file of others."""

from pathlib import Path

import pytest

import site_lens as sl
from site_lens.report.text_page import write_text_page
from tests.fake_studies import fake_text_profiles


def test_the_page_lists_every_head_and_loads_nothing(tmp_path: Path) -> None:
    page = write_text_page(fake_text_profiles(), tmp_path / "a.html", title="<b>Heads</b>").read_text(encoding="utf-8")
    for head in ("L0H1", "L1H2"):
        assert f'<tr data-head="{head}">' in page and f'<script type="application/gzip" data-of="{head}">' in page
    assert '<td class="n">85%</td>' in page
    assert "&lt;b&gt;Heads&lt;/b&gt;" in page and "<b>Heads" not in page
    assert "http" not in page.split("</style>", 1)[1].replace("http-equiv", "")
    assert len(page) < 60_000  # without plotly


def test_the_same_record_gives_the_same_bytes_and_files_of_others_stay(tmp_path: Path) -> None:
    first = write_text_page(fake_text_profiles(), tmp_path / "a.html").read_bytes()
    assert write_text_page(fake_text_profiles(), tmp_path / "a.html").read_bytes() == first
    (tmp_path / "notes.html").write_text("mine")
    with pytest.raises(sl.StorageError):
        write_text_page(fake_text_profiles(), tmp_path / "notes.html")
    assert (tmp_path / "notes.html").read_text() == "mine"
