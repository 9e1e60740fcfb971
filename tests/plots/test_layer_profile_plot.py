import numpy as np
import pytest

from site_lens import plots
from site_lens.heads.head_set import HeadGrid
from tests.plots.fakes import SCRIPT, fake_overlap, names_of

RAGGED = HeadGrid((4, 0, 2))


def test_lines_are_the_means_over_the_heads_of_each_layer() -> None:
    scores = [[[0, 0.5, 1], [1, 1, 0.25]], [[0, 0, 0], [0.75, 0, 0]]]
    first, second = plots.layer_profile(fake_overlap(["a", "b"], scores=scores)).data
    assert (first.name, second.name) == ("a", "b")
    np.testing.assert_array_equal(first.x, [0, 1])
    np.testing.assert_array_equal(first.y, [0.5, 0.75])
    np.testing.assert_array_equal(second.y, [0, 0.25])


def test_a_layer_counts_the_heads_it_has_and_breaks_the_line_where_it_has_none() -> None:
    scores = np.where(RAGGED.mask, 0.5, 0)[None]
    (line,) = plots.layer_profile(fake_overlap(["a"], grid=RAGGED, scores=scores)).data
    np.testing.assert_array_equal(line.y, [0.5, np.nan, 0.5])


def test_eight_records_have_looks_of_their_own_and_the_others_are_one_grey_trace() -> None:
    record = fake_overlap(names_of(57))
    others, *named = plots.layer_profile(record).data
    assert len(named) == 8
    assert len({(line.line.color, line.marker.symbol) for line in named}) == 8
    assert others.line.color not in {line.line.color for line in named}
    assert others.name == "others (49)"
    rows = np.append(others.y, np.nan).reshape(49, 3)
    np.testing.assert_allclose(rows[:, :2], record.scores[8:].mean(axis=2), rtol=1e-6)
    assert np.isnan(rows[:, 2]).all()
    assert others.customdata[0] == record.names[8]
    assert others.customdata[-1] == record.names[56]


@pytest.mark.parametrize(("n", "n_traces"), [(1, 1), (8, 8), (9, 9)])
def test_there_are_others_from_the_ninth_record_on(n: int, n_traces: int) -> None:
    figure = plots.layer_profile(fake_overlap(names_of(n)))
    assert len(figure.data) == n_traces
    assert ("others (1)" in [trace.name for trace in figure.data]) == (n > 8)
    assert figure.layout.showlegend


@pytest.mark.parametrize(("gates", "unit"), [(True, "alpha"), (False, "score")])
def test_the_unit_is_that_of_the_record(gates: bool, unit: str) -> None:
    layout = plots.layer_profile(fake_overlap(["a"], gates=gates)).layout
    assert (layout.xaxis.title.text, layout.yaxis.title.text) == ("layer", f"mean {unit}")
    assert layout.yaxis.rangemode == "tozero"


def test_long_names_are_short_in_the_legend_and_full_on_hover() -> None:
    line = plots.layer_profile(fake_overlap(["country-capital_continent"])).data[0]
    assert len(line.name) == 16
    assert line.hovertemplate.startswith("country-capital_continent<br>")


def test_names_are_escaped_and_cannot_reach_into_the_hover_template() -> None:
    figure = plots.layer_profile(fake_overlap([*names_of(8), SCRIPT]))
    assert "<script>" not in str(figure.to_json())
    named = plots.layer_profile(fake_overlap([SCRIPT])).data[0]
    assert named.hovertemplate.startswith("&lt;script&gt;alert(1)&lt;/script&gt;% {x}<br>")
