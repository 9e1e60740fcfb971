from pathlib import Path
from typing import Any

import numpy as np
import pytest

from site_lens.methods.evaluation import MATCHES, RESULT_COLUMNS, Evaluation, Evaluations
from site_lens.methods.names import EvaluatedMethod, few_shot_name
from site_lens.records.errors import InputError
from site_lens.records.serialization import load, save
from site_lens.stats.intervals import mean_interval, paired_difference, wilson
from tests.fakes import ACCURACIES, fake_evaluation

REFERENCE = "ten_shot"
OLD_FILES = Path(__file__).parent.parent / "old_files"


def planted(task: str = "antonym", **changes: Any) -> Evaluation:
    """Four queries: few-shot has the first three right, SITE the last two."""
    fields: dict[str, Any] = {
        "methods": (REFERENCE, "site"),
        "first_token": [[1, 1, 1, 0], [0, 0, 1, 1]],
        "rank": [[1, 1, 1, 2], [4, 5, 1, 1]],
        "log_prob": [[-0.5, -0.5, -0.5, -2.5], [-1, -1, -1, -1]],
        "labelled_rows": (10, 60),
        "queries": ("hot", "big", "up", "in"),
        "targets": ("cold", "small", "down", "out"),
    }
    return fake_evaluation(task, {REFERENCE: 0, "site": 0}, n_queries=4).replace(**fields | changes)


def test_accuracy_is_the_planted_share_with_wilsons_interval() -> None:
    evaluation = fake_evaluation("antonym", n_queries=40)
    for method, share in ACCURACIES.items():
        assert evaluation.accuracy(method) == wilson(round(share * 40), 40)


def test_a_gain_is_paired_query_by_query() -> None:
    gain = planted().gain("site")
    assert gain == paired_difference([-1, -1, 0, 1])
    assert (gain.value, gain.n) == (-0.25, 4)
    assert planted().gain("site", over="site").value == 0
    assert planted().gain(REFERENCE, over="site").value == 0.25


def test_the_frame_has_one_row_per_method_and_query() -> None:
    table = planted().frame()
    assert list(table.columns) == ["task", "method", "query", "target", "first_token", "rank", "log_prob"]
    assert len(table) == 8
    row = table[(table["method"] == "site") & (table["query"] == "up")].iloc[0]
    assert (row["target"], row["first_token"], row["rank"], row["log_prob"]) == ("down", 1, 1, -1)


def test_generated_matches_stand_in_the_frame_and_the_results_where_they_were_measured() -> None:
    evaluation = planted(exact=[[1, 0, 0, 0], [0, 0, 0, 0]], prefix=[[1, 1, 0, 0], [0, 0, 0, 1]])
    assert {"exact", "prefix"} <= set(evaluation.frame())
    assert {"exact", "prefix"} <= set(evaluation.results()["metric"])
    assert not {"exact", "prefix"} & set(planted().results()["metric"])
    assert [evaluation.accuracy(REFERENCE, metric).value for metric in MATCHES] == [0.75, 0.25, 0.5]
    assert evaluation.gain("site", metric="prefix").value == -0.25


def test_the_results_have_one_row_per_method_and_metric() -> None:
    table = planted().results()
    assert list(table.columns) == RESULT_COLUMNS
    found = {(method, metric): value for method, metric, value in table[["method", "metric", "value"]].to_numpy()}
    assert found == {
        (REFERENCE, "first_token"): 0.75,
        (REFERENCE, "log_prob"): -1,
        (REFERENCE, "reciprocal_rank"): pytest.approx(0.875),
        ("site", "first_token"): 0.5,
        ("site", "log_prob"): -1,
        ("site", "reciprocal_rank"): pytest.approx((0.25 + 0.2 + 1 + 1) / 4),
        ("site", "gain_over_ten_shot"): -0.25,
    }
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()
    assert set(table["n"]) == {4}
    assert dict(zip(table["method"], table["labelled_rows"], strict=True)) == {REFERENCE: 10, "site": 60}


def test_without_the_reference_there_is_no_gain_over_it() -> None:
    assert "gain_over_ten_shot" not in set(fake_evaluation("antonym", {"site": 0.5}).results()["metric"])


def test_an_unknown_method_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match="antonym: no method 'sight' here; there are ten_shot, site"):
        planted().accuracy("sight")


def test_an_unknown_metric_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match="'rank'; known: exact, first_token, prefix"):
        planted().accuracy("site", "rank")  # type: ignore[arg-type]


def test_a_metric_that_was_not_measured_is_refused_with_the_way_to_measure_it() -> None:
    with pytest.raises(InputError, match="antonym: exact was not measured; evaluate with generated=True"):
        planted().accuracy("site", "exact")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rank": np.ones((2, 3))}, r"needs \(method query\) = \(2, 4\), got \{'rank': \(2, 3\)\}"),
        ({"exact": np.ones((3, 4))}, r"needs \(method query\) = \(2, 4\), got \{'exact': \(3, 4\)\}"),
        ({"log_prob": np.ones(4)}, r"log_prob: needs axes \(method query\), got an array of shape \(4,\)"),
        ({"first_token": np.full((2, 4), 0.5)}, "needs 0 or 1 in first_token, .* wrong in .'first_token'"),
        ({"rank": np.zeros((2, 4))}, "ranks from 1, wrong in rank"),
        ({"targets": ("cold",)}, "needs a target a query .*, got 1 targets of 4 queries"),
        ({"labelled_rows": (10,)}, r"labelled rows a method, got .* labelled rows \(10,\)"),
        ({"methods": ("site", "site")}, r"each method once, got 4 and \('site', 'site'\)"),
    ],
)
def test_parts_that_do_not_fit_each_other_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=f"Evaluation: .*{said}"):
        planted(**changes)


