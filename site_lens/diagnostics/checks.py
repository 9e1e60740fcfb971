"""Checks for the known ways in which a SITE fit misleads; each reads the records of one task."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from site_lens.diagnostics.convergence import Convergence
from site_lens.diagnostics.seed_agreement import TaskAgreement
from site_lens.methods.evaluation import Evaluation
from site_lens.methods.registry import TASK_AGNOSTIC, ZERO_EMBEDDING
from site_lens.site.fit import FAILED, STATUSES, SiteFit
from site_lens.stats.intervals import correlation_interval, wilson
from site_lens.stats.paired_tests import LEAST_GAIN, Paired, describe

State = Literal["fail", "warn", "open", "ok", "not_applicable"]

MOST_UNDECIDED = 0.3
"""Share of undecided heads up to which a map is called binary; the paper's maps end with 0.1 to 0.2."""
NULL_MARGIN = 0.1
"""A null fit that is binary, with a share of undecided heads at most this much larger, is as binary."""
SOFT_HARD_GAP = 0.05
"""Loss of accuracy by rounding from which on the alphas between 0 and 1 matter."""
TOP_K = "site_top_k"
"""Method that replaces the k heads of highest alpha wholly, k = the sum of the alphas, rounded: unlike rounding at 0.5
it opens heads of a map whose alphas are all low."""
GATES_SHARE = 0.8
"""Share of the gain over zero-shot that gates alone must reach to explain it."""
AGNOSTIC_GAP = 0.02
"""Difference in accuracy up to which gates shared by all tasks are as good as the task's own."""
LEAST_AGREEMENT = 0.7
"""Correlation of two fits of a task below which a single map is underdetermined."""
AGREEMENT_MARGIN = 0.1
"""Fits of a task must agree by this much more with each other than with those of other tasks."""
FEWEST_QUERIES = 50
"""Test queries below which a 95% interval is wider than 0.14 to either side at an accuracy of one half."""

MOST_TOLD_APART = 0.9
"""Share of the answers told apart by their first token from which on first-token accuracy speaks of whole answers."""


@dataclass(frozen=True, slots=True)
class Case:
    """Records of one task."""

    fit: SiteFit
    """The fit that was evaluated: that of the lowest seed."""
    convergence: Convergence | None
    nulls: Mapping[str, Convergence]
    agreement: TaskAgreement
    evaluation: Evaluation | None
    foreign: tuple[list[str], list[str]]
    """What was made on another model or other rows than the fit; what in another number format."""

    def compare(self, method: str, **shares: float) -> Paired | None:
        """Compare a method query by query with a weighted sum of others; None where one of them was not evaluated."""
        if self.evaluation is None or not {method, *shares} <= set(self.evaluation.methods):
            return None
        right = dict(zip(self.evaluation.methods, self.evaluation.first_token.astype(float), strict=True))
        other = sum(share * right[name] for name, share in shares.items())
        return Paired.of(right[method], other, over="queries", clusters=self.evaluation.sets_of(method, *shares))


@dataclass(frozen=True, slots=True)
class Reading:
    """Measurement of one check, with advice only where something is the matter. Fields are those of a finding."""

    state: State
    meaning: str
    value: float | None = None
    threshold: float | None = None
    advice: str = ""


def _missing(why: str, value: float | None = None, threshold: float | None = None) -> Reading:
    return Reading("not_applicable", why, value, threshold)


def _state(difference: Paired, *, above: State, below: State) -> State:
    """Turn the verdict on a difference from a threshold into a state; `open` where there is none."""
    states: dict[str, State] = {"above": above, "below": below}
    return states.get(difference.verdict, "open")


def ended(case: Case) -> Reading:
    """How the fit ended: a loss that was not finite, or alphas no better than the start, is no result."""
    status = case.fit.status
    if status == "step_limit":
        advice = "The map may still change: take more steps (n_steps) before you read single heads off it."
        return Reading("warn", f"{status}: did not converge. {STATUSES[status]}", advice=advice)
    advice = (
        "The start was the best map met: mixing the embedding in everywhere did the task already. Read the accuracy, "
        "not the map, and do not round it; or fit with a lower lr or another init."
        if case.fit.kept_start
        else "Use dtype='float32', a smaller lr, or more steps, and look at the losses."
    )
    return Reading("fail" if status in FAILED else "ok", f"{status}: {STATUSES[status]}", advice=advice)


