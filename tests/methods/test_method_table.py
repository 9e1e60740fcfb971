import pytest

import site_lens as sl
from tests.fakes import fake_evaluation

PLANTED = {"zero_shot": 0.1, "ten_shot": 0.5, "many_shot": 0.6, "frugal": 0.4, "site": 0.75, "greedy": 0.7}
ROWS = (0, 10, 100, 10, 90, 400)


@pytest.fixture(scope="module")
def table() -> sl.MethodTable:
    return sl.method_table(
        sl.Evaluations(fake_evaluation(task, PLANTED).replace(labelled_rows=ROWS) for task in ("antonym", "synonym"))
    )


def test_methods_are_ranked_by_their_mean_accuracy(table: sl.MethodTable) -> None:
    assert [one.method for one in table.ranked()] == [
        "site", "greedy", "many_shot", "ten_shot", "frugal", "zero_shot",
    ]  # fmt: skip
    assert list(table.means_frame()["method"]) == [one.method for one in table.ranked()]


def test_equal_data_keeps_the_methods_that_used_no_more_and_their_numbers(table: sl.MethodTable) -> None:
    equal = table.at_most(90)
    assert equal.methods == ("zero_shot", "ten_shot", "frugal", "site")
    for method in equal.methods:
        assert equal.of(method) == table.of(method)
        assert equal.accuracy("synonym", method) == table.accuracy("synonym", method)
    kept = table.tests_frame()[table.tests_frame()["method"].isin(equal.methods)].reset_index(drop=True)
    assert equal.tests_frame().equals(kept)


def test_the_frontier_holds_what_no_method_with_as_few_rows_equals(table: sl.MethodTable) -> None:
    assert [one.method for one in table.frontier()] == ["zero_shot", "ten_shot", "site"]
