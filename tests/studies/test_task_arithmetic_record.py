"""What a combination of two tasks says, and when it says nothing."""

import numpy as np
import pytest

import site_lens as sl
from tests.small_experiments import fake_arithmetic


def test_a_verdict_says_which_tasks_keep_their_gain() -> None:
    found = fake_arithmetic([0.95, 0.95, 0.1], [0.1, 0.95, 0.1])
    verdicts = [found.verdict("union", weight) for weight in (0, 0.5, 1)]
    assert verdicts == ["only the first", "both", "neither"]


def test_an_accuracy_whose_interval_spans_the_threshold_is_left_open() -> None:
    assert fake_arithmetic([0.74], [0.95], weights=[0.5]).verdict("union", 0.5) == "not found"


def test_there_is_no_verdict_on_few_queries_or_where_nothing_is_gained() -> None:
    assert fake_arithmetic([0.9], [0.9], weights=[0], n_queries=29).verdict("union", 0) == "too few"
    flat = fake_arithmetic([0.9], [0.9], weights=[0], references=(0.85, 0.9, 0.9))
    assert flat.verdict("embeddings", 0) == "too few"


def test_differences_are_paired_with_any_reference() -> None:
    found = fake_arithmetic([0.5], [0.3], weights=[0])
    assert found.difference("union", 0, "a").value == pytest.approx(-0.4)
    assert found.difference("union", 0, "b", over="zero_shot").value == pytest.approx(0.2)


def test_heads_are_those_with_alpha_above_a_half() -> None:
    alphas = np.zeros((2, 6, 8))
    alphas[0, 2, 1], alphas[1, 2, 1], alphas[1, 3, 0] = 0.9, 0.6, 0.5
    first, second = fake_arithmetic([0.5], [0.3], weights=[0], alphas=alphas).heads()
    assert (str(first), str(second)) == ("{L2H1}", "{L2H1}")


def test_a_table_has_every_cell_and_the_record_can_be_saved(tmp_path: str) -> None:
    found = fake_arithmetic([0.9, 0.5, 0.1], [0.1, 0.5, 0.9])
    assert len(found.frame()) == 3 * 3 * 2
    assert sl.load(sl.save(found, f"{tmp_path}/arithmetic")) == found


def test_what_was_not_measured_is_refused() -> None:
    found = fake_arithmetic([0.9, 0.9], [0.9, 0.9], weights=[0, 1])
    with pytest.raises(sl.InputError, match=r"weight 0.3 was not measured"):
        found.accuracy("union", 0.3, "a")
    with pytest.raises(sl.InputError, match="unknown task"):
        found.accuracy("union", 0, "c")
    with pytest.raises(sl.InputError, match="rising weights"):
        found.replace(weights=(0.5, 0.5))
