import numpy as np
import pytest

from site_lens import plots
from site_lens.methods.evaluation import Evaluations
from site_lens.methods.method_table import MethodTable
from site_lens.methods.tabulate import method_table
from tests.fakes import fake_evaluation

PLANTED = {"zero_shot": 0.1, "ten_shot": 0.5, "frugal": 0.3, "site": 0.8, "greedy": 0.7}
ROWS = (0, 10, 10, 90, 400)


def table_of(planted: dict[str, float] = PLANTED, rows: tuple[int, ...] = ROWS) -> MethodTable:
    one = fake_evaluation("antonym", planted).replace(labelled_rows=rows)
    return method_table(Evaluations([one]), ["ten_shot"])


def test_every_method_stands_at_its_rows_and_its_accuracy() -> None:
    dots = plots.labelled_rows(table_of()).data[1]
    np.testing.assert_allclose(dots.x, np.log10(1 + np.array(ROWS)))
    assert list(dots.y) == pytest.approx(list(PLANTED.values()))


def test_the_axis_names_the_rows_from_nothing_on() -> None:
    axis = plots.labelled_rows(table_of()).layout.xaxis
    assert tuple(axis.ticktext) == ("0", "1", "10", "100", "1,000")
    np.testing.assert_allclose(axis.tickvals, np.log10([1, 2, 11, 101, 1001]))


def test_the_stair_rises_with_the_best_and_stays_to_the_end() -> None:
    stair = plots.labelled_rows(table_of()).data[0]
    assert list(stair.y) == pytest.approx([0.1, 0.5, 0.8, 0.8])
    np.testing.assert_allclose(stair.x, np.log10([1, 11, 91, 401]))


def test_references_and_the_stair_are_named_unless_names_would_cover_each_other() -> None:
    dots = plots.labelled_rows(table_of()).data[1]
    assert list(dots.text) == ["zero_shot", "ten_shot", "", "site", ""]
    close = table_of(PLANTED | {"site": 0.525})
    assert plots.labelled_rows(close).data[1].text[3] == ""


def test_methods_without_any_labelled_row_can_be_drawn_and_names_are_escaped() -> None:
    figure = plots.labelled_rows(table_of({"ten_shot": 0.5, "<b>": 0.9}, (0, 0)))
    assert list(figure.data[1].x) == [0, 0]
    assert figure.data[1].text[1] == "&lt;b&gt;"
