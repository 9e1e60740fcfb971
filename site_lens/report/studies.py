"""What the report shows of experiments: each record with what to read in it, its figures and its numbers."""

from collections.abc import Callable, Mapping
from typing import Any

from site_lens import plots
from site_lens.records.base import Record
from site_lens.records.errors import InputError
from site_lens.report.across_tasks import Block
from site_lens.report.figures import embed
from site_lens.stats.intervals import Interval
from site_lens.studies.ablation.result import VERDICTS as ABLATION_VERDICTS
from site_lens.studies.ablation.result import FitAblation
from site_lens.studies.content_controls.result import ContentControls
from site_lens.studies.faithfulness.result import DIRECTIONS, Faithfulness
from site_lens.studies.head_profiles.result import HeadProfiles
from site_lens.studies.head_profiles.roles import associate_roles
from site_lens.studies.loss_landscape.result import VERDICTS as LANDSCAPE_VERDICTS
from site_lens.studies.loss_landscape.result import FitLandscape
from site_lens.studies.prompt_sensitivity.result import PromptSensitivity
from site_lens.studies.task_arithmetic.result import KINDS as ARITHMETIC_KINDS
from site_lens.studies.task_arithmetic.result import TaskArithmetic
from site_lens.studies.transfer.result import KINDS, TransferKind, TransferMatrix
from site_lens.studies.transfer.summary import VERDICTS, KindSummary, summarize_transfer

WORDS: dict[TransferKind, str] = {
    "alphas": "Other tasks' alphas with the task's own embedding",
    "embedding": "Other tasks' embeddings under the task's own alphas",
    "both": "Other tasks' fits as they are",
}


def study_blocks(studies: Mapping[str, Record]) -> list[Block]:
    """Return a block for every study of a run, in order of name.

    Raises:
        InputError: A study is of a kind that the report does not show.
    """
    found = []
    for name, study in studies.items():
        if type(study) not in _BLOCKS:
            known = ", ".join(sorted(kind.kind for kind in _BLOCKS))
            raise InputError(f"study {name!r} holds a {study.kind}, which the report does not show; it shows {known}")
        found.append(_BLOCKS[type(study)](name, study))
    matrices = [study for study in studies.values() if isinstance(study, TransferMatrix)]
    profiles = [study for study in studies.values() if isinstance(study, HeadProfiles)]
    return [*found, *(_roles(matrix, one) for matrix in matrices for one in profiles)]


def _roles(matrix: TransferMatrix, profiles: HeadProfiles) -> Block:
    heading = "Do tasks whose alphas transfer use heads of the same role?" + (
        " (alphas rounded)" if matrix.hard else ""
    )
    try:
        found = associate_roles(matrix, profiles)
    except InputError as error:
        return Block(heading, [f"Not tested: {error}."], [])
    lines = [f"{found.meaning} (Mantel tests over {found.roles.n_tasks} tasks.)"]
    lines += [
        f"Transfer with {row['with']}: rank correlation {_signed(row['correlation'])}, p = {row['p_value']:.2g}."
        for row in found.frame().to_dict("records")
    ]
    return Block(heading, lines, [])


def _transfer(name: str, matrix: TransferMatrix) -> Block:
    reading = summarize_transfer(matrix)
    lines = [
        f"{len(matrix.tasks)} tasks, {int(matrix.n_queries.sum())} queries. Normalised: 0 is the target without any "
        "fit, 1 is its own fit; tests and intervals are over targets.",
        *(_transfer_line(one) for one in reading.kinds),
    ]
    table = matrix.frame()
    figures = [
        embed(
            f"{name}-{kind}",
            plots.transfer(matrix, kind=kind, order=reading.order),
            table[table["kind"] == kind].drop(columns="kind"),
        )
        for kind in KINDS
    ]
    heading = "Transfer between tasks" + (", alphas rounded" if matrix.hard else "")
    return Block(heading, lines, figures, reading.notes + matrix.notes)


def _transfer_line(one: KindSummary) -> str:
    said = f"{WORDS[one.transferred]}: {one.verdict}. {VERDICTS[one.verdict]}"
    parts = []
    if one.mean is not None:
        parts.append(f"mean normalised score {_between(one.mean)} over {one.mean.n} targets")
    if one.above_null is not None:
        parts.append(f"accuracy above that of the null ({one.null.replace('_', ' ')}) {_between(one.above_null)}")
        if one.verdict == "not found":
            parts.append(f"{one.above_null.reach:.2f} or more would have been found")
    if one.overlap_p is not None and one.overlap_correlation is not None:
        parts.append(f"rank correlation with shared heads {_signed(one.overlap_correlation)}, p = {one.overlap_p:.2g}")
    if one.family_p is not None and one.family_gap is not None:
        parts.append(f"within families higher by {_signed(one.family_gap)}, p = {one.family_p:.2g}")
    return f"{said} {_sentence(parts)}".strip()


