"""Method means: accuracy of many methods over the same tasks, best on top."""

import plotly.graph_objects as go

from site_lens.methods.method_table import MethodSummary, MethodTable
from site_lens.methods.registry import method_look
from site_lens.plots.theme import HAIRLINE, INK, PALETTE, TEMPLATE, plain, titled

NAME_HEIGHT, DOTS_HEIGHT = 18, 16
"""Pixels of a method's row: its name, and its dots below. The name stands inside the plot, so that long names leave the
dots their full width on a phone."""

TOP, BOTTOM = 72, 56


def method_means(record: MethodTable) -> go.Figure:
    """Draw the mean accuracy of every method over the shared tasks with its 95% interval, and each task as a dot.

    Args:
        record: A comparison of methods.

    Returns:
        A figure of two traces: the accuracies of single tasks, and the means in falling order. A vertical line in the
        colour of each reference marks its mean.
    """
    ranked = record.ranked()
    height = (NAME_HEIGHT + DOTS_HEIGHT) * len(ranked)
    figure = go.Figure([_tasks(record, ranked), _means(ranked, record.against)])
    n = len(record.shared)
    over = "one task, 95% Wilson intervals" if n == 1 else f"{n} tasks, 95% t intervals over tasks"
    figure.update_layout(
        template=TEMPLATE,
        title=titled(f"mean accuracy ({record.metric})", over),
        height=height + TOP + BOTTOM,
        margin={"t": TOP, "b": BOTTOM, "l": 12},
        showlegend=False,
        xaxis={"title": {"text": "share of test queries right"}, "range": [-0.02, 1.02], "dtick": 0.25},
        yaxis={"range": [len(ranked), 0], "showgrid": False, "showticklabels": False},
        annotations=[
            {"text": plain(one.method, width=40), "xref": "paper", "x": 0, "xanchor": "left", "y": i, "yanchor": "top",
             "showarrow": False, "font": {"color": _color(one.method, record.against)}} for i, one in enumerate(ranked)
        ],
        shapes=[
            {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": i, "y1": i,
             "line": {"color": HAIRLINE, "width": 1}} for i in range(len(ranked))
        ] + [
            {"type": "line", "x0": one.value, "x1": one.value, "yref": "paper", "y0": 0, "y1": 1, "layer": "below",
             "line": {"color": _color(one.method, record.against), "width": 1, "dash": "dot"}}
            for one in ranked if one.method in record.against
        ],
    )  # fmt: skip
    return figure


def _color(method: str, against: tuple[str, ...]) -> str:
    if method not in against:
        return INK
    look = method_look(method)
    return PALETTE[against.index(method) % len(PALETTE) if look is None else look]


def _height(place: int) -> float:
    """Return where the dots of a row stand, below its name."""
    return place + (NAME_HEIGHT + DOTS_HEIGHT / 2) / (NAME_HEIGHT + DOTS_HEIGHT)


def _tasks(record: MethodTable, ranked: tuple[MethodSummary, ...]) -> go.Scatter:
    found = [
        (interval.value, _height(place), f"{plain(task)}<br>{plain(one.method)}")
        for place, one in enumerate(ranked)
        for task in record.shared
        if (interval := record.accuracy(task, one.method)) is not None
    ]
    return go.Scatter(
        mode="markers",
        x=[value for value, _, _ in found],
        y=[y for _, y, _ in found],
        text=[name for _, _, name in found],
        marker={"color": INK, "size": 5, "opacity": 0.35},
        cliponaxis=False,
        hovertemplate="%{text}<br>%{x:.3f}<extra></extra>",
    )


def _means(ranked: tuple[MethodSummary, ...], against: tuple[str, ...]) -> go.Scatter:
    return go.Scatter(
        mode="markers",
        x=[one.value for one in ranked],
        y=[_height(place) for place in range(len(ranked))],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [one.high - one.value for one in ranked],
            "arrayminus": [one.value - one.low for one in ranked],
            "thickness": 2,
            "width": 0,
            "color": INK,
        },
        cliponaxis=False,
        marker={"color": [_color(one.method, against) for one in ranked], "symbol": "diamond", "size": 10},
        text=[plain(one.method) for one in ranked],
        customdata=[[one.low, one.high, _rows(one)] for one in ranked],
        hovertemplate="%{text}<br>%{x:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}]"
        "<br>%{customdata[2]} labelled rows<extra></extra>",
    )


def _rows(one: MethodSummary) -> str:
    return str(one.most_rows) if one.fewest_rows == one.most_rows else f"{one.fewest_rows} to {one.most_rows}"
