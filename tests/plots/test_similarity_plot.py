from typing import get_args

import numpy as np
import pytest
from scipy.cluster.hierarchy import dendrogram

from site_lens import plots
from site_lens.diagnostics.clusters import HeadClusters, TaskClusters
from site_lens.diagnostics.overlap import Overlap
from site_lens.heads.head_set import HeadGrid
from site_lens.plots._similarity import Measure, short
from site_lens.plots.theme import least_width
from site_lens.records.errors import InputError
from tests.plots.fakes import SCRIPT, fake_head_clusters, fake_overlap, fake_task_clusters, names_of

NAMES = ["antonym", "synonym", "capital"]


@pytest.mark.parametrize("measure", get_args(Measure))
def test_cells_are_the_measure_of_every_pair_in_order_of_the_records(measure: Measure) -> None:
    record = fake_overlap(NAMES)
    figure = plots.similarity(record, measure=measure)
    np.testing.assert_array_equal(figure.data[0].z, getattr(record, measure))
    assert figure.layout.coloraxis.colorbar.title.text == f"{measure}&nbsp;"
    assert list(figure.layout.yaxis.ticktext) == list(figure.layout.xaxis.ticktext) == NAMES
    assert tuple(figure.layout.yaxis.range) == (2.5, -0.5)  # first record on top


@pytest.mark.parametrize(("measure", "low"), [("jaccard", 0), ("rank_biased", 0), ("spearman", -1)])
def test_scales_are_fixed_that_of_correlations_is_centred_on_zero(measure: Measure, low: int) -> None:
    axis = plots.similarity(fake_overlap(NAMES), measure=measure).layout.coloraxis
    assert (axis.cmin, axis.cmax) == (low, 1)


def test_pairs_below_a_false_discovery_rate_of_5_percent_have_a_dot() -> None:
    q = [[1, 0.049, 0.05], [0.049, 1, 0.001], [0.05, 0.001, 1]]
    dots = plots.similarity(fake_overlap(NAMES, q_value=q)).data[1]
    assert {(int(y), int(x)) for y, x in zip(dots.y, dots.x, strict=True)} == {(0, 1), (1, 0), (1, 2), (2, 1)}
    assert dots.hoverinfo == "skip"  # so that the cell below answers


def test_a_record_is_not_compared_with_itself() -> None:
    assert len(plots.similarity(fake_overlap(NAMES, q_value=np.zeros((3, 3)))).data[1].x) == 6


def test_hover_gives_full_names_and_p_and_q() -> None:
    long = ["country-capital_language", "country-capital_continent"]
    record = fake_overlap(long)
    cells = plots.similarity(record).data[0]
    assert cells.text[0][1] == "country-capital_language<br>country-capital_continent"
    np.testing.assert_array_equal(cells.customdata[..., 0], record.p_value)
    np.testing.assert_array_equal(cells.customdata[..., 1], record.q_value)
    assert "p %{customdata[0]:.3g}, q %{customdata[1]:.3g}" in cells.hovertemplate


def test_names_on_the_axes_are_shortened_and_still_differ() -> None:
    long = ["country-capital_language", "country-capital_continent", "country-capital_continent#1", "short"]
    ticks = plots.similarity(fake_overlap(long)).layout.yaxis.ticktext
    assert len(set(ticks)) == 4
    assert max(map(len, ticks)) <= 18
    assert ticks[3] == "short"


@pytest.mark.parametrize("n", [1, 17, 18, 19, 40])
def test_a_shortened_name_has_the_length_asked_for(n: int) -> None:
    assert len(short("x" * n)) == min(n, 18)


def test_the_kind_of_set_is_named() -> None:
    def subtitle(record: Overlap) -> str:
        return str(plots.similarity(record).layout.title.subtitle.text)

    assert "above 0.5" in subtitle(fake_overlap(NAMES))
    assert "top 2" in subtitle(fake_overlap(NAMES, threshold=None))


def test_clusters_stand_in_leaf_order_and_show_correlations() -> None:
    record = fake_task_clusters(names_of(6))
    figure = plots.similarity(record)
    cells = figure.data[0]
    for row, i in enumerate(record.order):
        for column, j in enumerate(record.order):
            assert cells.z[row, column] == 1 - record.distance[i, j]
            assert cells.text[row][column] == f"{record.items[i]}<br>{record.items[j]}"
            assert tuple(cells.customdata[row, column]) == (record.labels[i], record.labels[j])
    assert list(figure.layout.yaxis2.ticktext) == [short(record.items[i]) for i in record.order]
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (-1, 1)


