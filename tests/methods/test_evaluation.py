from pathlib import Path
from typing import Any

import numpy as np
import pytest

from site_lens.methods.evaluation import MATCHES, RESULT_COLUMNS, Evaluation, Evaluations
from site_lens.methods.names import few_shot_name
from site_lens.records.errors import InputError
from site_lens.records.serialization import load
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


def test_generated_matches_stand_in_the_frame_and_the_results_where_they_were_measured() -> None:
    evaluation = planted(exact=[[1, 0, 0, 0], [0, 0, 0, 0]], prefix=[[1, 1, 0, 0], [0, 0, 0, 1]])
    table = evaluation.frame()
    row = table[(table["method"] == "site") & (table["query"] == "up")].iloc[0].to_dict()
    assert len(table) == 8 and row == {
        "task": "antonym", "method": "site", "query": "up", "target": "down", "first_token": 1, "rank": 1,
        "log_prob": -1, "exact": 0, "prefix": 0,
    }  # fmt: skip
    assert {"exact", "prefix"} <= set(evaluation.results()["metric"])
    assert not {"exact", "prefix"} & {*planted().results()["metric"], *planted().frame()}
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
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all() and set(table["n"]) == {4}
    assert dict(zip(table["method"], table["labelled_rows"], strict=True)) == {REFERENCE: 10, "site": 60}


def test_means_over_tasks_count_every_task_once() -> None:
    some = Evaluations(
        [fake_evaluation("a", {"site": 1}, n_queries=10), fake_evaluation("b", {"site": 0.5}, n_queries=100)]
    )
    assert some.mean("site") == mean_interval([1, 0.5], bounds=(0, 1)) and some.mean("site").value == 0.75
    gains = Evaluations([planted("a"), planted("b", first_token=[[1, 0, 0, 0], [1, 1, 1, 1]])])
    gain = gains.mean_gain("site")
    assert (gain.value, gain.n) == pytest.approx(((-0.25 + 0.75) / 2, 2))


def test_accuracies_stand_one_row_a_task_and_one_column_a_method() -> None:
    table = Evaluations([planted("a"), fake_evaluation("b", {"zero_shot": 0, "site": 1})]).accuracies()
    expected = {REFERENCE: [0.75, np.nan], "site": [0.5, 1], "zero_shot": [np.nan, 0]}
    assert (list(table.index), list(table.columns)) == (["a", "b"], list(expected))
    np.testing.assert_array_equal(table, np.transpose(list(expected.values())))


def test_gains_are_measured_against_prompting_with_the_evaluations_own_number_of_demonstrations() -> None:
    for n_shots in (1, 3, 10):
        name = few_shot_name(n_shots)
        one = planted(methods=(name, "site"), n_shots=n_shots)
        assert one.reference == Evaluations([one]).reference == name
        assert one.gain("site") == Evaluations([one]).mean_gain("site") == planted().gain("site")
        assert f"gain_over_{name}" in set(one.results()["metric"])
        other = one.replace(n_shots=n_shots + 1)
        assert other.reference is None
        assert not any("gain" in metric for metric in other.results()["metric"])
    mixed = Evaluations([planted("a"), planted("b", methods=("3_shot", "site"), n_shots=3)])
    assert mixed.reference is None
    with pytest.raises(InputError, match="over="):
        mixed.mean_gain("site")


def test_what_was_not_measured_and_parts_that_do_not_fit_are_refused() -> None:
    wrong_calls: list[tuple[str, Any]] = [("sight", "first_token"), ("site", "rank"), ("site", "exact")]
    for method, metric in wrong_calls:
        with pytest.raises(InputError, match=method if method == "sight" else metric):
            planted().accuracy(method, metric)
    wrong: list[dict[str, Any]] = [
        {"rank": np.ones((2, 3))}, {"targets": ("cold",)}, {"first_token": np.full((2, 4), 0.5)},
        {"rank": np.zeros((2, 4))}, {"labelled_rows": (10,)},
        {"methods": ("site", "site")}, {"queries": (), "targets": ()},
    ]  # fmt: skip
    for changes in wrong:
        with pytest.raises(InputError):
            planted(**changes)


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
