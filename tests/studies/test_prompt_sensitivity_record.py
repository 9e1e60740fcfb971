"""Checks of prompt sensitivity answer where the whole interval does, and refuse where it does not."""

import numpy as np
import pytest

import site_lens as sl
from tests.fake_studies import BASE, fake_sensitivity, rights


def answers(record: sl.PromptSensitivity, **options: float) -> dict[str, str]:
    return {check.claim: check.answer for check in record.checks(**options)}


def test_equal_accuracies_saturate_and_large_gains_do_not() -> None:
    found = answers(fake_sensitivity())
    assert found["M=10 does as well as M=50"] == "yes"
    assert found["M=1 does as well as M=50"] == "no"
    assert found["N=1 does as well as N=10"] == "yes"
    assert found["M=1 is above few-shot prompting"] == "yes"


def test_saturation_begins_at_the_smallest_number_from_which_on_all_do_as_well() -> None:
    assert fake_sensitivity().saturates_from("n_prompts") == 10
    assert fake_sensitivity((0.8, 0.8, 0.8, 0.8)).saturates_from("n_prompts") == 1
    assert fake_sensitivity((0.6, 0.8, 0.8, 0.8)).saturates_from("n_prompts") is None


def test_too_few_queries_are_said() -> None:
    found = answers(fake_sensitivity(n_queries=10))
    assert found["M=10 does as well as M=50"] == "too few"
    assert answers(fake_sensitivity(n_queries=15), tolerance=0.3)["M=10 does as well as M=50"] == "yes"


def test_a_few_queries_that_differ_do_not_hide_how_few_there_are() -> None:
    whole = fake_sensitivity(n_queries=40)
    right = whole.right.copy()
    right[0, 1], right[:, 1:] = right[0, 0], right[:, :1]
    right[0, 1, 0, 0] = 0  # one answer in 240 is lost
    found = whole.replace(right=right)
    (check,) = [one for one in found.checks() if one.claim.startswith("M=1 does")]
    assert check.high > 0.02
    assert check.answer == "not found"


def test_one_prompt_below_few_shot_prompting_is_said() -> None:
    record = fake_sensitivity((0.8, 0.2, 0.8, 0.8))
    assert answers(record)["M=1 is above few-shot prompting"] == "no"
    (check,) = [one for one in record.checks() if "few-shot" in one.claim]
    assert check.value == pytest.approx(0.2 - 0.5)
    assert check.n == 400


def test_templates_and_label_noise_are_compared_with_the_base() -> None:
    whole = fake_sensitivity()
    noisy, other = BASE.replace(label_noise=0.5), BASE.replace(template=sl.PromptTemplate(input_prefix=""))
    conditions = (*whole.conditions[:2], noisy, other)
    found = answers(whole.replace(conditions=conditions, right=fake_sensitivity((0.8, 0.8, 0.3, 0.8)).right))
    assert found[f"{noisy} does as well as {BASE}"] == "no"
    assert found[f"{other} does as well as {BASE}"] == "yes"


def test_tasks_that_vary_most_between_runs_come_first() -> None:
    whole = fake_sensitivity()
    crossed = whole.crossed_right.copy()
    crossed[1] = rights([[0.2, 0.2], [0.5, 0.5], [0.9, 0.9]], 200)
    table = whole.replace(crossed_right=crossed).frame()
    assert list(dict.fromkeys(table["task"])) == ["b", "a"]
    parts = whole.replace(crossed_right=crossed).variance_frame().set_index(["task", "quantity", "part"])["variance"]
    assert parts["b", "accuracy", "prompt draw"] == pytest.approx(np.var([0.2, 0.5, 0.9], ddof=1), rel=1e-4)
    assert parts["b", "accuracy", "fit seed"] == parts["b", "accuracy", "rest"] == pytest.approx(0, abs=1e-9)


def test_shares_of_a_quantity_sum_to_1_or_to_0_where_nothing_varies() -> None:
    table = fake_sensitivity().variance_frame()
    sums = table.groupby(["task", "quantity"])["share"].sum()
    assert np.allclose(sums[:, "accuracy"], 1)
    assert np.allclose(sums[:, "alphas"], 0)


def test_queries_that_a_task_lacks_do_not_count() -> None:
    whole = fake_sensitivity()
    asked = whole.asked.copy()
    asked[0, 100:] = 0
    short = whole.replace(asked=asked)
    assert short.accuracy(BASE, "a").value == 1
    assert short.accuracy(BASE).n == 300


def test_conditions_that_change_two_settings_are_refused() -> None:
    whole = fake_sensitivity()
    with pytest.raises(sl.InputError, match="one setting"):
        whole.replace(conditions=(*whole.conditions[:3], BASE.replace(n_shots=1, n_prompts=1)))
    with pytest.raises(sl.InputError, match="no runs under"):
        whole.accuracy(BASE.replace(n_shots=7))


def test_a_table_has_a_row_for_every_task_and_condition(tmp_path: str) -> None:
    found = fake_sensitivity()
    assert len(found.frame()) == 8
    assert sl.load(sl.save(found, f"{tmp_path}/one")) == found
