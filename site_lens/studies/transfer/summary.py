"""Transfer summary: means over targets, nulls, and associations with shared heads and families."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from site_lens.diagnostics.grouping import average_tree, correlation_distance, leaf_order
from site_lens.records.base import SLACK, Count, Frozen, Record
from site_lens.records.display import few
from site_lens.records.errors import InputError
from site_lens.records.lazy_pandas import pd
from site_lens.stats.intervals import Interval
from site_lens.stats.paired_tests import FEWEST, Paired
from site_lens.stats.permutation_tests import FEWEST_TASKS, family_gap, mantel
from site_lens.stats.similarity import jaccard
from site_lens.studies.base import interval_columns
from site_lens.studies.transfer.result import KINDS, NULL_OF, TransferKind, TransferMatrix

TransferVerdict = Literal["transfers", "partly", "does not transfer", "not found", "too few"]

VERDICTS: dict[TransferVerdict, str] = {
    "transfers": "Other tasks' parts do more than 80 % of what the task's own do, and more than the null.",
    "partly": "Other tasks' parts do more than the null.",
    "does not transfer": "Other tasks' parts do less than 20 % of what the task's own do.",
    "not found": "No transfer beyond the null was found.",
    "too few": f"Fewer than {FEWEST['tasks']} targets gain anything by their own fit: no verdict.",
}
"""Meaning of each verdict, which stands on exact tests and intervals over targets."""

OLD_WORDS = {"no more than chance": "not found", "too little data": "too few"}
"""Verdicts in files of version 0.1.0."""


class KindSummary(Frozen):
    """Statistics of one kind of transfer."""

    transferred: TransferKind
    verdict: Annotated[TransferVerdict, BeforeValidator(lambda word: OLD_WORDS.get(word, word))]
    mean: Interval | None
    """Mean normalised score of the cells off the diagonal with a 95% t interval over targets; None without any."""
    above_null: Interval | None
    """Mean accuracy of these cells less that of the null, t interval over targets."""
    null: str
    """The null it is compared with."""
    n_queries: Count
    """Queries behind all targets together."""
    asymmetry: float | None
    overlap_correlation: float | None = Field(ge=-1 - SLACK, le=1 + SLACK)
    """Spearman correlation over pairs of tasks of transfer with the similarity (Jaccard above 0.5) of their heads."""
    overlap_p: float | None = Field(None, ge=0, le=1)
    """Of the Mantel test, one-sided."""
    family_gap: float | None
    """Mean normalised score within families less that between."""
    family_p: float | None = Field(None, ge=0, le=1)
    """Of the permutation of tasks, one-sided."""


class TransferSummary(Record):
    """The statistics of a transfer matrix."""

    kind: ClassVar[str] = "transfer_reading"

    tasks: tuple[str, ...]
    kinds: tuple[KindSummary, ...]
    order: tuple[Count, ...]
    """Order in which tasks that transfer alike stand beside each other, by the tree of the rows of `alphas`."""
    notes: tuple[str, ...] = ()

    def _facts(self) -> dict[str, object]:
        verdicts = {
            str(kind.transferred): kind.verdict + (f", {kind.mean}" if kind.mean else "") for kind in self.kinds
        }
        return {"tasks": f"{len(self.tasks)} ({few(self.tasks)})", **verdicts}

    def of(self, kind: TransferKind) -> KindSummary:
        """Return the summary of one kind."""
        return next(summary for summary in self.kinds if summary.transferred == kind)

    def frame(self) -> "pd.DataFrame":
        """One row per kind: verdict, mean normalised score and its interval, difference to its null, associations."""
        return pd.DataFrame(
            {
                "kind": kind.transferred,
                "verdict": kind.verdict,
                **interval_columns("mean", kind.mean, "mean_"),
                **interval_columns("above_null", kind.above_null, "above_null_"),
                **kind.model_dump(exclude={"transferred", "verdict", "mean", "above_null"}),
            }
            for kind in self.kinds
        )


ALL, NONE = 0.8, 0.2
"""Normalised scores that the mean must be found to lie above, or below, to be called transfer, or none."""


def summarize_transfer(matrix: TransferMatrix) -> TransferSummary:
    """Say whether alphas, embeddings, or both transfer between tasks, and along which lines.

    Means are taken over the sources of each target first; tests and intervals are over targets. Associations are
    tested by permuting tasks (`stats.permutation_tests`), with four tasks or more.

    Args:
        matrix: What `transfer_matrix` measured.

    Returns:
        A verdict for every kind, which is "too few" where fewer than six targets gain 0.1 or more by their own fit, and
        "not found" where no difference from the null is found.
    """
    heads = np.asarray(jaccard((matrix.alphas > 0.5).reshape(len(matrix.tasks), -1)))
    flat = [matrix.tasks[i] for i in np.flatnonzero(np.isnan(matrix.normalised("both")[0]))]
    return TransferSummary(
        tasks=matrix.tasks,
        kinds=tuple(_summary(matrix, kind, heads) for kind in KINDS),
        order=leaf_order(average_tree(correlation_distance(matrix.accuracies("alphas")), ordered=True)),
        notes=tuple(f"{task} gains less than 0.1 by its own fit and is left out of normalised scores" for task in flat),
    )


def _summary(matrix: TransferMatrix, kind: TransferKind, heads: np.ndarray) -> KindSummary:
    normalised, null = matrix.normalised(kind), NULL_OF[kind]
    known = np.isfinite(normalised[0])
    mean = _over_targets(normalised, known)
    above_null = _over_targets(matrix.accuracies(kind) - matrix.reference(null), np.ones_like(known))
    asymmetry = matrix.asymmetry(kind)
    overlap = mantel(normalised, heads) if len(normalised) >= FEWEST_TASKS else None
    try:
        family = family_gap(normalised, matrix.families)
    except InputError:  # too few tasks, or no two families to compare: nothing to test
        family = None
    return KindSummary(
        transferred=kind,
        verdict=_verdict(mean, above_null),
        mean=mean and mean.estimate,
        above_null=above_null and above_null.estimate,
        null=null,
        n_queries=int(matrix.n_queries[known].sum()),
        asymmetry=None if np.isnan(asymmetry) else asymmetry,
        overlap_correlation=overlap and overlap.value,
        overlap_p=overlap and overlap.p_value,
        family_gap=family and family.value,
        family_p=family and family.p_value,
    )


def _over_targets(values: np.ndarray, known: np.ndarray) -> Paired | None:
    """Average (source target) over the other sources of each known target, and test over targets; None without any."""
    if not known.any():
        return None
    others = ~np.eye(len(values), dtype=bool)
    return Paired.of(np.where(others, values, 0).sum(0)[known] / others.sum(0)[known], over="tasks")


def _verdict(mean: Paired | None, above_null: Paired | None) -> TransferVerdict:
    if mean is None or above_null is None or mean.verdict == "too few":
        return "too few"
    if mean.beyond(NONE).verdict == "below":
        return "does not transfer"
    if above_null.verdict != "above":
        return "not found"
    return "transfers" if mean.beyond(ALL).verdict == "above" else "partly"
