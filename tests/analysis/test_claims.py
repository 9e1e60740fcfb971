"""Verdicts follow from intervals and from how much stands behind them, and from nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.claims import (
    Claim,
    correlation_above_zero,
    jackknife,
    over_queries,
    over_tasks,
)
from site_lens.records.errors import InputError
from site_lens.stats.intervals import Interval
from site_lens.stats.paired_tests import FEWEST, Paired

OPEN = "not testable at this size"


def test_a_verdict_is_what_the_whole_interval_says() -> None:
    for low, high, side, verdict in (
        (0.01, 0.2, "above", "seen here, too"),
        (-0.2, -0.01, "above", "not seen here"),
        (-0.2, 0.0, "above", OPEN),
        (0.0, 0.2, "above", OPEN),
        (-0.2, -0.01, "at_most", "seen here, too"),
        (0.01, 0.2, "at_most", "not seen here"),
        (-0.01, 0.01, "at_most", OPEN),
    ):
        estimate = Interval((low + high) / 2, low, high, 200)
        claim = over_queries("x", estimate, p_value=0.01, reported="yes", **{side: 0.0})  # type: ignore[arg-type]
        assert claim.verdict == verdict, (low, high, side)
        assert bool(claim.open_because) == (verdict == OPEN)


def test_what_the_paper_does_not_report_is_not_called_seen() -> None:
    found = Interval(0.1, 0.05, 0.2, 200)
    assert over_queries("x", found, above=0, p_value=0.01).verdict == "holds"
    assert over_queries("x", found, at_most=0, p_value=0.01).verdict == "does not hold"
    assert over_queries("x", found, above=0, p_value=0.01, reported="yes").verdict == "seen here, too"


@given(
    low=st.floats(-1, 1), width=st.floats(1e-6, 1), n_queries=st.integers(1, FEWEST["queries"] - 1), above=st.booleans()
)
def test_too_few_queries_give_no_verdict_whatever_the_interval(
    low: float, width: float, n_queries: int, above: bool
) -> None:
    found = Interval(low, low, low + width, n_queries)
    claim = over_queries("x", found, p_value=0.01, reported="yes", **({"above": 0.0} if above else {"at_most": 0.0}))  # type: ignore[arg-type]
    assert claim.verdict == OPEN
    assert f"{n_queries} queries" in claim.open_because


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=FEWEST["tasks"] - 1))
def test_too_few_tasks_give_no_verdict_on_tasks_in_general(values: list[float]) -> None:
    assert over_tasks("x", values, n_queries=1000, above=0, reported="yes").verdict == OPEN


def test_tasks_without_a_number_do_not_count() -> None:
    values = [*[0.5] * 5, 0.4, float("nan")]
    claim = over_tasks("x", values, n_queries=[10] * 7, above=0)
    assert (claim.n_tasks, claim.n_queries, claim.verdict) == (6, 60, "holds")
    fewer = over_tasks("x", values[1:], n_queries=[10] * 6, above=0)
    assert (fewer.n_tasks, fewer.verdict) == (5, OPEN)


def test_tasks_that_all_agree_do_not_make_a_claim_certain() -> None:
    assert over_tasks("x", [0.3] * 8, n_queries=800, above=0.25).verdict == OPEN


def test_a_claim_needs_the_exact_test_beside_the_interval() -> None:
    found = Interval(0.1, 0.05, 0.2, 200)
    assert over_queries("x", found, above=0, p_value=0.06).verdict == OPEN
    with pytest.raises(InputError):
        over_queries("x", found, above=0)
    pairs = Paired.of([1.0] * 40 + [0.0] * 60, over="queries")
    claim = over_queries("x", pairs, above=0.2)
    assert (claim.verdict, claim.p_value) == ("holds", pairs.beyond(0.2).p_value)
    assert over_queries("x", pairs, above=0.55).verdict == "does not hold"


def test_an_interval_without_width_is_not_believed() -> None:
    assert over_queries("x", Interval(1.0, 1.0, 1.0, 500), above=1, p_value=0.01).verdict == OPEN


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.array([0.1, 0.4, 0.2, 0.9, 0.5, 0.3])
    found = jackknife(values.mean(), [np.delete(values, i).mean() for i in range(6)])
    assert found.high - found.value == pytest.approx(1.96 * values.std(ddof=1) / np.sqrt(6))
    with pytest.raises(InputError, match="two at least"):
        jackknife(0.0, [0.0])


def test_a_correlation_needs_as_many_tasks_as_any_claim_on_tasks() -> None:
    steady = [0.6 + 0.01 * (i % 2) for i in range(FEWEST["tasks"])]
    assert correlation_above_zero("x", 0.6, steady, p_value=0.01, n_queries=500).verdict == "holds"
    assert correlation_above_zero("x", 0.6, steady[1:], p_value=0.01, n_queries=500).verdict == OPEN


def test_a_verdict_cannot_be_handed_in() -> None:
    fields = over_queries("x", Interval(0.1, 0.05, 0.2, 200), above=0, p_value=0.01).model_dump()
    assert "verdict" not in fields
    with pytest.raises(InputError, match="verdict"):
        Claim(**fields | {"verdict": "seen here, too"})
