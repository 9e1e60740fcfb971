"""Figures across records hold their numbers: layers, shared heads, the map of tasks, labelled rows."""

import numpy as np
import pytest

import site_lens as sl
from tests.plots.fakes import fake_overlap, fake_task_clusters, names_of

RAGGED = sl.HeadGrid((4, 0, 2))
SCORES = [[[0.9, 0.9, 0.1], [0.1, 0.9, 0.1]], [[0.9, 0.1, 0.1], [0.1, 0.9, 0.1]], [[0.9, 0.1, 0.1], [0.1, 0.1, 0.1]]]
NAMES = ["antonym", "synonym", "capital", "plural"]


def test_lines_are_means_over_the_heads_of_each_layer_and_break_where_it_has_none() -> None:
    scores = [[[0, 0.5, 1], [1, 1, 0.25]], [[0, 0, 0], [0.75, 0, 0]]]
    first, second = sl.plots.layer_profile(fake_overlap(["a", "country-capital_continent"], scores=scores)).data
    np.testing.assert_array_equal([first.y, second.y], [[0.5, 0.75], [0, 0.25]])
    assert len(second.name) == 16 and second.hovertemplate.startswith("country-capital_continent<br>")
    ragged = fake_overlap(["a"], grid=RAGGED, scores=np.where(RAGGED.mask, 0.5, 0)[None], gates=False)
    figure = sl.plots.layer_profile(ragged)
    np.testing.assert_array_equal(figure.data[0].y, [0.5, np.nan, 0.5])
    assert figure.layout.yaxis.title.text == "Mean score"


def test_bars_count_the_heads_in_exactly_1_2_and_3_sets() -> None:
    figure = sl.plots.overlap_counts(fake_overlap(["a", "b", "c"], scores=SCORES))
    (bars,) = figure.data
    assert (list(bars.x), list(bars.y), list(bars.text)) == ([1, 2, 3], [1, 1, 1], ["1", "1", "1"])
    assert list(bars.customdata) == ["L0H1", "L1H1", "L0H0"]
    assert figure.layout.title.subtitle.text == "Sets: heads above 0.5; 3 of 6 in none"
    top = sl.plots.overlap_counts(fake_overlap(["a", "b", "c"], scores=SCORES, threshold=None, k=1))
    assert list(top.data[0].y) == [0, 0, 1]
    ragged = sl.plots.overlap_counts(fake_overlap(["a"], grid=RAGGED, scores=np.where(RAGGED.mask, 0.9, 0)[None]))
    assert list(ragged.data[0].y) == [6]  # places without a head are not counted
    many = sl.plots.overlap_counts(fake_overlap(["a"], grid=sl.HeadGrid.full(4, 4), scores=np.ones((1, 4, 4))))
    assert many.data[0].customdata[0].endswith("L2H3<br>and 4 more")
    assert sl.plots.overlap_counts(fake_overlap(names_of(57))).data[0].text is None


def test_points_are_the_coordinates_one_trace_a_cluster() -> None:
    record = fake_task_clusters(NAMES)
    for by, title in (("pca", "Component 1 (42.0% of variance)"), ("mds", "Dimension 1 (1 - correlation)")):
        figure = sl.plots.task_map(record, by=by)  # type: ignore[arg-type]
        xy = getattr(record, by)
        for trace, rows in zip(figure.data[:2], ([0, 1], [2, 3]), strict=True):
            np.testing.assert_array_equal(np.stack([trace.x, trace.y], axis=1), xy[rows])
            assert [name for name, _ in trace.customdata] == [NAMES[i] for i in rows]
        assert figure.layout.xaxis.title.text == title
        assert figure.layout.yaxis.scaleanchor == "x"  # distances look alike in both directions
    with pytest.raises(sl.InputError):
        sl.plots.task_map(fake_task_clusters(["a", "b"]))
