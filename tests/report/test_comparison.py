"""The comparison page says what the comparison found."""

from pathlib import Path

from site_lens.diagnostics.head_overlap import head_overlap
from site_lens.report import write_comparison
from tests.fakes import fake_fits
from tests.report.test_report import NAUGHTY, words


def test_the_page_shows_every_pair_and_escapes_names(tmp_path: Path) -> None:
    overlap = head_overlap(fake_fits(["antonym", "synonym", NAUGHTY]))
    page = write_comparison(overlap, tmp_path / "c.html").read_text(encoding="utf-8")
    assert NAUGHTY not in page
    text = words(page)
    for pair in overlap.frame().itertuples():
        assert f"{pair.record}{pair.other}{pair.n_record} and {pair.n_other}{pair.n_shared}" in text.replace("\n", "")
