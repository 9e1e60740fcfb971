"""Figures across records hold their numbers: layers, shared heads, the map of tasks, labelled rows."""

import numpy as np
import pytest

from site_lens import plots
from site_lens.diagnostics.cluster_stability import Estimate
from site_lens.heads.head_set import HeadGrid
from site_lens.methods.evaluation import Evaluations
from site_lens.methods.method_table import MethodTable
from site_lens.methods.tabulate import method_table
from site_lens.plots._task_map import _sides
from site_lens.plots.theme import PALETTE
from site_lens.records.errors import InputError
from tests.fakes import fake_evaluation
from tests.plots.fakes import fake_overlap, fake_task_clusters, names_of

RAGGED = HeadGrid((4, 0, 2))
SCORES = [[[0.9, 0.9, 0.1], [0.1, 0.9, 0.1]], [[0.9, 0.1, 0.1], [0.1, 0.9, 0.1]], [[0.9, 0.1, 0.1], [0.1, 0.1, 0.1]]]
NAMES = ["antonym", "synonym", "capital", "plural"]
FAMILIES = ("lexical", "lexical", "knowledge", None)


# Layers


def test_lines_are_means_over_the_heads_of_each_layer_and_break_where_it_has_none() -> None:
    scores = [[[0, 0.5, 1], [1, 1, 0.25]], [[0, 0, 0], [0.75, 0, 0]]]
    first, second = plots.layer_profile(fake_overlap(["a", "country-capital_continent"], scores=scores)).data
    np.testing.assert_array_equal([first.y, second.y], [[0.5, 0.75], [0, 0.25]])
    assert len(second.name) == 16 and second.hovertemplate.startswith("country-capital_continent<br>")
    ragged = fake_overlap(["a"], grid=RAGGED, scores=np.where(RAGGED.mask, 0.5, 0)[None], gates=False)
    figure = plots.layer_profile(ragged)
    np.testing.assert_array_equal(figure.data[0].y, [0.5, np.nan, 0.5])
    assert figure.layout.yaxis.title.text == "mean score"


def test_eight_records_have_looks_of_their_own_and_the_others_are_one_grey_trace() -> None:
    record = fake_overlap(names_of(57))
    others, *named = plots.layer_profile(record).data
    assert len({(line.line.color, line.marker.symbol) for line in named}) == len(named) == 8
    assert others.line.color not in {line.line.color for line in named}
    rows = np.append(others.y, np.nan).reshape(49, 3)
    np.testing.assert_allclose(rows[:, :2], record.scores[8:].mean(axis=2), rtol=1e-6)
    assert np.isnan(rows[:, 2]).all()
    assert (others.customdata[0], others.customdata[-1]) == (record.names[8], record.names[56])
    assert len(plots.layer_profile(fake_overlap(names_of(8))).data) == 8


# Shared heads


def test_bars_count_the_heads_in_exactly_1_2_and_3_sets() -> None:
    figure = plots.overlap_counts(fake_overlap(["a", "b", "c"], scores=SCORES))
    (bars,) = figure.data
    assert (list(bars.x), list(bars.y), list(bars.text)) == ([1, 2, 3], [1, 1, 1], ["1", "1", "1"])
    assert list(bars.customdata) == ["L0H1", "L1H1", "L0H0"]
    assert figure.layout.title.subtitle.text == "sets: heads above 0.5; 3 of 6 in none"
    top = plots.overlap_counts(fake_overlap(["a", "b", "c"], scores=SCORES, threshold=None, k=1))
    assert list(top.data[0].y) == [0, 0, 1]
    ragged = plots.overlap_counts(fake_overlap(["a"], grid=RAGGED, scores=np.where(RAGGED.mask, 0.9, 0)[None]))
    assert list(ragged.data[0].y) == [6]  # places without a head are not counted
    many = plots.overlap_counts(fake_overlap(["a"], grid=HeadGrid.full(4, 4), scores=np.ones((1, 4, 4))))
    assert many.data[0].customdata[0].endswith("L2H3<br>and 4 more")
    assert plots.overlap_counts(fake_overlap(names_of(57))).data[0].text is None


# The map of tasks


