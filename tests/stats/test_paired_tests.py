"""Exact tests and the rule of verdicts."""

from itertools import product

import numpy as np
import pytest

from site_lens.records.errors import InputError
from site_lens.stats.intervals import Interval
from site_lens.stats.paired_tests import (
    FEWEST,
    Paired,
    control_false_discoveries,
    mcnemar,
    sign_flip_test,
    verdict,
)


def test_sign_flips_are_all_of_them() -> None:
    values = np.array([0.3, -0.1, 0.25, 0.4, 0.05])
    sums = [abs(np.dot(signs, values)) for signs in product((-1, 1), repeat=5)]
    assert sign_flip_test(values) == pytest.approx(np.mean(np.array(sums) >= values.sum() - 1e-9))
    assert sign_flip_test(values[::-1]) == sign_flip_test(-values) == sign_flip_test(values)


def test_drawn_flips_agree_with_all_flips_and_do_not_hang_on_the_order() -> None:
    stream = np.random.default_rng(0)
    values = stream.normal(0.1, 0.2, 15)
    every = 1 - 2.0 * ((np.arange(2**15)[:, None] >> np.arange(15)) & 1)
    exact = np.mean(np.abs(every @ values) >= abs(values.sum()) - 1e-9)
    assert sign_flip_test(values) == pytest.approx(exact, abs=0.01)
    assert sign_flip_test(values) == sign_flip_test(stream.permutation(values))


def test_sign_flips_of_right_and_wrong_answers_are_mcnemars_test() -> None:
    answers = np.repeat([1.0, -1.0, 0.0], [9, 2, 50])
    assert sign_flip_test(answers) == mcnemar(9, 2) == pytest.approx(0.06543, abs=1e-5)
    assert sign_flip_test(np.zeros(9)) == mcnemar(0, 0) == 1


def test_a_verdict_needs_the_test_the_interval_and_enough_tasks() -> None:
    found = Interval(0.2, 0.1, 0.3, 6)
    assert verdict(found, 0.03, "tasks") == "above"
    assert verdict(Interval(-0.2, -0.3, -0.1, 6), 0.03, "tasks") == "below"
    assert verdict(found, 0.06, "tasks") == "not found"
    assert verdict(Interval(0.2, -0.01, 0.4, 6), 0.03, "tasks") == "not found"
    assert verdict(Interval(0.2, 0.1, 0.3, 5), 0.0001, "tasks") == "too few"
    assert verdict(Interval(0.2, 0.1, 0.3, 29), 0.0001, "queries") == "too few"


def test_five_gains_of_one_sign_are_no_verdict_and_six_large_ones_are() -> None:
    gains = [0.2, 0.22, 0.25, 0.3, 0.31, 0.28]
    five = Paired.of(gains[:5], over="tasks")
    assert (five.p_value, five.verdict) == (0.0625, "too few")
    assert str(FEWEST["tasks"]) in five.sentence("SITE", "prompting")
    six = Paired.of(gains, over="tasks")
    assert six.verdict == "above"
    assert Paired.of(gains[::-1], over="tasks") == six
    assert six.sentence("SITE", "prompting", above="SITE wins").startswith("SITE wins: +0.260 [")
    assert six.beyond(0.25).verdict == "not found"
    assert six.beyond(0.5).verdict == "below"


def test_a_sentence_of_nothing_found_rules_out_nothing_and_says_where_interval_and_test_disagree() -> None:
    found = Paired.of([0.01, -0.02, 0.0, 0.03, -0.01, 0.02, 0.0, 0.01], over="tasks")
    said = found.sentence("SITE", "prompting")
    assert said.startswith("No difference found between SITE and prompting: +0.005 [")
    assert "not ruled out" in said and "disagree" not in said
    assert all(f"{end:+.3f}" in said for end in (found.estimate.low, found.estimate.high))
    uneven = Paired.of([0.9, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01], over="tasks")  # all up, one of them far
    assert uneven.p_value < 0.05 and uneven.estimate.low < 0 and uneven.verdict == "not found"
    assert "disagree" in uneven.sentence("SITE", "prompting")


def test_differences_that_are_no_numbers_are_refused() -> None:
    for wrong in ([], [np.nan], [[1.0]]):
        with pytest.raises(InputError):
            Paired.of(wrong, over="tasks")


def test_false_discoveries_are_controlled_over_what_was_tested_alone() -> None:
    q = control_false_discoveries([0.01, 0.02, 1.0, 1.0], [True, True, False, False])
    assert q.tolist() == pytest.approx([0.02, 0.02, 1, 1])
    assert control_false_discoveries([]).tolist() == []
