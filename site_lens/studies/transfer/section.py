"""Section on transfer between tasks: a verdict, a mean and tests for each kind of transfer, and the three matrices."""

from site_lens.plots.section import Section, SectionFigure, Studies, signed, with_interval
from site_lens.studies.transfer.plot import transfer
from site_lens.studies.transfer.result import KINDS, TransferKind, TransferMatrix
from site_lens.studies.transfer.summary import VERDICTS, KindSummary, summarize_transfer

SUBJECTS: dict[TransferKind, str] = {
    "alphas": "Other tasks' alphas with the task's own embedding",
    "embedding": "Other tasks' embeddings under the task's own alphas",
    "both": "Other tasks' fits as they are",
}


def sections(name: str, matrix: TransferMatrix, studies: Studies) -> list[Section]:
    """Return the section of a transfer matrix."""
    summary, table = summarize_transfer(matrix), matrix.frame()
    lines = [
        f"{len(matrix.tasks)} tasks, {int(matrix.n_queries.sum())} queries. Normalised: 0 is the target without any "
        "fit, 1 is its own fit; tests and intervals are over targets.",
        *(_sentences(kind) for kind in summary.kinds),
    ]
    figures = [
        SectionFigure(
            f"{name}-{kind}",
            transfer(matrix, kind=kind, order=summary.order),
            table[table["kind"] == kind].drop(columns="kind"),
        )
        for kind in KINDS
    ]
    heading = "Transfer between tasks" + (", alphas rounded" if matrix.hard else "")
    return [Section(heading, lines, figures, summary.notes + matrix.notes)]


def _sentences(kind: KindSummary) -> str:
    parts = []
    if kind.mean is not None:
        parts.append(f"mean normalised score {with_interval(kind.mean)} over {kind.mean.n} targets")
    if kind.above_null is not None:
        null = kind.null.replace("_", " ")
        parts.append(f"accuracy above that of the null ({null}) {with_interval(kind.above_null)}")
    if kind.overlap_p is not None and kind.overlap_correlation is not None:
        correlation = signed(kind.overlap_correlation)
        parts.append(f"rank correlation with shared heads {correlation}, p = {kind.overlap_p:.2g}")
    if kind.family_p is not None and kind.family_gap is not None:
        parts.append(f"within families higher by {signed(kind.family_gap)}, p = {kind.family_p:.2g}")
    numbers = "; ".join(parts)
    verdict = f"{SUBJECTS[kind.transferred]}: {kind.verdict}. {VERDICTS[kind.verdict]}"
    return f"{verdict} {numbers[:1].upper()}{numbers[1:]}." if numbers else verdict
