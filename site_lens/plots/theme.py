"""What all figures share: text and lines that work on light and dark pages, integer ticks, escaped names."""

from html import escape
from typing import Any

import plotly.graph_objects as go

from site_lens.records.terminal_escape import visible

INK = "#757b85"
"""Text: readable (more than 4:1) on white and on near-black, since a figure does not know its page."""

HAIRLINE = "rgba(128, 132, 140, 0.25)"
NO_HEAD = "rgba(128, 132, 140, 0.35)"
"""Fill where the grid has no head: a grey that neither of the colour scales below contains."""

GATE_SCALE = "Viridis"
"""For [0, 1] and other one-sided numbers: even in lightness, safe for colour-blind readers, free of grey."""

SIGNED_SCALE = "RdBu_r"
"""For signed numbers: blue below zero, red above; told apart by every common kind of colour blindness."""

PALETTE = ("#1783C4", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8F98")
"""Okabe and Ito's colours, with a lighter blue and without black and yellow: each shows on dark and light pages."""

_AXIS = {
    "gridcolor": HAIRLINE,
    "linecolor": HAIRLINE,
    "zeroline": False,
    "ticks": "",
    "automargin": True,
    "title": {"standoff": 8},
}

TEMPLATE = go.layout.Template(
    layout={
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
        "font": {"color": INK, "size": 12, "family": "system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"},
        "title": {"x": 0, "xref": "container", "xanchor": "left", "yref": "container", "yanchor": "top", "y": 1,
                  "pad": {"t": 10, "l": 10}, "font": {"size": 14}, "subtitle": {"font": {"size": 12}}},
        "margin": {"l": 56, "r": 16, "t": 64, "b": 48},
        "hoverlabel": {"bgcolor": "#20242b", "bordercolor": "#20242b", "font": {"color": "#ffffff", "size": 12},
                       "align": "left"},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "coloraxis": {"colorbar": {"outlinewidth": 0, "thickness": 12}},
        "dragmode": False,
    }
)  # fmt: skip
"""Handed to every figure, so that a session's own default template changes none of them."""


def plain(text: str, *, width: int | None = None) -> str:
    """Escape a name for plotly, which reads tags and entities in every text; shorten it to `width` characters.

    Characters that turn the direction of writing, or have no width, are shown as what they are.
    """
    text = visible(text)
    if width is not None and len(text) > width:
        text = text[: width - 1] + "…"
    return escape(text, quote=False)


def at_least(width: int) -> dict[str, Any]:
    """Build the part of a layout that asks a page to scroll the figure rather than to draw it narrower, in pixels.

    Plotly itself pays no attention to it: a figure has the width of its place.
    """
    return {"meta": {"least_width": width}}


def least_width(figure: go.Figure) -> int | None:
    """Return the width that a figure asks for with `at_least`, in pixels; None where any will do."""
    meta = figure.layout.meta
    return int(meta["least_width"]) if isinstance(meta, dict) and "least_width" in meta else None


def titled(title: str, subtitle: str = "") -> dict[str, Any]:
    """Build a layout title; both texts are escaped."""
    return {"text": plain(title), "subtitle": {"text": plain(subtitle)}}


def index_axis(n: int, *, most_ticks: int = 12) -> dict[str, Any]:
    """Build an axis over the indices 0 to n - 1 that is ticked at integers only, about `most_ticks` of them."""
    step = next(step for step in (1, 2, 4, 8, 16, 32, 64) if n <= step * most_ticks or step == 64)
    return {
        "tickmode": "linear",
        "tick0": 0,
        "dtick": step,
        "tickformat": "d",
        "range": [-0.5, n - 0.5],
        "showgrid": False,
    }