def test_points_are_the_coordinates_one_trace_a_cluster() -> None:
    record = fake_task_clusters(NAMES)
    for by, title in (("pca", "component 1 (42.0% of variance)"), ("mds", "dimension 1 (1 - correlation)")):
        figure = plots.task_map(record, by=by)  # type: ignore[arg-type]
        xy = getattr(record, by)
        for trace, rows in zip(figure.data[:2], ([0, 1], [2, 3]), strict=True):
            np.testing.assert_array_equal(np.stack([trace.x, trace.y], axis=1), xy[rows])
            assert [name for name, _ in trace.customdata] == [NAMES[i] for i in rows]
        assert figure.layout.xaxis.title.text == title
        assert figure.layout.yaxis.scaleanchor == "x"  # distances look alike in both directions
    for wrong in ({"record": fake_task_clusters(["a", "b"])}, {"record": record, "by": "pcs"}):
        with pytest.raises(InputError):
            plots.task_map(**wrong)


def test_colour_is_the_cluster_and_symbol_the_family() -> None:
    figure = plots.task_map(fake_task_clusters(NAMES, families=FAMILIES))
    first, second = figure.data[:2]
    assert (first.marker.color, second.marker.color) == PALETTE[:2]
    assert first.marker.symbol[0] == first.marker.symbol[1]
    assert len({first.marker.symbol[0], *second.marker.symbol}) == 3
    legend = [trace for trace in figure.data if trace.showlegend is not False]
    assert [trace.name for trace in legend] == ["cluster 0 (2)", "cluster 1 (2)", "lexical", "knowledge",
                                                "family unknown"]  # fmt: skip
    assert legend[2].marker.symbol == first.marker.symbol[0]
    none = plots.task_map(fake_task_clusters(NAMES, labels=(-1, 0, 0, -1), method="hdbscan"))
    assert [trace.name for trace in none.data] == ["cluster 0", "no cluster", "cluster 0 (2)", "no cluster (2)"]
    assert none.data[1].marker.color == PALETTE[6]
    assert len(plots.task_map(fake_task_clusters(names_of(57), labels=range(57), families=names_of(57))).data) == 3 * 57


def test_names_stand_on_different_sides_of_points_at_one_place_or_are_left_to_hover_labels() -> None:
    assert len(set(_sides(np.zeros((4, 2), dtype=np.float32), ("aa", "bb", "cc", "dd")).values())) == 4
    figure = plots.task_map(fake_task_clusters(names_of(57)))
    texts = [text for trace in figure.data[:2] for text in trace.text]
    assert len(texts) == 57
    assert 0 < sum(map(bool, texts)) < 57
    few = plots.task_map(fake_task_clusters(NAMES, pca=[[0, 0], [1, 1], [0, 1], [1, 0]]))
    assert [text for trace in few.data[:2] for text in trace.text] == NAMES


def test_stability_and_agreement_are_in_the_subtitle() -> None:
    agreement = Estimate(value=0.62, low=0.4, high=0.8, p_value=0.01)
    record = fake_task_clusters(NAMES, family_agreement=agreement)
    expected = "3 seeds, stability 0.71, agreement with families 0.62"
    assert plots.task_map(record).layout.title.subtitle.text == expected
    bare = plots.task_map(record.replace(n_seeds=1, stability=None, family_agreement=None))
    assert bare.layout.title.subtitle.text == "one seed a task"


# Labelled rows

PLANTED = {"zero_shot": 0.1, "ten_shot": 0.5, "frugal": 0.3, "site": 0.8, "greedy": 0.7}
ROWS = (0, 10, 10, 90, 400)


def table_of(planted: dict[str, float] = PLANTED, rows: tuple[int, ...] = ROWS) -> MethodTable:
    evaluation = fake_evaluation("antonym", planted).replace(labelled_rows=rows)
    return method_table(Evaluations([evaluation]), ["ten_shot"])


def test_methods_stand_at_their_rows_and_accuracy_below_a_stair_of_the_best() -> None:
    figure = plots.labelled_rows(table_of())
    stair, dots = figure.data
    np.testing.assert_allclose(dots.x, np.log10(1 + np.array(ROWS)))
    assert list(dots.y) == pytest.approx(list(PLANTED.values()))
    assert list(stair.y) == pytest.approx([0.1, 0.5, 0.8, 0.8])
    np.testing.assert_allclose(stair.x, np.log10([1, 11, 91, 401]))
    assert tuple(figure.layout.xaxis.ticktext) == ("0", "1", "10", "100", "1,000")
    np.testing.assert_allclose(figure.layout.xaxis.tickvals, np.log10([1, 2, 11, 101, 1001]))
    assert list(dots.text) == ["zero_shot", "ten_shot", "", "site", ""]
    close = plots.labelled_rows(table_of(PLANTED | {"site": 0.525}))
    assert close.data[1].text[3] == ""  # it would cover another name
    assert list(plots.labelled_rows(table_of({"ten_shot": 0.5, "b": 0.9}, (0, 0))).data[1].x) == [0, 0]