def _faithfulness(name: str, found: Faithfulness) -> Block:
    table = found.frame()
    words = {
        "sufficiency": "alone, injected into the bare query",
        "necessity": "of few-shot prompts ablated to their mean",
        "interchange": "of few-shot prompts interchanged with those behind shuffled labels",
    }
    lines = [f"{int(found.n_queries.sum())} queries of {len(found.tasks)} tasks."]
    for direction in DIRECTIONS:
        areas = [f"{ordering} {_between(found.area(direction, ordering))}" for ordering in found.names]
        smallest = found.smallest(direction, "site")
        size = smallest.reason if smallest.k is None else f"{smallest.k} of {len(found.grid)} heads"
        lines.append(
            f"Heads {words[direction]}: area under the curve by order of heads: {', '.join(areas)}. Smallest set in "
            f"SITE's order with 95 % of the effect: {size}."
        )
    figures = [
        embed(
            f"{name}-{direction}",
            plots.faithfulness(found, direction=direction),
            table[table["direction"] == direction].drop(columns="direction"),
        )
        for direction in DIRECTIONS
    ]
    return Block("Are the heads sufficient, and are they necessary?", lines, figures, found.notes)


def _sensitivity(name: str, found: PromptSensitivity) -> Block:
    lines = [
        f"{check.claim}: {check.answer} ({_signed(check.value)} [{_signed(check.low)}, {_signed(check.high)}] on "
        f"{check.n} queries)."
        for check in found.checks()
    ]
    return Block(
        "How much hangs on the prompts?", lines, [embed(name, plots.sensitivity(found), found.frame())], found.notes
    )


def _landscape(name: str, found: FitLandscape) -> Block:
    binary, null = found.binary(), found.binary(null=True)
    lines = [
        f"{found.task}, {found.n_rows} test queries, {int((~found.null).sum())} fits from different starts, learning "
        f"rates and step counts: {found.verdict}. {LANDSCAPE_VERDICTS[found.verdict]}"
    ]
    if found.free is not None:
        lines.append(
            f"{_between(found.free)} of {len(found.lines)} straight lines between two fits meet no barrier above a "
            "tenth of the gain."
        )
    if binary is not None:
        beside = f"; of {null.n} fits to shuffled answers {_between(null)}" if null is not None else ""
        lines.append(f"{_between(binary)} of the fits turned binary{beside}.")
    figures = [
        embed(f"{name}-fits", plots.landscape(found), found.frame()),
        embed(f"{name}-slice", plots.landscape_slice(found), found.lines_frame()),
    ]
    return Block(f"The landscape of {found.task}", lines, figures, found.notes)


def _profiles(name: str, found: HeadProfiles) -> Block:
    lines = [
        f"{len(found.heads)} heads on {len(found.tasks)} tasks, {found.n_prompts} prompts of {found.n_shots} "
        "demonstrations each: what the last token attends to, without any edit."
    ]
    if found.copying is None:
        lines.append(f"No copying score: {found.copying_missing}.")
    return Block("What the heads do", lines, [embed(name, plots.attention_shares(found), found.frame())], found.notes)


def _content(name: str, found: ContentControls) -> Block:
    lines = [f"{int(found.asked.sum())} queries of {len(found.tasks)} tasks."]
    for control in found.controls:
        share = found.share(control)
        reached = "" if share is None else f" ({_between(share)} of SITE's gain)"
        lines.append(f"{control}: {found.verdict(control)}{reached}.")
    return Block("What the embedding contributes", lines, [embed(name, plots.content_shares(found), found.frame())])


def _ablation(name: str, found: FitAblation) -> Block:
    lines = [f"{found.n_queries} queries of {len(found.tasks)} tasks; every choice in turn against the default fit."]
    q_values = found.q_values()
    lines += [
        f"{variant}: {ABLATION_VERDICTS[verdict]} Difference {_between(found.difference(variant))}, q = "
        f"{q_values[variant]:.2g}."
        for variant, verdict in found.verdicts().items()
    ]
    figure = embed(name, plots.fit_ablation(found), found.means_frame())
    return Block("What each choice is worth", lines, [figure], found.notes)


def _arithmetic(name: str, found: TaskArithmetic) -> Block:
    first, second = found.tasks
    lines = [
        f"Heads and embeddings of {first} and {second} at once, asked {int(found.asked.sum())} queries of both tasks.",
        *(
            f"{kind}: {', '.join(f'{weight:g}: {found.verdict(kind, weight)}' for weight in found.weights)}."
            for kind in ARITHMETIC_KINDS
        ),
    ]
    figure = embed(name, plots.task_arithmetic(found), found.frame())
    return Block(f"{first} and {second} together", lines, [figure], found.notes)


def _sentence(parts: list[str]) -> str:
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _between(found: Interval) -> str:
    return f"{_signed(found.value)} [{_signed(found.low)}, {_signed(found.high)}]"


def _signed(number: float) -> str:
    return f"{number:.2f}".replace("-0.00", "0.00").replace("-", "\N{MINUS SIGN}")


_BLOCKS: dict[type[Record], Callable[[str, Any], Block]] = {
    TransferMatrix: _transfer,
    Faithfulness: _faithfulness,
    PromptSensitivity: _sensitivity,
    FitLandscape: _landscape,
    HeadProfiles: _profiles,
    ContentControls: _content,
    FitAblation: _ablation,
    TaskArithmetic: _arithmetic,
}
"""How each kind of study is shown."""
