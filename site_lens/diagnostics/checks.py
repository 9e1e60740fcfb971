"""What is wrong with a run, as far as its records tell: one coded check after the other, task by task."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from site_lens.diagnostics.convergence import Convergence, check_convergence
from site_lens.diagnostics.diagnosis import Diagnosis, Finding, State
from site_lens.diagnostics.origins import strangers
from site_lens.diagnostics.seed_agreement import TaskAgreement, seed_agreement
from site_lens.methods.evaluation import Evaluation, Evaluations
from site_lens.methods.registry import NULLS, TASK_AGNOSTIC, ZERO_EMBEDDING
from site_lens.records.errors import InputError
from site_lens.runs.run import Run
from site_lens.site.fit import STATUSES, SiteFit, SiteFits
from site_lens.stats.intervals import correlation_interval, wilson
from site_lens.stats.paired_tests import Paired, describe

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
SMALLEST_GAIN = 0.05
"""Gain over zero-shot below which shares of it say nothing."""
LEAST_AGREEMENT = 0.7
"""Correlation of two fits of a task below which a single map is underdetermined."""
AGREEMENT_MARGIN = 0.1
"""Fits of a task must agree by this much more with each other than with those of other tasks."""
FEWEST_QUERIES = 50
"""Test queries below which a 95% interval is wider than 0.14 to either side at an accuracy of one half."""

MOST_TOLD_APART = 0.9
"""Share of the answers told apart by their first token from which on first-token accuracy speaks of whole answers."""


@dataclass(frozen=True, slots=True)
class _Case:
    """What is known of one task."""

    fit: SiteFit
    """The fit that was evaluated: that of the lowest seed."""
    convergence: Convergence | None
    nulls: Mapping[str, Convergence]
    agreement: TaskAgreement
    evaluation: Evaluation | None
    strange: tuple[list[str], list[str]]
    """What was made on another model or other rows than the fit; what in another number format."""

    def compare(self, method: str, **shares: float) -> Paired | None:
        """Compare a method query by query with a weighted sum of others; None where one of them was not evaluated."""
        if self.evaluation is None or not {method, *shares} <= set(self.evaluation.methods):
            return None
        right = dict(zip(self.evaluation.methods, self.evaluation.first_token.astype(float), strict=True))
        return Paired.of(right[method], sum(share * right[name] for name, share in shares.items()), over="queries")

    def finding(
        self, code: str, state: State, meaning: str, value: float | None = None, threshold: float | None = None,
        advice: str = "",
    ) -> Finding:  # fmt: skip
        """Build a finding; advice is given only where something is the matter."""
        return Finding(
            code=code, state=state, task=self.fit.task, value=value, threshold=threshold, meaning=meaning,
            advice=advice if state in ("warn", "fail") else "",
        )  # fmt: skip


def diagnose(
    run: Run | SiteFits,
    *,
    controls: Mapping[str, SiteFits] | None = None,
    evaluations: Evaluations | None = None,
) -> Diagnosis:
    """Check every task of a run for the known ways in which a SITE fit misleads.

    Args:
        run: A run; or its fits alone, with what else is known beside them.
        controls: Control fits by method, as in a run: zero embedding, nulls, shared gates.
        evaluations: Accuracies by task.

    Returns:
        For each task the findings `ended`, `not_binary`, `null_as_binary`, `soft_hard_gap`, `gates_alone`,
        `task_agnostic`, `seeds_disagree`, `few_queries`, `first_tokens` and `one_origin`, in this order.

    Raises:
        InputError: There are no fits, or a run came with further controls or evaluations.
        MismatchError: The fits are over different grids.

    Reference: arXiv 2507.20906, section 5, for the failure signatures.
    """
    if isinstance(run, SiteFits):
        run = Run(run, dict(controls or {}), evaluations)
    elif evaluations is not None or controls is not None:
        raise InputError("a run brings its own evaluations and controls; leave them out, or hand in run.fits")
    agreement = seed_agreement(run.fits)
    cases = [_case(run, one) for one in agreement.tasks]
    return Diagnosis(findings=tuple(check(case) for case in cases for check in CHECKS))


def _case(run: Run, agreement: TaskAgreement) -> _Case:
    task = agreement.task
    fit = min(run.fits.of(task), key=lambda one: one.seed)
    nulls = {
        name: next((null for null in run.controls[name].of(task) if null.seed == fit.seed), None)
        for name in NULLS
        if name in run.controls
    }
    return _Case(
        fit=fit,
        convergence=_converged(fit),
        nulls={name: found for name, null in nulls.items() if null is not None and (found := _converged(null))},
        agreement=agreement,
        evaluation=None if run.evaluations is None else run.evaluations.get(task),
        strange=strangers(run, task),
    )


def _converged(fit: SiteFit) -> Convergence | None:
    return check_convergence(fit) if fit.trace.eval_steps else None


def _ended(case: _Case) -> Finding:
    states: dict[str, State] = {"nonfinite": "fail", "diverged": "fail"}
    state = states.get(case.fit.status, "ok")
    start_was_best = case.fit.status == "diverged" and case.fit.kept_step == 0
    advice = (
        "The start was the best map met: mixing the embedding in everywhere did the task already. Read the accuracy, "
        "not the map, and do not round it; or fit with a lower lr or another init."
        if start_was_best
        else "Use dtype='float32', a smaller lr, or more steps, and look at the losses."
    )
    return case.finding("ended", state, f"{case.fit.status}: {STATUSES[case.fit.status]}", advice=advice)


def _not_binary(case: _Case) -> Finding:
    code, found = "not_binary", case.convergence
    if found is None:
        return case.finding(code, "not_applicable", "the fit was never evaluated")
    value = float(found.undecided[-1])
    at = f"{value:.0%} of the heads have 0.1 < alpha < 0.9 after step {found.steps[-1]}"
    if not found.whole:
        of = f"{at} of {found.n_steps}; the fit stopped early, as it was told to, before its gates had to be binary"
        return case.finding(code, "not_applicable", of, value, MOST_UNDECIDED)
    state: State = "warn" if value > MOST_UNDECIDED else "ok"
    advice = (
        "Take more steps; if the share stays, the task gives conflicting signals, and the map is a matter of degree."
    )
    return case.finding(code, state, at, value, MOST_UNDECIDED, advice)


def _null_as_binary(case: _Case) -> Finding:
    code = "null_as_binary"
    whole = {name: float(null.undecided[-1]) for name, null in case.nulls.items() if null.whole}
    if case.convergence is None or not case.convergence.whole or not whole:
        return case.finding(code, "not_applicable", "no full-length fit beside a null fit of equal length to compare")
    own, n_heads = float(case.convergence.undecided[-1]), len(case.fit.gates.grid)
    name = min(whole, key=lambda each: whole[each])
    null = wilson(round(whole[name] * n_heads), n_heads)
    most = min(MOST_UNDECIDED, own + NULL_MARGIN)
    state: State = "warn" if null.high <= most else "ok" if null.low > most else "open"
    meaning = f"undecided: {own:.0%} here, {null.value:.0%} [{null.low:.0%}, {null.high:.0%}] under {name}"
    advice = "Gates turn binary without a task to learn: that they are binary is the optimiser's doing and no finding."
    return case.finding(code, state, meaning, whole[name] - own, NULL_MARGIN, advice)


def _soft_hard_gap(case: _Case) -> Finding:
    code, gap = "soft_hard_gap", case.compare("site", site_hard=1.0)
    if gap is None:
        return case.finding(code, "not_applicable", "soft and rounded gates were not both evaluated")
    state = _state(gap.beyond(SOFT_HARD_GAP), above="warn", below="ok")
    meaning = f"rounding at 0.5 costs {describe(gap.estimate, gap.over)}"
    advice = "Alphas between 0 and 1 matter for this task: do not report a set of heads as if it were the fit."
    top = case.compare("site", **{TOP_K: 1.0})
    if top is not None:
        meaning += f"; keeping as many heads of highest alpha as the alphas sum to costs {top.estimate.value:+.3f}"
        if top.beyond(SOFT_HARD_GAP).verdict == "below":
            advice = "0.5 is the wrong place to cut: report the heads of highest alpha, as many as the alphas sum to."
    return case.finding(code, state, meaning, gap.estimate.value, SOFT_HARD_GAP, advice)


def _gates_alone(case: _Case) -> Finding:
    code, gain = "gates_alone", case.compare("site", zero_shot=1.0)
    short = case.compare(ZERO_EMBEDDING, site=GATES_SHARE, zero_shot=1 - GATES_SHARE)
    content = case.compare("site", **{ZERO_EMBEDDING: 1.0})
    if gain is None or short is None or content is None:
        return case.finding(code, "not_applicable", "no zero-embedding control was evaluated beside the fit")
    if gain.beyond(SMALLEST_GAIN).verdict != "above":
        meaning = f"SITE's gain over zero-shot, {gain}, is not found to exceed {SMALLEST_GAIN}: nothing to explain"
        return case.finding(code, "not_applicable", meaning)
    share = 1 - content.estimate.value / gain.estimate.value
    state = _state(short, above="warn", below="ok")
    meaning = (
        f"gates with an embedding of zeros reach {share:.0%} of the gain over zero-shot; less {GATES_SHARE:.0%} of it "
        f"that is {describe(short.estimate, short.over)}"
    )
    advice = "Weakening heads does nearly all of it: do not call the gain an effect of the embedding's content."
    return case.finding(code, state, meaning, share, GATES_SHARE, advice)


def _task_agnostic(case: _Case) -> Finding:
    code, own = "task_agnostic", case.compare("site", **{TASK_AGNOSTIC: 1.0})
    if own is None:
        return case.finding(code, "not_applicable", "no gates shared by all tasks were evaluated beside the fit")
    state = _state(own.beyond(AGNOSTIC_GAP), above="ok", below="warn")
    advice = "The task does as well with gates learned for all tasks together: its heads are generic, not its own."
    meaning = f"own gates less those shared by all tasks: {describe(own.estimate, own.over)}"
    return case.finding(code, state, meaning, own.estimate.value, AGNOSTIC_GAP, advice)


def _state(beyond: Paired, *, above: State, below: State) -> State:
    """Turn the verdict on a difference from a threshold into a state; `open` where there is none."""
    states: dict[str, State] = {"above": above, "below": below}
    return states.get(beyond.verdict, "open")


def _seeds_disagree(case: _Case) -> Finding:
    code, found = "seeds_disagree", case.agreement
    if found.own is None:
        return case.finding(code, "not_applicable", "one fit only: how far its map is a matter of chance is not known")
    own = correlation_interval(found.own, len(case.fit.gates.grid))
    least = f"fits of the task correlate {own.value:.2f} [{own.low:.2f}, {own.high:.2f}]"
    least += "" if found.elsewhere is None else f", with other tasks {found.elsewhere:.2f}"
    state: State = "warn" if own.high < LEAST_AGREEMENT else "ok" if own.low > LEAST_AGREEMENT else "open"
    if state == "warn" and found.elsewhere is not None and own.low < found.elsewhere + AGREEMENT_MARGIN:
        state = "fail"  # nor is it shown that they agree more than fits of different tasks do
    advice = "The map is underdetermined: read the mean over fits, and only heads whose spread is small."
    return case.finding(code, state, least, found.own, LEAST_AGREEMENT, advice)


def _few_queries(case: _Case) -> Finding:
    code = "few_queries"
    if case.evaluation is None:
        return case.finding(code, "not_applicable", "the fit was not evaluated")
    n = len(case.evaluation.queries)
    state: State = "warn" if n < FEWEST_QUERIES else "ok"
    advice = "Evaluate on more test rows, or read no difference smaller than the intervals."
    return case.finding(code, state, f"{n} test queries", n, FEWEST_QUERIES, advice)


def _first_tokens(case: _Case) -> Finding:
    code, measured = "first_tokens", case.evaluation
    if measured is None:
        return case.finding(code, "not_applicable", "the fit was not evaluated")
    tokens = measured.first_tokens
    if tokens is None:
        why = "the evaluation does not hold the first tokens of its answers; evaluate again"
        return case.finding(code, "not_applicable", why)
    best = max((measured.accuracy(method) for method in measured.methods), key=lambda each: each.value)
    as_good = tokens.constant >= best.value
    state: State = "warn" if tokens.told_apart < MOST_TOLD_APART or tokens.constant >= best.low else "ok"
    if as_good or not tokens.tell_apart:
        state = "fail"
    meaning = f"{tokens}; the best method reaches {best.value:.1%}"
    if tokens.told_apart < MOST_TOLD_APART:
        advice = (
            'Do not read first-token accuracy: fit with loss="answer" (--loss answer) and measure whole answers with '
            "generated=True (--generate)."
        )
        if measured.exact is not None and case.fit.config.loss == "answer":
            state, advice = "warn", "Read the metric exact, not first_token."
    else:
        advice = "One answer is as good as the best method: balance the answers before methods are compared."
    return case.finding(code, state, meaning, tokens.constant, best.value, advice)


def _one_origin(case: _Case) -> Finding:
    others, formats = case.strange
    state: State = "fail" if others else "warn" if formats else "ok"
    meaning = "; ".join([*others, *formats]) or "all of it was made on one model and the same rows"
    advice = "Numbers of two models, or on two sets of rows, are no comparison: measure again what is not the fit's."
    return case.finding("one_origin", state, meaning, len(others) + len(formats), 1, advice)


CHECKS: tuple[Callable[[_Case], Finding], ...] = (
    _ended,
    _not_binary,
    _null_as_binary,
    _soft_hard_gap,
    _gates_alone,
    _task_agnostic,
    _seeds_disagree,
    _few_queries,
    _first_tokens,
    _one_origin,
)
"""Every check, in the order of the findings."""