def not_binary(case: Case) -> Reading:
    """Many heads stay between 0.1 and 0.9 to the last step: too few steps, or a conflicting signal."""
    convergence = case.convergence
    if convergence is None:
        return _missing("the fit was never evaluated")
    share = float(convergence.undecided[-1])
    meaning = f"{share:.0%} of the heads have 0.1 < alpha < 0.9 after step {convergence.steps[-1]}"
    if not convergence.whole:
        meaning += (
            f" of {convergence.n_steps}; the fit stopped early, as it was told to, before its gates had to be binary"
        )
        return _missing(meaning, share, MOST_UNDECIDED)
    advice = (
        "Take more steps; if the share stays, the task gives conflicting signals, and the map is a matter of degree."
    )
    return Reading("warn" if share > MOST_UNDECIDED else "ok", meaning, share, MOST_UNDECIDED, advice)


def null_as_binary(case: Case) -> Reading:
    """A null fit turns as binary as the fit: that gates are binary is then the optimiser's doing."""
    shares = {name: float(null.undecided[-1]) for name, null in case.nulls.items() if null.whole}
    if case.convergence is None or not case.convergence.whole or not shares:
        return _missing("no full-length fit beside a null fit of equal length to compare")
    share, n_heads = float(case.convergence.undecided[-1]), len(case.fit.gates.grid)
    name = min(shares, key=lambda null: shares[null])
    null = wilson(round(shares[name] * n_heads), n_heads)
    most = min(MOST_UNDECIDED, share + NULL_MARGIN)
    meaning = f"undecided: {share:.0%} here, {null.value:.0%} [{null.low:.0%}, {null.high:.0%}] under {name}"
    advice = "Gates turn binary without a task to learn: that they are binary is the optimiser's doing and no finding."
    state: State = "warn" if null.high <= most else "ok" if null.low > most else "open"
    return Reading(state, meaning, shares[name] - share, NULL_MARGIN, advice)


def soft_hard_gap(case: Case) -> Reading:
    """Rounding the alphas at 0.5 costs more than five points: those between 0 and 1 matter, or, where the heads of
    highest alpha alone do as well (site_top_k), 0.5 is the wrong place to cut.
    """  # noqa: D205  # one sentence
    gap, top = case.compare("site", site_hard=1.0), case.compare("site", **{TOP_K: 1.0})
    if gap is None:
        return _missing("soft and rounded gates were not both evaluated")
    meaning = f"rounding at 0.5 costs {describe(gap.estimate, gap.over)}"
    advice = "Alphas between 0 and 1 matter for this task: do not report a set of heads as if it were the fit."
    if top is not None:
        meaning += f"; keeping as many heads of highest alpha as the alphas sum to costs {top.estimate.value:+.3f}"
        if top.beyond(SOFT_HARD_GAP).verdict == "below":
            advice = "0.5 is the wrong place to cut: report the heads of highest alpha, as many as the alphas sum to."
    state = _state(gap.beyond(SOFT_HARD_GAP), above="warn", below="ok")
    return Reading(state, meaning, gap.estimate.value, SOFT_HARD_GAP, advice)


def gates_alone(case: Case) -> Reading:
    """Gates with an embedding of zeros reach most of the gain: weakening heads explains it."""
    gain, content = case.compare("site", zero_shot=1.0), case.compare("site", **{ZERO_EMBEDDING: 1.0})
    short = case.compare(ZERO_EMBEDDING, site=GATES_SHARE, zero_shot=1 - GATES_SHARE)
    if gain is None or short is None or content is None:
        return _missing("no zero-embedding control was evaluated beside the fit")
    if gain.beyond(LEAST_GAIN).verdict != "above":
        return _missing(f"SITE's gain over zero-shot, {gain}, is not found to exceed {LEAST_GAIN}: nothing to explain")
    share = 1 - content.estimate.value / gain.estimate.value
    meaning = (
        f"gates with an embedding of zeros reach {share:.0%} of the gain over zero-shot; less {GATES_SHARE:.0%} of it "
        f"that is {describe(short.estimate, short.over)}"
    )
    advice = "Weakening heads does nearly all of it: do not call the gain an effect of the embedding's content."
    return Reading(_state(short, above="warn", below="ok"), meaning, share, GATES_SHARE, advice)


