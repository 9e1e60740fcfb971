"""Shares of SITE's gain, and what is made of them."""

import pytest

import site_lens as sl
from site_lens.methods.registry import ZERO_EMBEDDING
from tests.fake_studies import fake_content
from tests.fakes import ACCURACIES, fake_evaluation


def test_a_share_is_the_gain_over_zero_shot_in_units_of_sites() -> None:
    found = fake_content()
    share = found.share(ZERO_EMBEDDING)
    assert share is not None
    assert share.value == pytest.approx((0.2 - 0.1) / (0.9 - 0.1), abs=0.01)
    assert share.low < share.value < share.high
    assert share.n == 120
    for method, value in (("zero_shot", 0), ("site", 1)):
        fixed = found.share(method)
        assert fixed is not None
        assert fixed.value == value
        assert fixed.low < value < fixed.high


def test_verdicts_stand_on_whole_intervals() -> None:
    for rate, verdict in ((0.2, "less than half"), (0.8, "most of the gain"), (0.5, "not found")):
        assert fake_content((0.1, 0.7, 0.9, rate, 0.3, 0.1, 0.1)).verdict(ZERO_EMBEDDING) == verdict
    assert fake_content(n_queries=14).verdict(ZERO_EMBEDDING) == "too few"


def test_a_task_that_site_does_not_improve_has_nothing_to_share() -> None:
    found = fake_content((0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9))
    assert found.share(ZERO_EMBEDDING) is None
    assert found.verdict(ZERO_EMBEDDING) == "nothing to share"
    assert found.frame()["share"].isna().all()


def test_it_is_read_off_evaluations_of_tasks_of_any_size() -> None:
    every = sl.Evaluations([fake_evaluation("a", n_queries=30), fake_evaluation("b", n_queries=50)])
    found = sl.ContentControls.of(every)
    assert found.controls == (ZERO_EMBEDDING,)
    for method, rate in ACCURACIES.items():
        if method in ("zero_shot", "site", ZERO_EMBEDDING):
            assert found.accuracy(method, "b").value == pytest.approx(rate, abs=0.02)
    assert found.accuracy("few_shot").value == pytest.approx(ACCURACIES["ten_shot"], abs=0.02)
    assert found.accuracy("site", "a").n == 30
    assert found.accuracy("site").n == 80


def test_evaluations_without_a_control_are_refused() -> None:
    plain = fake_evaluation("a", {"zero_shot": 0.1, "ten_shot": 0.5, "site": 0.9})
    with pytest.raises(sl.InputError, match="site_zero_embedding"):
        sl.ContentControls.of(sl.Evaluations([plain]))
    with pytest.raises(sl.InputError, match="unknown method"):
        fake_content().share("lora")
