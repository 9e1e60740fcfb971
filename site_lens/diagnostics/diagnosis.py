"""A diagnosis: coded findings about fits, each with what was measured and what to do about it."""

from typing import TYPE_CHECKING, ClassVar, Literal

from site_lens.records.base import Frozen, Record

if TYPE_CHECKING:
    import pandas as pd

State = Literal["fail", "warn", "open", "ok", "not_applicable"]
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
        """How many checks failed and warned, in words."""
        return f"{len(self.having('fail'))} of {len(self.findings)} checks failed, {len(self.having('warn'))} warned"

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
        import pandas as pd

        columns = ["task", "code", "state", "value", "threshold", "meaning", "advice", "docs"]
        return pd.DataFrame([[getattr(one, name) for name in columns] for one in self.findings], columns=columns)
