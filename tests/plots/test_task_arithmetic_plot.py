"""The figure of two combined tasks holds the record's accuracies and its references."""

import pytest

import site_lens as sl
from site_lens.studies.task_arithmetic.result import KINDS
from tests.fake_studies import fake_arithmetic


def test_every_panel_has_both_tasks_over_the_weights() -> None:
    record = fake_arithmetic([0.9, 0.5, 0.1], [0.1, 0.4, 0.8])
    figure = sl.plots.task_arithmetic(record)
    assert len(figure.data) == len(KINDS) * 2
    for row, kind in enumerate(KINDS):
        for line, task in zip(figure.data[2 * row : 2 * row + 2], "ab", strict=True):
            assert list(line.x) == [0, 0.5, 1]
            assert list(line.y) == [record.accuracy(kind, weight, task).value for weight in record.weights]
            assert line.yaxis == ("y" if row == 0 else f"y{row + 1}")


def test_dotted_lines_stand_at_the_own_fit_and_at_zero_shot() -> None:
    figure = sl.plots.task_arithmetic(fake_arithmetic([0.5], [0.5], weights=[0.5]))
    assert [line.y0 for line in figure.layout.shapes[:4]] == pytest.approx([0.9, 0.1, 0.9, 0.1])
