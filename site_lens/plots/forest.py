"""Forest plot: rows of estimates with intervals, below each other; every figure of this kind is drawn here."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from site_lens.plots.theme import HAIRLINE, INK, LEGEND, error_bars, layout, plain
from site_lens.stats.intervals import Interval

NAME_HEIGHT, SPACE, BOTTOM = 18, 4, 56
"""Pixels of a row's name, which stands inside the plot above the dots so that long names leave these their full width
on a phone; of the space below the dots; and below all rows."""

LEGEND_WIDTH = 20
"""Characters of a legend entry up to which two entries stand side by side on a phone."""

FAINT = {"color": INK, "size": 5, "opacity": 0.35}
"""Look of single observations beside their mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dots:
    """One trace of a forest plot."""

    rows: Sequence[int]
    """Row of each dot, from 0 at the top."""
    estimates: Sequence[Interval]
    hover: Sequence[tuple[str, ...]]
    """Lines of each hover label, not escaped."""
    marker: Mapping[str, Any]
    lane: int = 0
    """Line of its row in which the trace stands, from 0 below the row's name."""
    name: str | None = None
    """Entry in the legend; a trace without a name has none."""
    group: str | None = None
    """Legend entry with which the trace is shown and hidden; its own when None."""
    bars: Mapping[str, Any] | None = None
    """Look of the error bars; no bars when None."""


def forest(
    rows: Sequence[str],
    traces: Sequence[Dots],
    *,
    title: str,
    subtitle: str,
    xaxis: Mapping[str, Any],
    n_lanes: int = 1,
    lane_height: int = 16,
    colors: Sequence[str] | None = None,
    marks: Mapping[float, str] | None = None,
) -> go.Figure:
    """Draw rows of dots with intervals, the first row on top.

    Args:
        rows: Names of the rows.
        traces: The dots.
        title: Title of the figure.
        subtitle: What the dots and intervals are.
        xaxis: Axis of the estimates.
        n_lanes: Lines of dots in a row.
        lane_height: Pixels of such a line.
        colors: Colour of each row's name; grey when None.
        marks: Colours of dotted vertical lines, by where they stand.

    Returns:
        A figure with a trace for each of `traces`.
    """
    row_height = NAME_HEIGHT + lane_height * n_lanes + SPACE
    named = [len(trace.name) for trace in traces if trace.name is not None]
    columns = 2 if max(named, default=0) <= LEGEND_WIDTH else 1
    top = 60 + 20 * math.ceil(len(named) / columns) if named else 72
    names = [
        {"text": plain(row, width=40), "xref": "paper", "x": 0, "xanchor": "left", "y": i, "yanchor": "top",
         "showarrow": False, "font": {"color": INK if colors is None else colors[i]}} for i, row in enumerate(rows)
    ]  # fmt: skip
    between = [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": i, "y1": i, "line": {"color": HAIRLINE, "width": 1}}
        for i in range(len(rows))
    ]
    vertical = [
        {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "layer": "below",
         "line": {"color": color, "width": 1, "dash": "dot"}} for x, color in (marks or {}).items()
    ]  # fmt: skip
    return go.Figure(
        [_scatter(trace, (NAME_HEIGHT + lane_height * (trace.lane + 0.5)) / row_height) for trace in traces],
        layout(
            title,
            subtitle,
            height=len(rows) * row_height + top + BOTTOM,
            top=top,
            margin={"b": BOTTOM, "l": 12},
            showlegend=bool(named),
            legend=LEGEND,
            xaxis=dict(xaxis),
            yaxis={"range": [len(rows), 0], "showgrid": False, "showticklabels": False},
            annotations=names,
            shapes=between + vertical,
        ),
    )


def _scatter(trace: Dots, offset: float) -> go.Scatter:
    label = trace.name if trace.group is None else trace.group
    return go.Scatter(
        name=plain(trace.name or ""),
        legendgroup=plain(label or ""),
        showlegend=trace.name is not None,
        mode="markers",
        x=[estimate.value for estimate in trace.estimates],
        y=[row + offset for row in trace.rows],
        error_x=None if trace.bars is None else error_bars(trace.estimates, **trace.bars),
        marker=dict(trace.marker),
        cliponaxis=False,
        text=["<br>".join(map(plain, lines)) for lines in trace.hover],
        hovertemplate="%{text}<extra></extra>",
    )
