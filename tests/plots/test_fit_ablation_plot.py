"""The figure of an ablation holds the record's differences and says when there are too few queries."""

import pytest

import site_lens as sl
from site_lens.plots.theme import INK
from site_lens.studies.ablation.plot import COLORS
from tests.small_experiments import fake_ablation

RATES = {"default": 0.5, "up": 0.8, "down": 0.2, "same": 0.5}


def test_differences_and_bars_are_those_of_the_record() -> None:
    record = fake_ablation(RATES)
    tasks, means = sl.plots.fit_ablation(record).data
    intervals = [record.difference(name) for name in ("up", "down", "same")]
    assert list(means.x) == [one.value for one in intervals]
    assert list(means.error_x.array) == pytest.approx([one.high - one.value for one in intervals])
    assert list(means.error_x.arrayminus) == pytest.approx([one.value - one.low for one in intervals])
    assert list(tasks.x) == [record.difference(name, task).value for name in ("up", "down", "same") for task in "ab"]


def test_colours_are_the_verdicts() -> None:
    assert list(sl.plots.fit_ablation(fake_ablation(RATES)).data[1].marker.color) == [
        COLORS["above"], COLORS["below"], INK,
    ]  # fmt: skip


def test_too_few_queries_are_said_and_nothing_is_coloured() -> None:
    figure = sl.plots.fit_ablation(fake_ablation(RATES, n_queries=10))
    assert "20 queries of 2 tasks: too few for a verdict" in figure.layout.title.subtitle.text
    assert set(figure.data[1].marker.color) == {INK}


def test_names_are_escaped() -> None:
    figure = sl.plots.fit_ablation(fake_ablation({"default": 0.5, "<b>": 0.6}, tasks=["<i>"]))
    assert "<b>" not in figure.layout.annotations[0].text
    assert "<i>" not in figure.data[0].text[0]
