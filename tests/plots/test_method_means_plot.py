import pytest

from site_lens import plots
from site_lens.methods.evaluation import Evaluations
from site_lens.methods.method_table import MethodTable
from site_lens.methods.tabulate import method_table
from site_lens.plots.theme import INK, PALETTE
from tests.fakes import ACCURACIES, fake_evaluation

TASKS = ("antonym", "synonym")


def table_of(accuracies: dict[str, float] = ACCURACIES) -> MethodTable:
    return method_table(Evaluations(fake_evaluation(task, accuracies) for task in TASKS), ["ten_shot"])


def test_means_and_bars_are_those_of_the_record_best_on_top() -> None:
    table = table_of()
    means = plots.method_means(table).data[1]
    ranked = table.ranked()
    assert list(means.x) == [one.value for one in ranked]
    assert list(means.text) == [one.method for one in ranked]
    assert list(means.error_x.array) == pytest.approx([one.high - one.value for one in ranked])
    assert list(means.error_x.arrayminus) == pytest.approx([one.value - one.low for one in ranked])
    assert list(means.y) == sorted(means.y)


def test_every_shared_task_is_a_dot_in_the_row_of_its_method() -> None:
    table = table_of()
    figure = plots.method_means(table)
    dots, means = figure.data
    assert len(dots.x) == len(TASKS) * len(ACCURACIES)
    for i, one in enumerate(table.ranked()):
        own = [x for x, y in zip(dots.x, dots.y, strict=True) if y == means.y[i]]
        assert own == [pytest.approx(ACCURACIES[one.method])] * 2
    assert tuple(figure.layout.yaxis.range) == (len(ACCURACIES), 0)


def test_references_have_the_colour_they_have_elsewhere_and_a_line() -> None:
    figure = plots.method_means(table_of())
    colors = dict(zip(figure.data[1].text, figure.data[1].marker.color, strict=True))
    assert colors.pop("ten_shot") == PALETTE[0]
    assert set(colors.values()) == {INK}
    lines = [shape.x0 for shape in figure.layout.shapes if shape.x0 == shape.x1]
    assert lines == [pytest.approx(0.7)]


def test_a_single_task_is_said_to_be_one() -> None:
    one = method_table(Evaluations([fake_evaluation("antonym")]), ["ten_shot"])
    assert "one task" in plots.method_means(one).layout.title.subtitle.text


def test_names_are_escaped() -> None:
    figure = plots.method_means(table_of({"ten_shot": 0.5, "<b>m</b>": 0.6}))
    assert figure.layout.annotations[0].text == "&lt;b&gt;m&lt;/b&gt;"
    assert "<b>m" not in figure.to_json()
