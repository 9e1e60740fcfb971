"""Forest plot: rows of estimates with intervals, below each other; every figure of this kind is drawn here."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from site_lens.plots.theme import GREY, HAIRLINE, INK, TITLE, error_bars, figure, plain, short
from site_lens.records.terminal_escape import visible
from site_lens.stats.intervals import Interval

SPACE, NAME_LINE, BOTTOM = 8, 14, 56
"""Pixels between two rows, of a line of a row's name, and below all rows."""

NAME_WIDTH = 22
"""Characters of a line of a row's name, which stands beside the row and leaves the dots their width on a phone."""

FAINT = {"color": GREY, "size": 5, "opacity": 0.35}
"""Look of single observations beside their mean."""


Dot = tuple[int, Interval, tuple[str, ...]]
"""Row, from 0 at the top; estimate; lines of the hover label, not escaped."""


@dataclass(frozen=True, slots=True)
class Dots:
    """One trace of a forest plot."""

    dots: Sequence[Dot]
    marker: Mapping[str, Any]
    lane: int = 0
    """Line of its row in which the trace stands, from 0 below the row's name."""
    name: str | None = None
    """Entry in the legend; a trace without a name has none."""
    group: str | None = None
    """Traces of one group are shown and hidden together; None for a trace that stands alone."""
    bars: Mapping[str, Any] | None = None
    """Look of the error bars; no bars when None."""


def forest(
    rows: Sequence[str],
    traces: Sequence[Dots],
    *,
    title: str,
    subtitle: str,
    xaxis: Mapping[str, Any],
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
        lane_height: Pixels of a line of dots in a row.
        colors: Colour of each row's name; grey when None.
        marks: Colours of dotted vertical lines, by where they stand.

    Returns:
        A figure with a trace for each of `traces`.
    """
    wrapped = [textwrap.wrap(short(visible(row), width=2 * NAME_WIDTH), NAME_WIDTH) or [""] for row in rows]
    n_lanes = 1 + max((trace.lane for trace in traces), default=0)
    row_height = SPACE + max(lane_height * n_lanes, NAME_LINE * max(map(len, wrapped), default=1))
    names = ["<br>".join(map(plain, lines)) for lines in wrapped]
    if colors is not None:
        names = [
            name if color == INK else f'<span style="color:{color}">{name}</span>'  # a page has a colour of its own
            for name, color in zip(names, colors, strict=True)
        ]
    between = [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": i, "y1": i, "line": {"color": HAIRLINE, "width": 1}}
        for i in range(len(rows))
    ]
    vertical = [
        {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "layer": "below",
         "line": {"color": color, "width": 1, "dash": "dot"}} for x, color in (marks or {}).items()
    ]  # fmt: skip
    height = row_height - SPACE
    return figure(
        [_scatter(trace, (SPACE / 2 + height * (trace.lane + 0.5) / n_lanes) / row_height) for trace in traces],
        title,
        subtitle,
        height=len(rows) * row_height + TITLE + 8 + BOTTOM,
        entries=[trace.name for trace in traces if trace.name is not None],
        margin={"b": BOTTOM, "l": 12},
        showlegend=False,
        xaxis=dict(xaxis),
        yaxis={"range": [len(rows), 0], "showgrid": False, "tickmode": "array", "ticktext": names,
               "tickvals": [i + 0.5 for i in range(len(rows))]},
        shapes=between + vertical,
    )  # fmt: skip


def _scatter(trace: Dots, offset: float) -> go.Scatter:
    estimates = [estimate for _, estimate, _ in trace.dots]
    return go.Scatter(
        name=plain(trace.name or ""),
        legendgroup=None if trace.group is None else plain(trace.group),
        showlegend=trace.name is not None,
        mode="markers",
        x=[estimate.value for estimate in estimates],
        y=[row + offset for row, _, _ in trace.dots],
        error_x=None if trace.bars is None else error_bars(estimates, **trace.bars),
        marker=dict(trace.marker),
        cliponaxis=False,
        text=["<br>".join(map(plain, lines)) for _, _, lines in trace.dots],
        hovertemplate="%{text}<extra></extra>",
    )
