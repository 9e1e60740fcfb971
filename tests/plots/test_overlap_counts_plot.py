import numpy as np

from site_lens import plots
from site_lens.heads.head_set import HeadGrid
from tests.plots.fakes import fake_overlap, names_of

SCORES = [[[0.9, 0.9, 0.1], [0.1, 0.9, 0.1]], [[0.9, 0.1, 0.1], [0.1, 0.9, 0.1]], [[0.9, 0.1, 0.1], [0.1, 0.1, 0.1]]]


def test_bars_count_the_heads_in_exactly_1_2_and_3_sets() -> None:
    figure = plots.overlap_counts(fake_overlap(["a", "b", "c"], scores=SCORES))
    (bars,) = figure.data
    assert list(bars.x) == [1, 2, 3]
    assert list(bars.y) == [1, 1, 1]
    assert list(bars.text) == ["1", "1", "1"]
    assert list(bars.customdata) == ["L0H1", "L1H1", "L0H0"]
    assert figure.layout.title.subtitle.text == "sets: heads above 0.5; 3 of 6 in none"


def test_sets_of_the_top_k_are_counted_where_there_is_no_threshold() -> None:
    figure = plots.overlap_counts(fake_overlap(["a", "b", "c"], scores=SCORES, threshold=None, k=1))
    assert list(figure.data[0].y) == [0, 0, 1]
    assert figure.layout.title.subtitle.text == "sets: the top 1; 5 of 6 in none"


def test_places_without_a_head_are_not_counted() -> None:
    grid = HeadGrid((4, 0, 2))
    figure = plots.overlap_counts(fake_overlap(["a"], grid=grid, scores=np.where(grid.mask, 0.9, 0)[None]))
    assert list(figure.data[0].y) == [6]
    assert "0 of 6 in none" in figure.layout.title.subtitle.text


def test_long_lists_of_heads_are_cut_on_hover() -> None:
    grid = HeadGrid.full(4, 4)
    figure = plots.overlap_counts(fake_overlap(["a"], grid=grid, scores=np.ones((1, 4, 4))))
    assert figure.data[0].customdata[0].endswith("L2H3<br>and 4 more")


def test_57_records_have_bars_without_numbers() -> None:
    figure = plots.overlap_counts(fake_overlap(names_of(57)))
    assert len(figure.data[0].y) == 57
    assert figure.data[0].text is None
    assert figure.layout.xaxis.dtick == 5


def test_axes_are_named() -> None:
    layout = plots.overlap_counts(fake_overlap(["a", "b"])).layout
    assert (layout.xaxis.title.text, layout.yaxis.title.text) == ("sets (of 2) that hold the head", "heads")
