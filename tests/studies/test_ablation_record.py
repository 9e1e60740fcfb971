"""What an ablation says of its variants, and when it says nothing."""

import numpy as np
import pytest

import site_lens as sl
from tests.small_experiments import answers, fake_ablation

RATES = {"default": 0.5, "up": 0.8, "down": 0.2, "same": 0.5}


def test_variants_are_better_worse_or_not_told_apart() -> None:
    assert fake_ablation(RATES).verdicts() == {"up": "above", "down": "below", "same": "not found"}


def test_there_is_no_verdict_on_fewer_than_thirty_queries() -> None:
    assert set(fake_ablation(RATES, n_queries=14).verdicts().values()) == {"too few"}
    assert set(fake_ablation(RATES, n_queries=15).verdicts().values()) != {"too few"}


def test_a_difference_of_a_few_queries_is_none() -> None:
    found = fake_ablation({"default": 0.5, "up": 32 / 60})
    assert found.difference("up").value == pytest.approx(1 / 30)
    assert found.verdicts()["up"] == "not found"


def test_many_variants_make_a_difference_harder_to_find() -> None:
    few, many = {"default": 0.5, "up": 0.55}, {f"same{i}": 0.5 for i in range(20)}
    one, crowded = (fake_ablation(rates).q_values()["up"] for rates in (few, few | many))
    assert one < 0.05 < crowded


def test_an_interval_holds_its_difference_and_is_never_without_width() -> None:
    found = fake_ablation(RATES)
    for name in ("up", "down", "same"):
        for task in (None, "a"):
            interval = found.difference(name, task)
            assert interval.low <= interval.value <= interval.high
            assert interval.low < interval.high


def test_each_task_counts_once_however_many_queries_it_has() -> None:
    asked = np.ones((2, 60))
    asked[1, 12:] = 0
    right = np.stack([answers([0.5, 0.1], 60), answers([0.5, 0.2], 60)])  # task b: 6 and 12 of its 12 queries
    found = fake_ablation({"default": 0, "up": 0}, right=right * asked, asked=asked)
    assert found.mean("up").value == pytest.approx((0.5 + 1) / 2)
    assert found.difference("up").value == pytest.approx((0 + 0.5) / 2)
    assert found.difference("up", "b").n == 12
    assert found.n_tasks_differing("up") == (1, 0)


def test_shares_of_heads_are_over_heads_and_tasks() -> None:
    alphas = np.zeros((2, 2, 6, 8))
    alphas[1, 0, :3] = 0.7
    found = fake_ablation({"default": 0.5, "up": 0.5}, alphas=alphas)
    assert (found.share_open("default"), found.share_open("up")) == (0, 0.25)
    assert (found.undecided("default"), found.undecided("up")) == (0, 0.25)


def test_tables_hold_every_variant_and_the_record_can_be_saved(tmp_path: str) -> None:
    found = fake_ablation(RATES)
    table, means = found.frame(), found.means_frame()
    assert len(table) == 4 * 2
    assert list(means.variant) == list(RATES)
    assert table[table.variant == "default"].difference.isna().all()
    assert set(means) >= {"accuracy", "low", "high", "difference", "q_value", "verdict", "share_open", "undecided"}
    assert sl.load(sl.save(found, f"{tmp_path}/ablation")) == found


def test_what_is_compared_with_none_has_no_difference() -> None:
    with pytest.raises(sl.InputError, match="compared with none"):
        fake_ablation(RATES).difference("default")
    with pytest.raises(sl.InputError, match="unknown variant"):
        fake_ablation(RATES).accuracy("upp", "a")
