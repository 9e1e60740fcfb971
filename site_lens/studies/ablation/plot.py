"""Fit ablation: what every choice in SITE is worth beside the default."""

import plotly.graph_objects as go

from site_lens.plots.theme import HAIRLINE, INK, PALETTE, TEMPLATE, plain, titled
from site_lens.stats.intervals import Interval
from site_lens.stats.paired_tests import FEWEST, Verdict
from site_lens.studies.ablation.result import FitAblation, Variant

NAME_HEIGHT, DOTS_HEIGHT = 18, 16
"""Pixels of a variant's row: its name, and its dots below. The name stands inside the plot, so that long names leave
the dots their full width on a phone."""

TOP, BOTTOM = 72, 56

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
    rows = record.compared
    differences = [record.difference(one.name) for one in rows]
    figure = go.Figure([_tasks(record, rows), _means(record, rows, differences)])
    figure.update_layout(
        template=TEMPLATE,
        title=titled("one choice changed at a time", _said(record)),
        height=(NAME_HEIGHT + DOTS_HEIGHT) * len(rows) + TOP + BOTTOM,
        margin={"t": TOP, "b": BOTTOM, "l": 12},
        showlegend=False,
        xaxis={"title": {"text": "difference in accuracy"}},
        yaxis={"range": [len(rows), 0], "showgrid": False, "showticklabels": False},
        annotations=[
            {"text": plain(one.name if one.against == "default" else f"{one.name} (against {one.against})", width=40),
             "xref": "paper", "x": 0, "xanchor": "left", "y": i, "yanchor": "top", "showarrow": False}
            for i, one in enumerate(rows)
        ],
        shapes=[
            {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": i, "y1": i,
             "line": {"color": HAIRLINE, "width": 1}} for i in range(len(rows))
        ] + [
            {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1, "layer": "below",
             "line": {"color": INK, "width": 1, "dash": "dot"}}
        ],
    )  # fmt: skip
    return figure


def _said(record: FitAblation) -> str:
    n = len(record.tasks)
    size = f"{record.n_queries} queries of {n} task{'s' if n > 1 else ''}"
    return size if record.n_queries >= FEWEST["queries"] else f"{size}: too few for a verdict"


def _height(place: int) -> float:
    """Return where the dots of a row stand, below its name."""
    return place + (NAME_HEIGHT + DOTS_HEIGHT / 2) / (NAME_HEIGHT + DOTS_HEIGHT)


def _tasks(record: FitAblation, rows: tuple[Variant, ...]) -> go.Scatter:
    places = [(i, one, task) for i, one in enumerate(rows) for task in record.tasks]
    return go.Scatter(
        mode="markers",
        x=[record.difference(one.name, task).value for _, one, task in places],
        y=[_height(i) for i, _, _ in places],
        text=[f"{plain(task)}<br>{plain(one.name)}" for _, one, task in places],
        marker={"color": INK, "size": 5, "opacity": 0.35},
        cliponaxis=False,
        hovertemplate="%{text}<br>%{x:+.3f}<extra></extra>",
    )


def _means(record: FitAblation, rows: tuple[Variant, ...], differences: list[Interval]) -> go.Scatter:
    verdicts = record.verdicts()
    return go.Scatter(
        mode="markers",
        x=[one.value for one in differences],
        y=[_height(i) for i in range(len(rows))],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [one.high - one.value for one in differences],
            "arrayminus": [one.value - one.low for one in differences],
            "thickness": 2,
            "width": 0,
            "color": INK,
        },
        cliponaxis=False,
        marker={"color": [COLORS.get(verdicts[one.name], INK) for one in rows], "symbol": "diamond", "size": 10},
        text=[plain(one.name) for one in rows],
        customdata=[
            [of.low, of.high, record.mean(one.name).value, verdicts[one.name], *record.n_tasks_differing(one.name)]
            for one, of in zip(rows, differences, strict=True)
        ],
        hovertemplate="%{text}<br>%{x:+.3f} [%{customdata[0]:+.3f}, %{customdata[1]:+.3f}]"
        "<br>accuracy %{customdata[2]:.3f}<br>better in %{customdata[4]}, worse in %{customdata[5]} tasks"
        "<br>%{customdata[3]}<extra></extra>",
    )
