"""The comparison page says what the comparison found."""

import re
from pathlib import Path

import numpy as np

from site_lens.diagnostics.head_overlap import head_overlap
from site_lens.heads.head_set import HeadGrid
from site_lens.heads.scores import HeadScores
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


def test_scores_of_two_selectors_are_compared_by_their_top_heads(tmp_path: Path) -> None:
    grid, rng = HeadGrid.full(4, 4), np.random.default_rng(0)
    scores = {name: HeadScores(grid=grid, values=rng.normal(size=(4, 4)), selector=name, meaning="x") for name in "ab"}
    text = words(write_comparison(head_overlap(scores), tmp_path / "c.html").read_text(encoding="utf-8"))
    assert re.search(r"a set is the top \d+ heads", text)


def test_the_same_comparison_gives_the_same_bytes(tmp_path: Path) -> None:
    overlap = head_overlap(fake_fits(["antonym", "synonym"]))
    first, second = (write_comparison(overlap, tmp_path / name).read_bytes() for name in ("a.html", "b.html"))
    assert first == second
