"""Methods on tasks: numbers worked out by hand, laws of the tests, and words for what cannot be compared."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import binomtest

import site_lens as sl
from site_lens.methods.evaluation import Evaluation, Evaluations, MethodCost
from site_lens.methods.method_table import method_table
from site_lens.stats.intervals import wilson
from tests.fakes import fake_evaluation
from tests.samples import laws


def evaluated(task: str, right: Mapping[str, Sequence[int]], **changes: Any) -> Evaluation:
    """Build an evaluation from the answers of each method, 1 where right."""
    n = len(next(iter(right.values())))
    answers = np.array(list(right.values()), dtype=np.float32)
    one = fake_evaluation(task, dict.fromkeys(right, 0), n_queries=n)
    return one.replace(**{"first_token": answers, "rank": np.where(answers == 1, 1, 7)} | changes)


def one_against_nine(task: str = "antonym") -> Evaluation:
    """Twenty queries: both right in 5, both wrong in 5, 9 that the rival alone has right, 1 that few-shot has."""
    few_shot = [1] * 5 + [0] * 5 + [0] * 9 + [1]
    rival = [1] * 5 + [0] * 5 + [1] * 9 + [0]
    return evaluated(task, {"ten_shot": few_shot, "rival": rival})


def tasks_with(differences: Sequence[int], n_queries: int = 20) -> Evaluations:
    """Build tasks in which the rival has so many queries more right than few-shot, which has ten."""

    def first(n: int) -> list[int]:
        return [1] * n + [0] * (n_queries - n)

    return Evaluations(
        evaluated(f"task{i}", {"ten_shot": first(10), "rival": first(10 + more)}) for i, more in enumerate(differences)
    )


def test_one_discordant_query_against_nine_gives_the_exact_p_value_of_mcnemar() -> None:
    table = method_table(Evaluations([one_against_nine()]), ["ten_shot"])
    (row,) = table.tests_frame().to_dict("records")
    assert row["method"] == "rival"
    assert (row["n_compared"], row["only_method"], row["only_reference"], row["difference"]) == (20, 9, 1, 0.4)
    assert row["p_value"] == pytest.approx(2 * (1 + 10) / 2**10)  # 0.0215
    assert row["q_value"] == row["p_value"]  # a family of one


def test_the_false_discovery_rate_is_controlled_over_tasks_and_methods_of_a_reference() -> None:
    clear = {"ten_shot": [0] * 10, "good": [1] * 10, "same": [0] * 10}  # p 2 / 2^10 and 1
    weak = {"ten_shot": [0] * 10, "good": [1] * 5 + [0] * 5, "same": [0] * 10}  # p 2 / 2^5 and 1
    table = method_table(Evaluations([evaluated("clear", clear), evaluated("weak", weak)]), ["ten_shot"])
    found = table.tests_frame().set_index(["task", "method"])["q_value"]
    assert found["clear", "good"] == pytest.approx(4 / 1 * 2 / 2**10)
    assert found["weak", "good"] == pytest.approx(4 / 2 * 2 / 2**5)
    assert found["clear", "same"] == found["weak", "same"] == 1


def test_six_tasks_that_all_gain_give_the_smallest_p_value_of_their_signs() -> None:
    table = method_table(tasks_with([2, 3, 4, 5, 6, 7]), ["ten_shot"])
    over = table.of("rival").over("ten_shot")
    assert over is not None
    assert (over.n_above, over.n_below, over.p_value) == (6, 0, 2 / 2**6)
    assert table.verdict("rival", "ten_shot") == "above"
    assert method_table(tasks_with([1, 2, 3, 4, 5]), ["ten_shot"]).verdict("rival", "ten_shot") == "too few"
    assert over.value == pytest.approx(np.mean([2, 3, 4, 5, 6, 7]) / 20)


def test_of_one_task_intervals_and_test_are_those_of_its_queries() -> None:
    evaluations = Evaluations([one_against_nine()])
    rival, gain = method_table(evaluations, ["ten_shot"]).of("rival"), evaluations["antonym"].gain("rival")
    over = rival.over("ten_shot")
    assert over is not None
    assert (rival.low, rival.high) == (wilson(14, 20).low, wilson(14, 20).high)
    assert (over.low, over.high, over.p_value) == pytest.approx((gain.low, gain.high, 22 / 2**10))


@laws
@given(arrays.arrays(np.float32, (2, 30), elements=st.sampled_from([0.0, 1.0])))
def test_swapping_method_and_reference_leaves_the_test_and_turns_the_difference(answers: np.ndarray) -> None:
    both = Evaluations([evaluated("t", {"a": answers[0].tolist(), "b": answers[1].tolist()})])
    one, other = (method_table(both, [name]).tests_frame().iloc[0] for name in "ab")
    assert one["p_value"] == other["p_value"]
    assert one["difference"] == -other["difference"]
    wins, losses = int((answers[1] > answers[0]).sum()), int((answers[0] > answers[1]).sum())
    if wins + losses:
        assert one["p_value"] == pytest.approx(binomtest(wins, wins + losses).pvalue, rel=1e-6)
    else:
        assert one["p_value"] == 1


def test_means_stand_on_the_tasks_that_all_methods_share() -> None:
    odd = evaluated("odd", {"ten_shot": [1] * 20})
    table = method_table(Evaluations([*tasks_with([2, 4]).values(), odd]), ["ten_shot"])
    assert (table.tasks, table.shared) == (("task0", "task1", "odd"), ("task0", "task1"))
    assert table.of("ten_shot").value == 0.5
    assert table.accuracy("odd", "rival") is None
    assert len(table.frame()) == 5
    assert set(table.tests_frame()["task"]) == {"task0", "task1"}
    assert dict(table.frame()[["task", "shared"]].to_numpy()) == {"task0": True, "task1": True, "odd": False}


def test_costs_are_means_over_tasks_and_inference_is_relative_to_zero_shot() -> None:
    def with_costs(task: str, *query_seconds: float) -> Evaluation:
        made = {"n_trained": 3, "stored_bytes": 8, "fit_seconds": 2.0}
        costs = tuple(MethodCost(**made, query_seconds=seconds) for seconds in query_seconds)
        return evaluated(task, {"zero_shot": [0, 1], "rival": [1, 1]}, costs=costs)

    rival = method_table(Evaluations([with_costs("a", 0.1, 0.3), with_costs("b", 0.3, 0.5)]), ["zero_shot"]).of("rival")
    assert (rival.n_trained, rival.stored_bytes, rival.fit_seconds) == (3, 8, 2)
    assert (rival.query_seconds, rival.relative_inference) == pytest.approx((0.4, 2))


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
