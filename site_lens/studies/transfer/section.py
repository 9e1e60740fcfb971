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
    summary = summarize_transfer(matrix)
    tables = {kind: part.drop(columns="kind") for kind, part in matrix.frame().groupby("kind")}
    lines = [
        f"{len(matrix.tasks)} tasks, {int(matrix.n_queries.sum())} queries. Normalised: 0 is the target without any "
        "fit, 1 is its own fit; tests and intervals are over targets.",
        *(_sentences(kind) for kind in summary.kinds),
    ]
    figures = [
        SectionFigure(f"{name}-{kind}", transfer(matrix, kind=kind, order=summary.order), tables[kind])
        for kind in KINDS
    ]
    heading = "Transfer between tasks" + (", alphas rounded" if matrix.hard else "")
    return [Section(heading, lines, figures, summary.notes + matrix.notes)]


def _sentences(kind: KindSummary) -> str:
    mean, above, null = kind.mean, kind.above_null, kind.null.replace("_", " ")
    parts = [
        f"mean normalised score {with_interval(mean)} over {mean.n} targets" if mean else "",
        f"accuracy above that of the null ({null}) {with_interval(above)}" if above else "",
        _association("rank correlation with shared heads", kind.overlap_correlation, kind.overlap_p),
        _association("within families higher by", kind.family_gap, kind.family_p),
    ]
    numbers = "; ".join(filter(None, parts))
    verdict = f"{SUBJECTS[kind.transferred]}: {kind.verdict}. {VERDICTS[kind.verdict]}"
    return f"{verdict} {numbers[:1].upper()}{numbers[1:]}." if numbers else verdict


def _association(what: str, value: float | None, p_value: float | None) -> str:
    return "" if value is None or p_value is None else f"{what} {signed(value)}, p = {p_value:.2g}"