def task_agnostic(case: Case) -> Reading:
    """Gates shared by all tasks do as well: the task relies on generic heads."""
    difference = case.compare("site", **{TASK_AGNOSTIC: 1.0})
    if difference is None:
        return _missing("no gates shared by all tasks were evaluated beside the fit")
    meaning = f"own gates less those shared by all tasks: {describe(difference.estimate, difference.over)}"
    advice = "The task does as well with gates learned for all tasks together: its heads are generic, not its own."
    state = _state(difference.beyond(AGNOSTIC_GAP), above="ok", below="warn")
    return Reading(state, meaning, difference.estimate.value, AGNOSTIC_GAP, advice)


def seeds_disagree(case: Case) -> Reading:
    """Fits of the task that differ in seed or start disagree: a single map is underdetermined."""
    within, elsewhere = case.agreement.own, case.agreement.elsewhere
    if within is None:
        return _missing("one fit only: how far its map is a matter of chance is not known")
    interval = correlation_interval(within, len(case.fit.gates.grid))
    meaning = f"fits of the task correlate {within:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
    meaning += "" if elsewhere is None else f", with other tasks {elsewhere:.2f}"
    state: State = "warn" if interval.high < LEAST_AGREEMENT else "ok" if interval.low > LEAST_AGREEMENT else "open"
    if state == "warn" and elsewhere is not None and interval.low < elsewhere + AGREEMENT_MARGIN:
        state = "fail"  # nor is it shown that they agree more than fits of different tasks do
    advice = "The map is underdetermined: read the mean over fits, and only heads whose spread is small."
    return Reading(state, meaning, within, LEAST_AGREEMENT, advice)


def few_queries(case: Case) -> Reading:
    """Too few test queries for the differences that are read from them."""
    if case.evaluation is None:
        return _missing("the fit was not evaluated")
    n = len(case.evaluation.queries)
    advice = "Evaluate on more test rows, or read no difference smaller than the intervals."
    return Reading("warn" if n < FEWEST_QUERIES else "ok", f"{n} test queries", n, FEWEST_QUERIES, advice)


def first_tokens(case: Case) -> Reading:
    """Answers share their first tokens, or one token is as right as the best method: first-token accuracy does not
    say whether answers are right.
    """  # noqa: D205  # one sentence
    evaluation = case.evaluation
    if evaluation is None:
        return _missing("the fit was not evaluated")
    tokens = evaluation.first_tokens
    if tokens is None:
        return _missing("the evaluation does not hold the first tokens of its answers; evaluate again")
    best = max((evaluation.accuracy(method) for method in evaluation.methods), key=lambda accuracy: accuracy.value)
    are_shared = tokens.told_apart < MOST_TOLD_APART
    state: State = "warn" if are_shared or tokens.constant >= best.low else "ok"
    if tokens.constant >= best.value or not tokens.tell_apart:
        state = "fail"
    advice = "One answer is as good as the best method: balance the answers before methods are compared."
    if are_shared:
        advice = (
            'Do not read first-token accuracy: fit with loss="answer" (--loss answer) and measure whole answers with '
            "generated=True (--generate)."
        )
        if evaluation.exact is not None and case.fit.config.loss == "answer":
            state, advice = "warn", "Read the metric exact, not first_token."
    meaning = f"{tokens}; the best method reaches {best.value:.1%}"
    return Reading(state, meaning, tokens.constant, best.value, advice)


def one_origin(case: Case) -> Reading:
    """Records of the task were made on another model, another number format or other rows than its fit."""
    others, formats = case.foreign
    meaning = "; ".join([*others, *formats]) or "all of it was made on one model and the same rows"
    advice = "Numbers of two models, or on two sets of rows, are no comparison: measure again what is not the fit's."
    state: State = "fail" if others else "warn" if formats else "ok"
    return Reading(state, meaning, len(others) + len(formats), 1, advice)


CHECKS: dict[str, Callable[[Case], Reading]] = {
    check.__name__: check
    for check in (
        ended, not_binary, null_as_binary, soft_hard_gap, gates_alone, task_agnostic, seeds_disagree, few_queries,
        first_tokens, one_origin,
    )
}  # fmt: skip
"""Every check by its code, in the order of the findings."""

CHECK_DESCRIPTIONS = {code: " ".join(str(check.__doc__).split()) for code, check in CHECKS.items()}
"""What each check says when it is set off, for readers of a report: the docstring of its function."""
