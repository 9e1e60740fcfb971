"""Every check is set off by a planted fault, and stays quiet without it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from site_lens.diagnostics.checks import State
from site_lens.diagnostics.diagnosis import Finding, diagnose
from site_lens.methods.evaluation import Evaluations
from site_lens.methods.registry import SHUFFLED_ANSWERS, TASK_AGNOSTIC
from site_lens.runs.run import Run
from site_lens.site.fit import SiteConfig, SiteFit, SiteFits
from site_lens.tasks.first_tokens import FirstTokens
from tests.fakes import ACCURACIES, GRID, fake_alphas, fake_evaluation, fake_fit, fake_fits

HALF = np.full(GRID.shape, 0.5, dtype=np.float32)
BINARY = fake_alphas("antonym").round()
CODES = ("ended", "not_binary", "null_as_binary", "soft_hard_gap", "gates_alone", "task_agnostic", "seeds_disagree",
         "few_queries", "first_tokens", "one_origin",
)  # fmt: skip


def finding(
    code: str,
    *fits: SiteFit,
    accuracies: Mapping[str, float] | None = None,
    controls: Mapping[str, SiteFits] | None = None,
    **options: Any,
) -> Finding:
    """What one check says of the task `antonym`."""
    made = [fake_evaluation("antonym", ACCURACIES | dict(accuracies), **options)] if accuracies is not None else []
    run = Run(SiteFits(fits or [fake_fit("antonym")]), dict(controls or {}), Evaluations(made) if made else None)
    (found,) = [one for one in diagnose(run).of("antonym") if one.code == code]
    return found


def test_every_task_gets_every_check_in_order() -> None:
    found = diagnose(fake_fits(["antonym", "plural"]))
    assert list(found.frame()["code"]) == [*CODES, *CODES]
    assert found.ok


def test_a_broken_fit_fails() -> None:
    for status in ("converged", "step_limit", "early_stop", "no_improvement", "nonfinite"):
        found = finding("ended", fake_fit("antonym", status=status))
        expected = {"no_improvement": "fail", "nonfinite": "fail", "step_limit": "warn"}.get(status, "ok")
        assert found.state == expected, status
        assert bool(found.advice) == (found.state != "ok")
    assert "do not round it" in finding("ended", fake_fit("antonym", status="no_improvement", kept_step=0)).advice


ACCURATE: list[tuple[str, dict[str, float], int, State]] = [
    ("soft_hard_gap", {"site": 0.85, "site_hard": 0.85}, 400, "ok"),
    ("soft_hard_gap", {"site": 0.85, "site_hard": 0.78}, 400, "open"),
    ("soft_hard_gap", {"site": 0.85, "site_hard": 0.6}, 400, "warn"),
    ("soft_hard_gap", {"site": 0.85, "site_hard": 0.85, "site_top_k": 0.5}, 400, "ok"),  # rounding alone sets it off
    ("gates_alone", {"zero_shot": 0.05, "site": 0.85, "site_zero_embedding": 0.3}, 100, "ok"),
    ("gates_alone", {"zero_shot": 0.05, "site": 0.85, "site_zero_embedding": 0.85}, 100, "warn"),
    ("gates_alone", {"zero_shot": 0.05, "site": 0.85, "site_zero_embedding": 0.7}, 100, "open"),
    ("gates_alone", {"zero_shot": 0.05, "site": 0.075, "site_zero_embedding": 0.05}, 100, "not_applicable"),
    ("task_agnostic", {TASK_AGNOSTIC: 0.99}, 400, "warn"),
    ("task_agnostic", {TASK_AGNOSTIC: 0.85}, 40, "open"),
    ("task_agnostic", {TASK_AGNOSTIC: 0.5}, 40, "ok"),
    ("task_agnostic", {}, 40, "not_applicable"),
    ("few_queries", {}, 20, "warn"),
    ("few_queries", {}, 50, "ok"),
]
"""Check, planted accuracies, number of queries, state."""


def test_checks_of_accuracies_judge_by_intervals_over_queries() -> None:
    for code, accuracies, n_queries, state in ACCURATE:
        found = finding(code, accuracies=accuracies, n_queries=n_queries)
        assert found.state == state, (found, accuracies)
        assert bool(found.advice) == (state == "warn")


def test_gates_left_in_the_middle_are_not_binary_but_an_early_stop_is_not_scolded_for_them() -> None:
    middle = fake_fit("antonym", 0, HALF)
    found = finding("not_binary", middle)
    assert (found.state, found.value) == ("warn", 1)
    assert finding("not_binary", fake_fit("antonym", 0, BINARY)).state == "ok"
    stopped = finding("not_binary", middle.replace(config=middle.config.replace(n_steps=400)))
    assert stopped.state == "not_applicable" and "stopped early" in stopped.meaning


def test_binary_gates_under_the_most_binary_null_of_the_same_seed_are_the_optimisers_doing() -> None:
    binary, undecided = fake_fit("antonym", 0, fake_alphas("antonym", seed=5).round()), fake_fit("antonym", 0, HALF)

    def of_nulls(*fits: SiteFit, seed: int = 0, **others: SiteFit) -> Finding:
        nulls = {SHUFFLED_ANSWERS: SiteFits(fits)} | {name: SiteFits([fit]) for name, fit in others.items()}
        return finding("null_as_binary", fake_fit("antonym", seed), controls=nulls)

    assert of_nulls(binary).state == "warn"
    assert of_nulls(undecided).state == "ok"
    assert finding("null_as_binary").state == "not_applicable"
    assert of_nulls(binary, fake_fit("antonym", 1, HALF), seed=1).state == "ok"
    assert of_nulls(binary, fake_fit("antonym", 1, HALF), seed=2).state == "not_applicable"
    assert "site_other_embedding" in of_nulls(undecided, site_other_embedding=binary).meaning


def test_the_heads_of_highest_alpha_tell_a_wrong_cut_from_alphas_that_matter() -> None:
    for top, advice in ((0.99, "0.5 is the wrong place to cut"), (0.5, "Alphas between 0 and 1")):
        found = finding("soft_hard_gap", accuracies={"site": 0.85, "site_hard": 0.5, "site_top_k": top}, n_queries=400)
        assert found.state == "warn"
        assert found.advice.startswith(advice)
        assert f"{0.85 - top:+.3f}" in found.meaning


def test_seeds_that_disagree_as_much_as_tasks_do_fail() -> None:
    alike = [fake_fit("antonym", seed, fake_alphas("antonym")) for seed in range(3)]
    chance = [fake_fit("antonym", seed, fake_alphas("antonym", seed=seed)) for seed in range(3)]
    others = [fake_fit("plural", seed) for seed in range(3)]
    assert finding("seeds_disagree", *alike, *others).state == "ok"
    assert finding("seeds_disagree", *chance, *others).state == "fail"
    assert finding("seeds_disagree", *chance).state == "warn"  # nothing to compare with
    assert finding("seeds_disagree").state == "not_applicable"


def test_failures_come_first_and_every_finding_names_its_documentation() -> None:
    fits = SiteFits([fake_fit("a", config=SiteConfig()), fake_fit("b", status="nonfinite")])
    found = diagnose(fits)
    assert found.worst_first()[0].task == "b"
    assert found.having("fail") == found.worst_first()[:1]
    assert not found.ok
    assert found.findings[0].docs == "docs/diagnosis.md#ended"


def tokens(answers: list[str], firsts: list[int]) -> FirstTokens:
    """First tokens of answers, planted."""
    return FirstTokens.of(answers, [[first] for first in firsts], str)


OWN = tokens([f"word {i}" for i in range(40)], list(range(40)))
ALIKE = tokens([f"${i}" for i in range(40)], [1] * 40)
SPARSE = tokens(["yes"] * 38 + ["no"] * 2, [1] * 38 + [2] * 2)
PARTLY = tokens([f"the {i}" for i in range(40)], [1] * 10 + list(range(2, 32)))
TENS = tokens(
    [f"{tens} {ones}" for tens in range(5) for ones in range(8)], [tens for tens in range(5) for _ in range(8)]
)
HARDLY = tokens([f"the {i}" for i in range(40)], [1] * 30 + list(range(2, 12)))


def test_first_tokens_that_do_not_tell_answers_apart_are_found() -> None:
    planted: list[tuple[FirstTokens, float, State]] = [
        (OWN, 0.85, "ok"),
        (OWN, 0.0, "fail"),  # a model that does not do the task at all
        (ALIKE, 1.0, "fail"),
        (SPARSE, 0.95, "fail"),  # a constant is as good, though the tokens differ
        (SPARSE, 0.9, "fail"),
        (SPARSE, 1.0, "warn"),  # two rows more do not tell the method from the constant
        (PARTLY, 0.9, "warn"),
        (TENS, 0.9, "warn"),
        (HARDLY, 1.0, "fail"),  # better than the constant, but not about whole answers
    ]
    for measured, best, state in planted:
        found = finding("first_tokens", accuracies=dict.fromkeys(ACCURACIES, best), first_tokens=measured)
        assert found.state == state, found
        assert found.value == pytest.approx(measured.constant)
        advises = 'loss="answer"' in found.advice and "--generate" in found.advice
        assert advises == (measured.told_apart < 0.9 and state != "ok")


def test_first_tokens_are_no_longer_a_failure_where_whole_answers_were_fitted_and_measured() -> None:
    one = fake_evaluation("antonym", first_tokens=ALIKE)
    whole = fake_fit("antonym", config=SiteConfig(loss="answer"))
    for fit, exact, state in (
        (whole, one.first_token, "warn"),
        (whole, None, "fail"),
        (fake_fit("antonym"), None, "fail"),
    ):
        run = Run(SiteFits([fit]), {}, Evaluations([one.replace(exact=exact)]))
        (found,) = [each for each in diagnose(run).of("antonym") if each.code == "first_tokens"]
        assert found.state == state
