"""Fit ablation: what every choice in SITE is worth beside the default."""

import plotly.graph_objects as go

from site_lens.plots.forest import FAINT, Dots, forest
from site_lens.plots.theme import GREY, PALETTE
from site_lens.stats.paired_tests import FEWEST, Verdict
from site_lens.studies.ablation.result import FitAblation

COLORS: dict[Verdict, str] = {"above": PALETTE[2], "below": PALETTE[1]}
"""Of the verdicts that found a difference; the others are grey."""


def fit_ablation(record: FitAblation) -> go.Figure:
    """Draw the difference of every variant from what it is compared with, and each task as a faint dot.

    Args:
        record: The variants and what they answered.

    Returns:
        A figure of two traces in the order of `record.compared`: differences of single tasks, and those over all tasks
        with their paired 95% intervals over queries, in colour where the verdict is above or below.
    """
    rows, verdicts = record.compared, record.verdicts()
    single = [
        (i, difference, (task, row.name, f"{difference.value:+.3f}"))
        for i, row in enumerate(rows)
        for task in record.tasks
        for difference in [record.difference(row.name, task)]
    ]
    over_tasks = [
        (i, record.difference(row.name), _hover(record, row.name, verdicts[row.name])) for i, row in enumerate(rows)
    ]
    colors = [COLORS.get(verdicts[row.name], GREY) for row in rows]
    n, n_queries = len(record.tasks), int(record.n_queries.sum())
    size = f"{n_queries} queries of {n} task{'s' if n > 1 else ''}"
    return forest(
        [row.name if row.against == "default" else f"{row.name} (against {row.against})" for row in rows],
        [
            Dots(single, FAINT),
            Dots(
                over_tasks,
                marker={"color": colors, "symbol": "diamond", "size": 10},
                bars={"thickness": 2, "color": GREY},
            ),
        ],
        title="One choice changed at a time",
        subtitle=size if n_queries >= FEWEST["queries"] else f"{size}: too few for a verdict",
        xaxis={"title": {"text": "Difference in accuracy"}},
        marks={0: GREY},
    )


def _hover(record: FitAblation, variant: str, verdict: Verdict) -> tuple[str, ...]:
    difference, (better, worse) = record.difference(variant), record.n_tasks_differing(variant)
    return (
        variant,
        f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]",
        f"accuracy {record.mean(variant).value:.3f}",
        f"better in {better}, worse in {worse} tasks",
        verdict,
    )
