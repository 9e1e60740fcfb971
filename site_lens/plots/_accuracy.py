"""Accuracy by task and method, with intervals."""

import math
from typing import Any

import plotly.graph_objects as go

from site_lens.methods.evaluation import Evaluations, Match
from site_lens.methods.names import shots_of
from site_lens.methods.registry import method_look
from site_lens.plots.theme import HAIRLINE, PALETTE, TEMPLATE, plain, titled
from site_lens.records.errors import InputError

SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "x", "star")

NAME_HEIGHT, METHOD_HEIGHT = 22, 10
"""Pixels of a task's row: its name on top, then its methods below each other. The name stands inside the plot, so that
long names leave the dots their full width on a phone."""

LEGEND_WIDTH = 20
"""Characters of a method's name up to which two names stand side by side on a phone."""


def accuracy(evaluations: Evaluations, *, metric: Match = "first_token") -> go.Figure:
    """Draw accuracies with their 95% Wilson intervals: tasks below each other, one dot a method.

    Further seeds of a method are small dots without intervals beside that of the lowest seed.

    Args:
        evaluations: One evaluation a task; a method that a task lacks has no dot there.
        metric: Which count of right answers to draw.

    Returns:
        A figure with one trace a method, in the order of `evaluations.methods`.

    Raises:
        InputError: There are no evaluations, or the metric was not measured.
    """
    if not evaluations:
        raise InputError("there are no evaluations to draw; make some with evaluate(model, tasks, fits)")
    n_tasks, names = len(evaluations), list(dict.fromkeys(one.name for one in evaluations.evaluated.values()))
    row = NAME_HEIGHT + METHOD_HEIGHT * len(names)
    figure = go.Figure([_dots(evaluations, method, names, metric) for method in evaluations.methods])
    legend_columns = 2 if max(map(len, names)) <= LEGEND_WIDTH else 1
    top = 60 + 20 * math.ceil(len(names) / legend_columns)
    small = "; small: further seeds" if len(names) < len(evaluations.methods) else ""
    figure.update_layout(
        template=TEMPLATE,
        title=titled(f"accuracy ({metric})", f"dots with 95% Wilson intervals{small}"),
        height=n_tasks * row + top + 56,
        margin={"t": top, "b": 56, "l": 12},
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "font": {"size": 11}},
        xaxis={"title": {"text": "share of test queries right"}, "range": [-0.02, 1.02], "dtick": 0.25},
        yaxis={"range": [n_tasks, 0], "showgrid": False, "showticklabels": False},
        annotations=[
            {"text": plain(task, width=40), "xref": "paper", "x": 0, "xanchor": "left", "y": i, "yanchor": "top",
             "showarrow": False} for i, task in enumerate(evaluations)
        ],
        shapes=[
            {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": i, "y1": i,
             "line": {"color": HAIRLINE, "width": 1}} for i in range(n_tasks)
        ],
    )  # fmt: skip
    return figure


def _dots(evaluations: Evaluations, method: str, names: list[str], metric: Match) -> go.Scatter:
    name = evaluations.evaluated[method].name
    lowest = method == name
    offset = (NAME_HEIGHT + METHOD_HEIGHT * (names.index(name) + 0.3)) / (NAME_HEIGHT + METHOD_HEIGHT * len(names))
    found = [
        (index, task, one.accuracy(method, metric))
        for index, (task, one) in enumerate(evaluations.items())
        if method in one.methods
    ]
    look = _look(name, names, evaluations.reference)
    bars: dict[str, Any] = {
        "type": "data",
        "symmetric": False,
        "array": [interval.high - interval.value for _, _, interval in found],
        "arrayminus": [interval.value - interval.low for _, _, interval in found],
        "thickness": 1.2,
        "width": 0,
    }
    return go.Scatter(
        name=plain(method),
        legendgroup=plain(name),
        showlegend=lowest,
        mode="markers",
        x=[interval.value for _, _, interval in found],
        y=[index + offset for index, _, _ in found],
        error_x=bars if lowest else None,
        cliponaxis=False,
        marker={"color": PALETTE[look], "symbol": SYMBOLS[look], "size": 8 if lowest else 5},
        customdata=[[plain(task), i.low, i.high, i.n] for _, task, i in found],
        hovertemplate="%{customdata[0]}<br>"
        + plain(method).replace("%{", "% {")
        + "<br>%{x:.3f} [%{customdata[1]:.3f}, %{customdata[2]:.3f}]<br>%{customdata[3]} queries<extra></extra>",
    )


def _look(name: str, names: list[str], reference: str | None) -> int:
    """Return the place in palette and symbols of a method: its own, or one that none of those drawn has."""
    known = {
        other: look for other in names
        if (look := method_look(other)) is not None and (shots_of(other) in (None, 0) or other == reference)
    }  # fmt: skip
    if name in known:
        return known[name]
    taken = {known[other] for other in names if other in known}
    free = [index for index in range(len(PALETTE)) if index not in taken] or list(range(len(PALETTE)))
    strangers = [stranger for stranger in names if stranger not in known]
    return free[strangers.index(name) % len(free)]
