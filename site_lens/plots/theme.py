"""Theme of all figures: colours that work on light and dark pages, layout, axes, error bars, escaped names."""

from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from site_lens.records.terminal_escape import visible
from site_lens.stats.intervals import Interval

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

SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "x", "star")

LEGEND = {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "font": {"size": 11}}
"""A legend in lines between the title and the plot."""

NAME_WIDTH = 18
"""Characters of a name on an axis; hover labels have the full one."""

BAR_FROM_TOP, TOP = 66, 106
"""Pixels from the top edge of a figure to a colour bar that lies on top, and to the plot below it."""

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
"""Template of every figure, so that a session's own default template changes none of them."""


def layout(title: str, subtitle: str = "", *, height: int, top: int = 64, **parts: Any) -> dict[str, Any]:
    """Build the layout of a figure: template, escaped title, pixels of height and of the margin on top, other parts."""
    margin = {"t": top} | parts.pop("margin", {})
    return {"template": TEMPLATE, "title": titled(title, subtitle), "height": height, "margin": margin, **parts}


def titled(title: str, subtitle: str = "") -> dict[str, Any]:
    """Build a layout title; both texts are escaped."""
    return {"text": plain(title), "subtitle": {"text": plain(subtitle)}}


def plain(text: str, *, width: int | None = None) -> str:
    """Escape a name for plotly, which reads tags and entities in every text; shorten it to `width` characters.

    Characters that turn the direction of writing, or have no width, are shown as what they are.
    """
    text = visible(text)
    if width is not None and len(text) > width:
        text = text[: width - 1] + "…"
    return escape(text, quote=False)


def in_template(text: str) -> str:
    """Escape a name for a hover template, where `%{x}` would be replaced by a number."""
    return plain(text).replace("%{", "% {")


def short(name: str, *, width: int = NAME_WIDTH) -> str:
    """Shorten a name in the middle, because names of one family often differ at the end only; not escaped."""
    kept = width - 1
    return name if len(name) <= width else f"{name[: kept - kept // 2]}…{name[len(name) - kept // 2 :]}"


def error_bars(intervals: Sequence[Interval], **look: Any) -> dict[str, Any]:
    """Build the error bars of some estimates."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [interval.high - interval.value for interval in intervals],
        "arrayminus": [interval.value - interval.low for interval in intervals],
        "width": 0,
    } | look


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


def bar_on_top(unit: str, height: int, *, ticks: list[float]) -> dict[str, Any]:
    """Build a colour bar that lies between the title and the plot of a figure, which leaves it a phone's width.

    It hangs from the top edge of the figure: plotly would move the title along with one that stands on the plot. Its
    unit stands before it and takes part of its length.
    """
    return {"orientation": "h", "lenmode": "pixels", "len": 72 + 7.5 * len(unit), "thickness": 8, "tickvals": ticks,
            "x": 0, "xanchor": "left", "xpad": 0, "y": 1 - BAR_FROM_TOP / height, "yref": "container",
            "yanchor": "top", "ypad": 0,
            "title": {"text": plain(unit) + "&nbsp;", "side": "right", "font": {"size": 12}}}  # fmt: skip


def color_axis(unit: str, height: int, *, low: float = 0, high: float = 1) -> dict[str, Any]:
    """Build a colour axis with its bar on top; it is diverging where it goes below 0."""
    return {
        "cmin": low,
        "cmax": high,
        "colorscale": SIGNED_SCALE if low < 0 else GATE_SCALE,
        "colorbar": bar_on_top(unit, height, ticks=[low, (low + high) / 2, high]),
    }


def at_least(width: int) -> dict[str, Any]:
    """Build the part of a layout that asks a page to scroll the figure rather than to draw it narrower, in pixels.

    Plotly itself pays no attention to it: a figure has the width of its place.
    """
    return {"meta": {"least_width": width}}


def least_width(figure: go.Figure) -> int | None:
    """Return the width that a figure asks for with `at_least`, in pixels; None where any will do."""
    meta = figure.layout.meta
    return int(meta["least_width"]) if isinstance(meta, dict) and "least_width" in meta else None
