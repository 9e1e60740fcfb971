"""Forest plots hold the record's estimates and intervals: accuracies, means of methods, ablations, content shares."""

import re

import numpy as np
import plotly.graph_objects as go
import pytest

import site_lens as sl
from site_lens.methods.registry import METHODS, method_label
from site_lens.plots.theme import GREY, PALETTE
from site_lens.stats.intervals import wilson
from site_lens.studies.ablation.plot import COLORS
from tests.fake_studies import fake_ablation, fake_content
from tests.fakes import ACCURACIES, fake_evaluation

EVALUATIONS = sl.Evaluations([fake_evaluation("antonym"), fake_evaluation("synonym", {"ten_shot": 0.5, "odd": 0.25})])
RATES = {"default": 0.5, "up": 0.8, "down": 0.2, "same": 0.5}


def need_estimates(trace: go.Scatter, expected: list[sl.Interval]) -> None:
    """Dots are the estimates, error bars end where the intervals end."""
    assert list(trace.x) == pytest.approx([estimate.value for estimate in expected])
    assert np.add(trace.x, trace.error_x.array) == pytest.approx([estimate.high for estimate in expected])
    assert np.subtract(trace.x, trace.error_x.arrayminus) == pytest.approx([estimate.low for estimate in expected])


def test_accuracies_are_dots_with_wilson_intervals_in_the_row_of_their_task() -> None:
    figure = sl.plots.accuracy(EVALUATIONS)
    traces = {trace.name: trace for trace in figure.data}
    for method, share in ACCURACIES.items():
        first = {"ten_shot": [wilson(28, 40), wilson(20, 40)]}.get(method, [wilson(round(40 * share), 40)])
        need_estimates(traces[method_label(method)], first)
    assert (figure.layout.yaxis.ticktext, figure.layout.yaxis.tickvals) == (("antonym", "synonym"), (0.5, 1.5))
    assert tuple(figure.layout.yaxis.range) == (2, 0)  # first task on top
    rows = {name: np.floor(trace.y).tolist() for name, trace in traces.items()}
    assert rows == dict.fromkeys(map(method_label, ACCURACIES), [0]) | {"10-shot": [0, 1], "odd": [1]}


def test_every_method_has_a_label_and_a_look_that_no_other_method_of_the_figure_has() -> None:
    assert all(entry.label for entry in METHODS.values())
    assert [method_label(name) for name in ("3_shot", "few_shot", "site#1_hard", "odd", "calibrated_ten_shot")] == [
        "3-shot", "N-shot", "SITE, rounded (seed 1)", "odd", "10-shot, calibrated",
    ]  # fmt: skip
    many = {name: 0.5 for name in ("zero_shot", "ten_shot", "site", "lora", "task_vector", *map(str, range(7)))}
    traces = sl.plots.accuracy(sl.Evaluations([fake_evaluation("a", many)])).data
    assert len({(trace.marker.color, trace.marker.symbol) for trace in traces}) == len(many)


def test_means_of_methods_stand_in_falling_order_over_the_dots_of_their_tasks() -> None:
    table = sl.method_table(sl.Evaluations(fake_evaluation(task) for task in ("antonym", "synonym")), ["ten_shot"])
    figure, ranked = sl.plots.method_means(table), table.ranked()
    single, means = figure.data
    need_estimates(means, [sl.Interval(method.value, method.low, method.high, 2) for method in ranked])
    labels = [re.sub("<.*?>", "", name) for name in figure.layout.yaxis.ticktext]
    assert labels == [method_label(method.method) for method in ranked]
    assert list(means.y) == sorted(means.y)
    for i, method in enumerate(ranked):
        in_row = [x for x, y in zip(single.x, single.y, strict=True) if y == means.y[i]]
        assert in_row == [pytest.approx(ACCURACIES[method.method])] * 2
    colors = dict(zip([method.method for method in ranked], means.marker.color, strict=True))
    assert colors.pop("ten_shot") == PALETTE[0]  # as in every figure
    assert set(colors.values()) == {GREY}
    assert [shape.x0 for shape in figure.layout.shapes if shape.x0 == shape.x1] == [pytest.approx(0.7)]


def test_differences_of_an_ablation_are_coloured_by_their_verdicts() -> None:
    record = fake_ablation(RATES)
    single, means = sl.plots.fit_ablation(record).data
    need_estimates(means, [record.difference(name) for name in ("up", "down", "same")])
    assert list(single.x) == [record.difference(name, task).value for name in ("up", "down", "same") for task in "ab"]
    assert list(means.marker.color) == [COLORS["above"], COLORS["below"], GREY]
    few = sl.plots.fit_ablation(fake_ablation(RATES, n_queries=10))
    assert "too few" in few.layout.title.subtitle.text
    assert set(few.data[1].marker.color) == {GREY}


def test_content_shares_leave_out_tasks_with_nothing_to_share() -> None:
    record = fake_content()
    right = record.right.copy()
    right[:, 1] = 1
    record = record.replace(right=right)
    trace = sl.plots.content_shares(record).data[0]
    shares = [record.share("site_zero_embedding", task) for task in (None, "a", "b")]
    assert shares[2] is None and trace.name == "no embedding"
    need_estimates(trace, [share for share in shares if share is not None])
