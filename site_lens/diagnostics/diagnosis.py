"""What is wrong with a run, as far as its records tell: one coded check after the other, task by task."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from site_lens.core.agreement import TaskAgreement
from site_lens.core.convergence import Convergence
from site_lens.core.diagnosis import Diagnosis, Finding, State
from site_lens.core.evaluation import Evaluation, Evaluations
from site_lens.core.fits import STATUSES, SiteFit, SiteFits
from site_lens.core.runs import NULLS, TASK_AGNOSTIC, ZERO_EMBEDDING, Run
from site_lens.diagnostics.agreement import measure_agreement
from site_lens.diagnostics.convergence import check_convergence
from site_lens.diagnostics.origins import strangers

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

    def accuracy(self, method: str) -> float | None:
        """Accuracy of a method; None where it was not evaluated."""
        if self.evaluation is None or method not in self.evaluation.methods:
            return None
        return self.evaluation.accuracy(method).value

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
        `task_agnostic`, `seeds_disagree`, `few_queries` and `one_origin`, in this order.

    Raises:
        InputError: There are no fits.
        MismatchError: The fits are over different grids.

    Reference: arXiv 2507.20906, section 5, for the failure signatures.
    """
    if isinstance(run, SiteFits):
        run = Run(run, dict(controls or {}), evaluations)
    agreement = measure_agreement(run.fits)
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
    own = float(case.convergence.undecided[-1])
    name = min(whole, key=lambda each: whole[each])
    is_binary = whole[name] <= MOST_UNDECIDED
    state: State = "warn" if is_binary and whole[name] <= own + NULL_MARGIN else "ok"
    meaning = f"undecided: {own:.0%} here, {whole[name]:.0%} under {name}"
    advice = "Gates turn binary without a task to learn: that they are binary is the optimiser's doing and no finding."
    return case.finding(code, state, meaning, whole[name] - own, NULL_MARGIN, advice)


def _soft_hard_gap(case: _Case) -> Finding:
    code, soft, hard = "soft_hard_gap", case.accuracy("site"), case.accuracy("site_hard")
    if soft is None or hard is None:
        return case.finding(code, "not_applicable", "soft and rounded gates were not both evaluated")
    state: State = "warn" if soft - hard > SOFT_HARD_GAP else "ok"
    meaning = f"accuracy {soft:.3f} soft, {hard:.3f} rounded at 0.5"
    advice = "Alphas between 0 and 1 matter for this task: do not report a set of heads as if it were the fit."
    top = case.accuracy(TOP_K)
    if top is not None:
        meaning += f", {top:.3f} by as many heads of highest alpha as the alphas sum to"
        if soft - top <= SOFT_HARD_GAP:
            advice = "0.5 is the wrong place to cut: report the heads of highest alpha, as many as the alphas sum to."
    return case.finding(code, state, meaning, soft - hard, SOFT_HARD_GAP, advice)


def _gates_alone(case: _Case) -> Finding:
    code, site, zero, floor = "gates_alone", *(case.accuracy(m) for m in ("site", ZERO_EMBEDDING, "zero_shot"))
    if site is None or zero is None or floor is None:
        return case.finding(code, "not_applicable", "no zero-embedding control was evaluated beside the fit")
    if site - floor < SMALLEST_GAIN:
        return case.finding(
            code, "not_applicable", f"SITE gains {site - floor:+.3f} over zero-shot: nothing to explain"
        )
    share = (zero - floor) / (site - floor)
    state: State = "warn" if share >= GATES_SHARE else "ok"
    advice = "Weakening heads does nearly all of it: do not call the gain an effect of the embedding's content."
    return case.finding(
        code, state, f"gates with an embedding of zeros reach {share:.0%} of the gain over zero-shot", share,
        GATES_SHARE, advice,
    )  # fmt: skip


def _task_agnostic(case: _Case) -> Finding:
    code, site, shared = "task_agnostic", case.accuracy("site"), case.accuracy(TASK_AGNOSTIC)
    if site is None or shared is None:
        return case.finding(code, "not_applicable", "no gates shared by all tasks were evaluated beside the fit")
    state: State = "warn" if site - shared <= AGNOSTIC_GAP else "ok"
    advice = "The task does as well with gates learned for all tasks together: its heads are generic, not its own."
    return case.finding(
        code, state, f"accuracy {site:.3f} with own gates, {shared:.3f} with shared ones", site - shared, AGNOSTIC_GAP,
        advice,
    )  # fmt: skip


def _seeds_disagree(case: _Case) -> Finding:
    code, found = "seeds_disagree", case.agreement
    if found.own is None:
        return case.finding(code, "not_applicable", "one fit only: how far its map is a matter of chance is not known")
    least = f"fits of the task correlate {found.own:.2f}"
    least += "" if found.elsewhere is None else f", with other tasks {found.elsewhere:.2f}"
    state: State = "warn" if found.own < LEAST_AGREEMENT else "ok"
    if found.elsewhere is not None and found.own < found.elsewhere + AGREEMENT_MARGIN:
        state = "fail"
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
    _one_origin,
)
"""Every check, in the order of the findings."""
