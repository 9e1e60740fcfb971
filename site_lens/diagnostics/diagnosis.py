"""Diagnosis of a run: coded findings task by task, each with what was measured and what to do about it."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import ClassVar

from site_lens.diagnostics.checks import CHECKS, Case, State
from site_lens.diagnostics.convergence import check_convergence
from site_lens.diagnostics.origins import foreign_records
from site_lens.diagnostics.seed_agreement import TaskAgreement, seed_agreement
from site_lens.methods.evaluation import Evaluations
from site_lens.methods.registry import NULLS
from site_lens.records.base import Frozen, Record
from site_lens.records.display import few
from site_lens.records.errors import InputError
from site_lens.records.lazy_pandas import pd
from site_lens.runs.run import Run
from site_lens.site.fit import SiteFits

STATES: dict[State, str] = {
    "fail": "The map or the comparison must not be read as it stands.",
    "warn": "It can be read, with what the finding says in mind.",
    "open": "Measured, but the interval reaches to both sides of the threshold, or there are too few queries.",
    "ok": "Checked, nothing found.",
    "not_applicable": "Could not be checked; the finding says what is missing.",
}
"""What each state means, worst first."""


class Finding(Frozen):
    """One check of one task."""

    code: str
    state: State
    task: str
    value: float | None
    """What was measured; None where nothing was."""
    threshold: float | None
    """The value from which on the finding would be another."""
    meaning: str
    """What was measured and what it says; for `not_applicable`, why nothing was."""
    advice: str = ""
    """What to do about it; empty where nothing has to be done."""

    @property
    def docs(self) -> str:
        """Section of the documentation that explains the check."""
        return f"docs/diagnosis.md#{self.code}"


class Diagnosis(Record):
    """The findings of every task, in the order of the tasks and, within a task, of the checks."""

    kind: ClassVar[str] = "diagnosis"

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return not self.having("fail")

    @property
    def summary(self) -> str:
        """Number of checks that failed and warned, in words."""
        return f"{len(self.having('fail'))} of {len(self.findings)} checks failed, {len(self.having('warn'))} warned"

    def _facts(self) -> Mapping[str, object]:
        """Return the number of findings in each state, and which they are where something is the matter."""
        by_state = {state: self.having(state) for state in STATES}
        named = {state: few([f"{each.task} {each.code}" for each in by_state[state]]) for state in ("fail", "warn")}
        return {
            "tasks": len({finding.task for finding in self.findings}),
            **{
                state: f"{len(found)} ({named[state]})" if found and state in named else len(found)
                for state, found in by_state.items()
            },
        }

    def _tables(self) -> "Mapping[str, Callable[[], pd.DataFrame]]":
        return {"findings, worst first": lambda: self.replace(findings=self.worst_first()).frame()}

    def having(self, *states: State) -> tuple[Finding, ...]:
        """Return the findings in these states."""
        return tuple(finding for finding in self.findings if finding.state in states)

    def of(self, task: str) -> tuple[Finding, ...]:
        """Return the findings of a task; none for a task that was not diagnosed."""
        return tuple(finding for finding in self.findings if finding.task == task)

    def worst_first(self) -> tuple[Finding, ...]:
        """Return all findings, failures first, else in their order."""
        return tuple(sorted(self.findings, key=lambda finding: list(STATES).index(finding.state)))

    def frame(self) -> "pd.DataFrame":
        """One row per finding: task, code, state, value, threshold, meaning, advice, docs."""
        columns = ["task", "code", "state", "value", "threshold", "meaning", "advice", "docs"]
        return pd.DataFrame([[getattr(one, name) for name in columns] for one in self.findings], columns=columns)


def diagnose(
    run: Run | SiteFits, *, controls: Mapping[str, SiteFits] | None = None, evaluations: Evaluations | None = None
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
    findings = []
    for agreement in seed_agreement(run.fits).tasks:
        case = _case(run, agreement)
        for code, check in CHECKS.items():
            reading = check(case)
            advice = reading.advice if reading.state in ("warn", "fail") else ""
            findings.append(Finding(code=code, task=agreement.task, **asdict(reading) | {"advice": advice}))
    return Diagnosis(findings=findings)


def _case(run: Run, agreement: TaskAgreement) -> Case:
    task = agreement.task
    fit = run.fits.first(task)
    nulls = {
        name: check_convergence(null)
        for name in NULLS
        for null in run.controls.get(name, SiteFits([])).of(task)
        if null.seed == fit.seed and null.trace.eval_steps
    }
    return Case(
        fit=fit,
        convergence=check_convergence(fit) if fit.trace.eval_steps else None,
        nulls=nulls,
        agreement=agreement,
        evaluation=None if run.evaluations is None else run.evaluations.get(task),
        foreign=foreign_records(run, task),
    )
