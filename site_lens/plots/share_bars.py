"""Stacked bars of attention shares, one bar a head."""

from collections.abc import Iterable, Sequence

import plotly.graph_objects as go
from jaxtyping import Float
from numpy import ndarray

from site_lens.plots.theme import TITLE, figure

ROW, BOTTOM = 22, 56
"""Pixels of a head's row, and below the rows."""

Part = tuple[str, str, Float[ndarray, " head"]]
"""Label and colour of a target of attention, and its share at every head."""


def share_bars(heads: Sequence[str], parts: Iterable[Part], title: str, subtitle: str) -> go.Figure:
    """Draw how the attention of every head is shared out: a row a head, a trace a target, stacked in order."""
    parts = list(parts)
    bars = [
        go.Bar(
            name=label,
            orientation="h",
            x=shares,
            y=heads,
            marker={"color": colour, "line": {"width": 0}},
            hovertemplate="%{y}<br>%{x:.3f} to " + label + "<extra></extra>",
        )
        for label, colour, shares in parts
    ]
    return figure(
        bars,
        title,
        subtitle,
        height=ROW * len(heads) + TITLE + 8 + BOTTOM,
        entries=[label for label, _, _ in parts],
        margin={"b": BOTTOM, "l": 12},
        barmode="stack",
        bargap=0.2,
        legend={"traceorder": "normal"},
        xaxis={"title": {"text": "Share of attention"}, "range": [0, 1], "dtick": 0.25},
        yaxis={"autorange": "reversed", "showgrid": False, "type": "category"},
    )