def test_an_evaluation_of_no_query_is_refused() -> None:
    with pytest.raises(InputError, match="needs at least one query"):
        fake_evaluation("antonym", n_queries=0)


def test_the_mean_over_tasks_counts_every_task_once() -> None:
    some = Evaluations(
        [fake_evaluation("a", {"site": 1}, n_queries=10), fake_evaluation("b", {"site": 0.5}, n_queries=100)]
    )
    assert some.mean("site") == mean_interval([1, 0.5], bounds=(0, 1))
    assert some.mean("site").value == 0.75


def test_the_mean_gain_over_tasks_is_the_mean_of_the_gains() -> None:
    some = Evaluations([planted("a"), planted("b", first_token=[[1, 0, 0, 0], [1, 1, 1, 1]])])
    assert some.mean_gain("site").value == pytest.approx((-0.25 + 0.75) / 2)
    assert some.mean_gain("site").n == 2


def test_results_of_several_tasks_stand_below_each_other() -> None:
    some = Evaluations([planted("a"), planted("b")])
    assert list(some.results()["task"].unique()) == ["a", "b"]
    assert len(some.results()) == 2 * len(planted().results())
    assert list(Evaluations([]).results().columns) == RESULT_COLUMNS
    assert len(Evaluations([]).results()) == 0


def test_methods_come_in_order_of_first_appearance() -> None:
    some = Evaluations([fake_evaluation("a", {"zero_shot": 0, "site": 1}), fake_evaluation("b", {"x": 0, "site": 1})])
    assert some.methods == ("zero_shot", "site", "x")
    assert list(some) == ["a", "b"]


def test_accuracies_stand_one_row_a_task_and_one_column_a_method() -> None:
    some = Evaluations([planted("a"), fake_evaluation("b", {"zero_shot": 0, "site": 1})])
    table = some.accuracies()
    assert list(table.index) == ["a", "b"]
    assert list(table.columns) == list(some.methods)
    assert table.loc["a", "site"] == some["a"].accuracy("site").value == 0.5
    assert table.loc["a", REFERENCE] == 0.75
    assert table[REFERENCE].isna().tolist() == [False, True]
    assert table["zero_shot"].isna().tolist() == [True, False]


@pytest.mark.parametrize("n_shots", [1, 2, 3, 5, 7, 10, 32])
def test_gains_are_measured_against_prompting_with_the_evaluations_own_number_of_demonstrations(n_shots: int) -> None:
    name = few_shot_name(n_shots)
    one = planted(methods=(name, "site"), n_shots=n_shots)
    assert one.reference == Evaluations([one]).reference == name
    assert one.gain("site") == planted().gain("site")
    assert Evaluations([one]).mean_gain("site") == planted().gain("site")
    assert f"gain_over_{name}" in set(one.results()["metric"])
    other = one.replace(n_shots=n_shots + 1)
    assert other.reference is None
    assert not any("gain" in metric for metric in other.results()["metric"])
    with pytest.raises(InputError, match="over="):
        other.gain("site")


def test_tasks_with_different_numbers_of_demonstrations_have_no_reference_in_common() -> None:
    mixed = Evaluations([planted("a"), planted("b", methods=("3_shot", "site"), n_shots=3)])
    assert mixed.reference is None
    with pytest.raises(InputError):
        mixed.mean_gain("site")
    assert Evaluations([planted("a"), fake_evaluation("b", {"site": 0.5})]).reference == REFERENCE


def test_an_evaluation_of_schema_1_has_the_fields_that_stood_in_its_names() -> None:
    old = load(OLD_FILES / "evaluation_schema_1", Evaluation)
    assert old.methods == (
        "zero_shot", "3_shot", "site", "site_hard", "site_top_k", "site#2", "site#2_hard", "site#2_top_k",
        "site_zero_embedding", "site_zero_embedding#2",
    )  # fmt: skip
    assert [one.kind for one in old.evaluated[:3]] == ["prompting", "prompting", "site"]
    assert [one.n_shots for one in old.evaluated[:3]] == [0, 3, None]
    assert [one.seed for one in old.evaluated] == [None] * 5 + [2] * 3 + [None, 2]
    assert old.reference == "3_shot"
    assert {"gain_over_3_shot"} <= set(old.results()["metric"])


def test_a_saved_evaluation_keeps_its_fields(tmp_path: Path) -> None:
    methods = (
        EvaluatedMethod(kind="prompting", n_shots=10),
        EvaluatedMethod(kind="site", n_shots=0, seed=4),
        EvaluatedMethod(kind="site", n_shots=0, seed=7),
        EvaluatedMethod(kind="C#1", n_shots=0),  # a name of the user's own, which is no seed
    )
    one = fake_evaluation("antonym", {"ten_shot": 1, "site": 1, "site#7": 0, "x": 0}).replace(evaluated=methods)
    assert one.methods == ("ten_shot", "site", "site#7", "C#1")
    save(one, tmp_path / "one")
    found = load(tmp_path / "one", Evaluation)
    assert found == one
    assert found.evaluated == methods
