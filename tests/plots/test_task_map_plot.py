import numpy as np
import pytest

from site_lens import plots
from site_lens.diagnostics.clusters import Estimate
from site_lens.plots._task_map import Layout
from site_lens.plots.theme import PALETTE
from site_lens.records.errors import InputError
from tests.plots.fakes import SCRIPT, fake_task_clusters, names_of

NAMES = ["antonym", "synonym", "capital", "plural"]
FAMILIES = ("lexical", "lexical", "knowledge", None)


@pytest.mark.parametrize("by", ["pca", "mds"])
def test_points_are_the_coordinates_one_trace_a_cluster(by: Layout) -> None:
    record = fake_task_clusters(NAMES)
    figure = plots.task_map(record, by=by)
    xy = getattr(record, by)
    for trace, rows in zip(figure.data[:2], ([0, 1], [2, 3]), strict=True):
        np.testing.assert_array_equal(trace.x, xy[rows, 0])
        np.testing.assert_array_equal(trace.y, xy[rows, 1])
        assert [name for name, _ in trace.customdata] == [NAMES[i] for i in rows]
    assert figure.layout.yaxis.scaleanchor == "x"  # distances look alike in both directions


def test_axes_say_what_they_are() -> None:
    record = fake_task_clusters(NAMES)
    by_pca, by_mds = plots.task_map(record).layout, plots.task_map(record, by="mds").layout
    assert by_pca.xaxis.title.text == "component 1 (42.0% of variance)"
    assert by_pca.yaxis.title.text == "component 2 (21.0% of variance)"
    assert by_mds.yaxis.title.text == "dimension 2 (1 - correlation)"


def test_colour_is_the_cluster_and_symbol_the_family() -> None:
    figure = plots.task_map(fake_task_clusters(NAMES, families=FAMILIES))
    first, second = figure.data[:2]
    assert (first.marker.color, second.marker.color) == PALETTE[:2]
    assert first.marker.symbol[0] == first.marker.symbol[1]
    assert len({first.marker.symbol[0], *second.marker.symbol}) == 3
    legend = [trace for trace in figure.data if trace.showlegend]
    assert [trace.name for trace in legend] == ["cluster 0 (2)", "cluster 1 (2)", "lexical", "knowledge",
                                                "family unknown"]  # fmt: skip
    assert legend[2].marker.symbol == first.marker.symbol[0]
    assert not first.showlegend


def test_without_known_families_the_legend_has_clusters_only() -> None:
    legend = [trace.name for trace in plots.task_map(fake_task_clusters(NAMES)).data if trace.showlegend]
    assert legend == ["cluster 0 (2)", "cluster 1 (2)"]


def test_tasks_of_no_cluster_come_last_in_grey() -> None:
    record = fake_task_clusters(NAMES, labels=(-1, 0, 0, -1), method="hdbscan")
    figure = plots.task_map(record)
    assert [trace.name for trace in figure.data if trace.showlegend] == ["cluster 0 (2)", "no cluster (2)"]
    assert figure.data[1].marker.color == PALETTE[6]


def test_names_stand_at_their_points() -> None:
    record = fake_task_clusters(NAMES)
    found = {a.text: (a.x, a.y) for a in plots.task_map(record).layout.annotations}
    assert found == {name: tuple(map(float, at)) for name, at in zip(NAMES, record.pca, strict=True)}


def test_tasks_at_one_place_keep_their_names_apart() -> None:
    names = names_of(8)
    annotations = plots.task_map(fake_task_clusters(names, pca=np.zeros((8, 2)))).layout.annotations
    assert len(annotations) == 8
    assert len({(a.ax, a.ay) for a in annotations}) == 8


def test_57_tasks_are_all_there_and_names_that_do_not_fit_are_left_to_the_hover_label() -> None:
    record = fake_task_clusters(names_of(57))
    figure = plots.task_map(record)
    assert sum(len(trace.x) for trace in figure.data[:2]) == 57
    assert 0 < len(figure.layout.annotations) < 57
    assert figure.data[0].customdata[5][0] == record.items[5]


def test_more_clusters_than_colours_can_be_drawn() -> None:
    figure = plots.task_map(fake_task_clusters(names_of(57), labels=range(57), families=names_of(57)))
    assert len(figure.data) == 3 * 57


def test_stability_and_agreement_are_in_the_subtitle() -> None:
    agreement = Estimate(value=0.62, low=0.4, high=0.8, p_value=0.01)
    record = fake_task_clusters(NAMES, family_agreement=agreement)
    expected = "3 seeds, stability 0.71, agreement with families 0.62"
    assert plots.task_map(record).layout.title.subtitle.text == expected
    bare = plots.task_map(record.replace(n_seeds=1, stability=None, family_agreement=None))
    assert bare.layout.title.subtitle.text == "one seed a task"


def test_names_are_escaped() -> None:
    figure = plots.task_map(fake_task_clusters([SCRIPT, "b", "c"], families=(SCRIPT, SCRIPT, None)))
    assert "<script>" not in str(figure.to_json())


def test_too_few_tasks_and_unknown_layouts_are_refused() -> None:
    with pytest.raises(InputError, match="at least three tasks, got 2"):
        plots.task_map(fake_task_clusters(["a", "b"]))
    with pytest.raises(InputError, match="'pca'"):
        plots.task_map(fake_task_clusters(NAMES), by="pcs")  # type: ignore[arg-type]
