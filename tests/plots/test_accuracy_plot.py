import numpy as np
import pytest

from site_lens import plots
from site_lens.methods.evaluation import Evaluations
from site_lens.records.errors import InputError
from site_lens.stats.intervals import wilson
from tests.fakes import ACCURACIES, fake_evaluation

EVALUATIONS = Evaluations([fake_evaluation("antonym"), fake_evaluation("synonym", {"ten_shot": 0.5, "odd": 0.25})])


def test_dots_and_bars_are_the_accuracies_and_their_wilson_intervals() -> None:
    figure = plots.accuracy(EVALUATIONS)
    for trace, share in zip(figure.data, ACCURACIES.values(), strict=False):
        expected = wilson(round(40 * share), 40)
        assert trace.x[0] == pytest.approx(expected.value)
        assert trace.x[0] + trace.error_x.array[0] == pytest.approx(expected.high)
        assert trace.x[0] - trace.error_x.arrayminus[0] == pytest.approx(expected.low)


def test_every_method_has_a_colour_and_a_symbol_of_its_own() -> None:
    looks = [(trace.marker.color, trace.marker.symbol) for trace in plots.accuracy(EVALUATIONS).data]
    assert len({color for color, _ in looks}) == len({symbol for _, symbol in looks}) == len(looks) == 6


def test_a_method_looks_the_same_whatever_else_is_drawn() -> None:
    alone = plots.accuracy(Evaluations([fake_evaluation("a", {"site": 0.5})])).data[0]
    among = next(trace for trace in plots.accuracy(EVALUATIONS).data if trace.name == "site")
    assert (alone.marker.color, alone.marker.symbol) == (among.marker.color, among.marker.symbol)


def test_a_method_that_a_task_lacks_has_no_dot_there() -> None:
    by_name = {trace.name: trace for trace in plots.accuracy(EVALUATIONS).data}
    assert len(by_name["ten_shot"].x) == 2
    assert len(by_name["site"].x) == len(by_name["odd"].x) == 1


def test_dots_of_a_task_stand_in_its_row_below_its_name() -> None:
    figure = plots.accuracy(EVALUATIONS)
    assert [(a.text, a.y) for a in figure.layout.annotations] == [("antonym", 0), ("synonym", 1)]
    for trace in figure.data:
        rows = {"odd": [1]}.get(trace.name, [0, 1])
        assert [int(np.floor(y)) for y in trace.y] == rows[: len(trace.y)]
    assert tuple(figure.layout.yaxis.range) == (2, 0)  # first task on top


def test_names_from_the_data_are_escaped() -> None:
    figure = plots.accuracy(Evaluations([fake_evaluation("<b>t</b>", {"<i>m</i>%{x}": 0.5})]))
    assert figure.layout.annotations[0].text == "&lt;b&gt;t&lt;/b&gt;"
    assert figure.data[0].name.startswith("&lt;i&gt;m")
    assert figure.data[0].hovertemplate.count("%{x}") == 0


def test_another_metric_is_drawn_when_it_was_measured() -> None:
    one = fake_evaluation("a", {"site": 0.5})
    exact = Evaluations([one.replace(exact=np.zeros_like(one.first_token))])
    assert plots.accuracy(exact, metric="exact").data[0].x == (0,)
    with pytest.raises(InputError, match="exact was not measured"):
        plots.accuracy(Evaluations([one]), metric="exact")


def test_no_evaluations_are_said_in_words() -> None:
    with pytest.raises(InputError, match="no evaluations to draw"):
        plots.accuracy(Evaluations([]))


def test_further_seeds_stand_beside_the_lowest_in_its_look_and_not_in_the_legend() -> None:
    accuracies = {"zero_shot": 0.1, "site": 0.5, "site_hard": 0.4, "site#1": 0.6, "site#1_hard": 0.3}
    figure = plots.accuracy(Evaluations([fake_evaluation("antonym", accuracies)]))
    dots = {trace.name: trace for trace in figure.data}
    for seed, lowest in (("site#1", "site"), ("site#1_hard", "site_hard")):
        assert dots[seed].y == dots[lowest].y
        assert (dots[seed].marker.color, dots[seed].marker.symbol) == (
            dots[lowest].marker.color,
            dots[lowest].marker.symbol,
        )
        assert dots[seed].marker.size < dots[lowest].marker.size
        assert dots[seed].error_x.array is None
    assert [trace.name for trace in figure.data if trace.showlegend] == ["zero_shot", "site", "site_hard"]
    (alone,) = plots.accuracy(Evaluations([fake_evaluation("antonym", {"site#3": 0.5})])).data
    assert alone.showlegend and alone.marker.size == dots["site"].marker.size
    assert "further seeds" in figure.layout.title.subtitle.text
    assert "further seeds" not in plots.accuracy(EVALUATIONS).layout.title.subtitle.text