def _sorted(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order brackets (bracket corner) by height, and each from left to right."""
    rows, columns = np.argsort(y[:, 1])[:, None], np.argsort(x, axis=1, kind="stable")
    x, y = np.take_along_axis(x, columns, axis=1), np.take_along_axis(y, columns, axis=1)
    lower = [y[:, [0, 1]].min(axis=1), y[:, [2, 3]].min(axis=1)]  # where its two feet stand
    return x[rows[:, 0]], np.stack([*lower, y.max(axis=1)], axis=1)[rows[:, 0]]


@pytest.mark.parametrize("n", [2, 6, 57])
def test_the_tree_is_the_one_that_scipy_draws(n: int) -> None:
    record = fake_task_clusters(names_of(n))
    figure = plots.similarity(record)
    lines = figure.data[1]
    expected = dendrogram(record.linkage.astype(np.float64), no_plot=True)
    assert expected["leaves"] == list(record.order)
    drawn = [np.append(values, np.nan).reshape(-1, 5)[:, :4] for values in (lines.x, lines.y)]
    planned = [(np.array(expected["icoord"]) - 5) / 10, np.array(expected["dcoord"])]
    for ours, theirs in zip(_sorted(*drawn), _sorted(*planned), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert (lines.xaxis, figure.layout.xaxis.matches) == ("x", "x2")  # each leaf stands over its column


def test_heads_are_drawn_like_tasks() -> None:
    record = fake_head_clusters(HeadGrid((4, 0, 2)))
    figure = plots.similarity(record)
    np.testing.assert_array_equal(figure.data[0].z, 1 - record.distance[np.ix_(record.order, record.order)])
    assert figure.layout.title.text == "similarity of heads"


def test_one_item_is_enough() -> None:
    assert plots.similarity(fake_task_clusters(["a"])).data[0].z.shape == (1, 1)
    assert plots.similarity(fake_overlap(["a"])).data[0].z.shape == (1, 1)


def test_one_seed_is_said() -> None:
    assert "one seed a task" in plots.similarity(fake_task_clusters(NAMES, n_seeds=1)).layout.title.subtitle.text


@pytest.mark.parametrize("record", [fake_overlap(names_of(57)), fake_task_clusters(names_of(57))])
def test_57_tasks_have_names_on_both_sides_and_ask_for_the_width_that_these_take(
    record: Overlap | TaskClusters,
) -> None:
    figure = plots.similarity(record)
    x, y = list(figure.select_xaxes())[-1], list(figure.select_yaxes())[-1]
    assert (x.showticklabels, y.showticklabels, len(x.ticktext), len(y.ticktext)) == (True, True, 57, 57)
    assert figure.layout.height > 57 * 14
    names = 18 * 0.65 * y.tickfont.size  # what 18 characters take at most
    assert (least_width(figure) or 0) - names >= 57 * x.tickfont.size


@pytest.mark.parametrize("n", [1, 20, 61])
def test_few_names_and_none_are_content_with_a_phones_width(n: int) -> None:
    assert least_width(plots.similarity(fake_overlap(names_of(n)))) is None


@pytest.mark.parametrize("record", [fake_overlap(names_of(61)), fake_head_clusters(HeadGrid.full(8, 8))])
def test_above_60_items_ticks_are_hidden_but_hold_the_full_names_for_the_hover_label(
    record: Overlap | HeadClusters,
) -> None:
    figure = plots.similarity(record)
    x, y = list(figure.select_xaxes())[-1], list(figure.select_yaxes())[-1]
    assert not x.showticklabels
    assert not y.showticklabels
    names = record.names if isinstance(record, Overlap) else [record.items[i] for i in record.order]
    assert list(x.ticktext) == list(y.ticktext) == list(names)
    assert figure.data[0].text is None
    assert figure.data[0].hovertemplate.startswith("%{y}<br>%{x}<br>")


def test_names_are_escaped() -> None:
    for record in (fake_overlap([SCRIPT, "b"]), fake_task_clusters([SCRIPT, "b"])):
        assert "<script>" not in str(plots.similarity(record).to_json())


def test_an_unknown_measure_is_named_with_its_neighbours() -> None:
    with pytest.raises(InputError, match="'jacard'; did you mean 'jaccard'"):
        plots.similarity(fake_overlap(NAMES), measure="jacard")  # type: ignore[arg-type]
