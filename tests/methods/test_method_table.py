from typing import Any

import numpy as np
import pytest

from site_lens.methods.evaluation import Evaluations
from site_lens.methods.method_table import MethodTable
from site_lens.methods.tabulate import method_table
from site_lens.records.errors import InputError
from tests.fakes import fake_evaluation

PLANTED = {"zero_shot": 0.1, "ten_shot": 0.5, "many_shot": 0.6, "frugal": 0.4, "site": 0.75, "greedy": 0.7}
ROWS = (0, 10, 100, 10, 90, 400)


@pytest.fixture(scope="module")
def table() -> MethodTable:
    return method_table(
        Evaluations(fake_evaluation(task, PLANTED).replace(labelled_rows=ROWS) for task in ("antonym", "synonym"))
    )


def test_methods_are_ranked_by_their_mean_accuracy(table: MethodTable) -> None:
    assert [one.method for one in table.ranked()] == [
        "site", "greedy", "many_shot", "ten_shot", "frugal", "zero_shot",
    ]  # fmt: skip
    assert list(table.means_frame()["method"]) == [one.method for one in table.ranked()]


def test_equal_data_keeps_the_methods_that_used_no_more_and_their_numbers(table: MethodTable) -> None:
    equal = table.at_most(90)
    assert equal.methods == ("zero_shot", "ten_shot", "frugal", "site")
    for method in equal.methods:
        assert equal.of(method) == table.of(method)
        assert equal.accuracy("synonym", method) == table.accuracy("synonym", method)
    kept = table.tests_frame()[table.tests_frame()["method"].isin(equal.methods)].reset_index(drop=True)
    assert equal.tests_frame().equals(kept)


def test_a_reference_that_used_more_is_still_compared_with(table: MethodTable) -> None:
    frugal = table.at_most(10)
    assert "site" not in frugal.methods
    assert frugal.of("ten_shot").over("site") == table.of("ten_shot").over("site")
    assert set(frugal.tests_frame()["reference"]) == {"ten_shot", "site"}


def test_the_frontier_holds_what_no_method_with_as_few_rows_equals(table: MethodTable) -> None:
    assert [one.method for one in table.frontier()] == ["zero_shot", "ten_shot", "site"]


def test_the_table_of_means_has_the_difference_from_every_reference_but_itself(table: MethodTable) -> None:
    means = table.means_frame().set_index("method")
    assert means.loc["greedy", "value_over_ten_shot"] == pytest.approx(0.2)
    assert means.loc["greedy", "value_over_site"] == pytest.approx(-0.05)
    assert means["value_over_site"].isna().to_dict() == {method: method == "site" for method in means.index}
    assert set(means["n_tasks"]) == {2}


def test_wrong_names_and_parts_are_refused(table: MethodTable) -> None:
    for call in (lambda: table.of("sight"), lambda: table.accuracy("antonyms", "site"), lambda: table.at_most(-1)):
        with pytest.raises(InputError):
            call()
    wrong: list[dict[str, Any]] = [
        {"n_right": np.zeros((2, 5))}, {"q_value": np.ones((1, 2, 6))}, {"shared": ()}, {"shared": ("plural",)},
        {"summaries": ()},
    ]  # fmt: skip
    for changes in wrong:
        with pytest.raises(InputError):
            table.replace(**changes)
