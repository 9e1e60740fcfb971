"""What a transfer matrix says: does it transfer, beyond chance, and along which lines?"""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from site_lens.core.paired_tests import FEWEST
from site_lens.core.records import SLACK, Count, Frozen, Record
from site_lens.core.statistics import Interval
from site_lens.core.transfer import TransferKind

if TYPE_CHECKING:
    import pandas as pd

TransferVerdict = Literal["transfers", "partly", "does not transfer", "not found", "too few"]

VERDICTS: dict[TransferVerdict, str] = {
    "transfers": "Other tasks' parts do more than 80 % of what the task's own do, and more than the null.",
    "partly": "Other tasks' parts do more than the null.",
    "does not transfer": "Other tasks' parts do less than 20 % of what the task's own do.",
    "not found": "No transfer beyond the null was found.",
    "too few": f"Fewer than {FEWEST['tasks']} targets gain anything by their own fit: no verdict.",
}
"""What each verdict says; it stands on exact tests and intervals over targets."""

OLD_WORDS = {"no more than chance": "not found", "too little data": "too few"}
"""Verdicts in files of version 0.1.0."""


class KindReading(Frozen):
    """What is known of one kind of transfer."""

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


class TransferReading(Record):
    """The statistics of a transfer matrix."""

    kind: ClassVar[str] = "transfer_reading"

    tasks: tuple[str, ...]
    kinds: tuple[KindReading, ...]
    order: tuple[Count, ...]
    """Order in which tasks that transfer alike stand beside each other, by the tree of the rows of `alphas`."""
    notes: tuple[str, ...] = ()

    def of(self, kind: TransferKind) -> KindReading:
        """Return the reading of one kind."""
        return next(one for one in self.kinds if one.transferred == kind)

    def frame(self) -> "pd.DataFrame":
        """One row per kind: verdict, mean normalised score and its interval, difference to its null, associations."""
        import pandas as pd

        def ends(name: str, found: Interval | None) -> dict[str, float | None]:
            values = (None, None, None) if found is None else (found.value, found.low, found.high)
            return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))

        return pd.DataFrame(
            [
                {"kind": one.transferred, "verdict": one.verdict, **ends("mean", one.mean),
                 **ends("above_null", one.above_null), "null": one.null, "asymmetry": one.asymmetry,
                 "overlap_correlation": one.overlap_correlation, "overlap_p": one.overlap_p,
                 "family_gap": one.family_gap, "family_p": one.family_p, "n_queries": one.n_queries}
                for one in self.kinds
            ]
        )  # fmt: skip
