"""First tokens of answers: what they tell apart, and what a constant scores."""

import pytest

from site_lens.tasks.first_tokens import FirstTokens


def measured(pairs: list[tuple[str, list[int]]]) -> FirstTokens:
    """Measure targets with the first tokens of their accepted answers."""
    return FirstTokens.of([target for target, _ in pairs], [tokens for _, tokens in pairs], lambda token: f"<{token}>")


def test_answers_that_all_begin_alike_are_not_told_apart() -> None:
    found = measured([(f"${i}", [7]) for i in range(1, 10)])
    assert (found.n_rows, found.n_answers, found.n_tokens, found.constant, found.constant_token) == (9, 9, 1, 1, "<7>")
    assert found.told_apart == 0
    assert not found.tell_apart


def test_answers_with_a_token_each_are_told_apart_whatever_their_shares() -> None:
    for n_no in (1, 5, 19):
        found = measured([("yes", [1])] * 19 + [("no", [2])] * n_no)
        assert found.told_apart == 1
        assert found.constant == 19 / (19 + n_no)  # as right as the methods perhaps, and no loss mends that
    assert measured([("yes", [1])] * 5).told_apart == 1  # a single answer: nothing to tell apart


def test_a_share_of_the_answers_with_a_common_beginning_counts_as_a_share() -> None:
    half = measured([(f"the {i}", [1]) for i in range(20)] + [(f"word {i}", [10 + i]) for i in range(20)])
    assert half.told_apart == pytest.approx((21 - 1) / (40 - 1))
    assert half.tell_apart
    most = measured([(f"the {i}", [1]) for i in range(30)] + [(f"word {i}", [10 + i]) for i in range(10)])
    assert not most.tell_apart
    # A commonest answer does not hide that the others are told apart by nothing.
    assert measured([("none", [1])] * 60 + [(f"none {i}", [1]) for i in range(40)]).told_apart == 0


def test_every_accepted_answer_counts_for_the_constant_and_the_target_alone_for_what_is_told_apart() -> None:
    found = measured([("a", [1, 5]), ("b", [2, 5]), ("c", [3, 5, 5])])
    assert (found.n_tokens, found.told_apart, found.constant, found.constant_token) == (3, 1, 1, "<5>")
