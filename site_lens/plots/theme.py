"""Theme of all figures: colours that work on light and dark pages, layout, axes, error bars, escaped names."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from site_lens.records.terminal_escape import visible
from site_lens.stats.intervals import Interval

INK, PAPER = "#1d2026", "#ffffff"
"""Text and background. A figure brings its own background, since it does not know its page; a report takes it away and
gives the text the colour of its own."""

GREY = "#757b85"
"""Lines and dots that belong to nothing in particular: they show on white and on near-black."""

HAIRLINE = "rgba(128, 132, 140, 0.25)"
NO_HEAD = "rgba(128, 132, 140, 0.35)"
"""Fill where the grid has no head: a grey that neither of the colour scales below contains."""

DENSITY_SCALE = [[0, "rgba(23, 131, 196, 0)"], [0.02, "rgba(23, 131, 196, 0.2)"], [0.1, "rgba(20, 115, 180, 0.5)"],
                 [0.4, "rgba(15, 100, 165, 0.85)"], [1, "rgba(8, 80, 140, 1)"]]  # fmt: skip
"""For shares of a whole: 0 is the background, and a few in a hundred can be seen."""

GATE_SCALE = "Viridis"
"""For [0, 1] and other one-sided numbers: even in lightness, safe for colour-blind readers, free of grey."""

SIGNED_SCALE = "RdBu_r"
"""For signed numbers: blue below zero, red above; told apart by every common kind of colour blindness."""

PALETTE = ("#1783C4", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8F98")
"""Okabe and Ito's colours, with a lighter blue and without black and yellow: each shows on dark and light pages."""

SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "x", "star")

LEGEND = {"orientation": "h", "x": 0, "xref": "container", "yanchor": "top", "yref": "container", "tracegroupgap": 0,
          "font": {"size": 11}}  # fmt: skip
"""A legend in lines that hang from the title and run over the whole width; `y` depends on the height."""

LEGEND_BELOW = {"orientation": "h", "x": 0, "yanchor": "top", "font": {"size": 11}}
"""A legend in lines below the plot."""

NAME_WIDTH = 18
"""Characters of a name on an axis; hover labels have the full one."""

TITLE = 58
"""Pixels that title and subtitle take at the top edge of a figure; `untitled` takes them away."""

BAR_FROM_TOP, TOP = TITLE + 6, TITLE + 42
"""Pixels from the top edge of a figure to a colour bar that lies on top, and to the plot below it."""

LINE, WIDE, NARROW = 20, 700, 350
"""Pixels of a line of a legend, and of the figures for which its lines are counted on wide and on narrow pages."""

NARROW_PAGE = 720
"""Pixels below which a page or image is narrow, and takes the parts of the layout in `meta["narrow"]`."""

DOTTED = {"type": "line", "line": {"color": GREY, "width": 1, "dash": "dot"}}
"""A dotted line, without its ends."""

FONT_SIZE = 12
"""Pixels of the font that most text of a figure has."""

_AXIS = {
    "gridcolor": HAIRLINE,
    "linecolor": HAIRLINE,
    "zeroline": False,
    "ticks": "",
    "automargin": True,
    "title": {"standoff": 8},
}

MARGIN = {"l": 56, "r": 16, "t": TITLE + 8, "b": 48}

TEMPLATE = go.layout.Template(
    layout={
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "font": {"color": INK, "size": FONT_SIZE, "family": "system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"},
        "title": {"x": 0, "xref": "container", "xanchor": "left", "yref": "container", "yanchor": "top", "y": 1,
                  "pad": {"t": 10, "l": 10}, "font": {"size": 14}, "subtitle": {"font": {"size": 12}}},
        "margin": MARGIN,
        "hoverlabel": {"bgcolor": "#20242b", "bordercolor": "#20242b", "font": {"color": "#ffffff", "size": 12},
                       "align": "left"},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "coloraxis": {"colorbar": {"outlinewidth": 0, "thickness": 12}},
        "dragmode": False,
    }
)  # fmt: skip
"""Template of every figure, so that a session's own default template changes none of them."""


def layout(
    title: str, subtitle: str = "", *, height: int, top: int = TITLE + 8, entries: Sequence[str] = (), **parts: Any
) -> dict[str, Any]:
    """Build the layout of a figure.

    Args:
        title: Title; escaped here.
        subtitle: Line below it; escaped here.
        height: Pixels from top to bottom, without the legend on top.
        top: Pixels above the plot, without the legend on top.
        entries: Names in a legend on top. Its lines are added to height and top; `meta["narrow"]` holds what differs
            on narrow pages.
        parts: Other parts of the layout.
    """
    margin = MARGIN | {"t": top} | parts.pop("margin", {})
    titles = {"text": plain(title), "subtitle": {"text": plain(subtitle)}}
    built = {"template": TEMPLATE, "title": titles, "height": height, "margin": margin} | parts
    if not entries:
        return built
    wide, narrow = (_with_legend(built, LINE * _legend_lines(entries, width)) for width in (WIDE, NARROW))
    meta = {"meta": built.get("meta", {}) | {"narrow": narrow}} if narrow != wide else {}
    return built | {"showlegend": True} | wide | meta


def figure(traces: Sequence[Any], title: str, subtitle: str = "", **parts: Any) -> go.Figure:
    """Build a figure; the arguments after its traces are those of `layout`."""
    return go.Figure(traces, layout(title, subtitle, **parts))


def _with_legend(parts: Mapping[str, Any], room: int) -> dict[str, Any]:
    """Return what a legend of so many pixels below the title changes in a layout."""
    height, margin = parts["height"] + room, parts["margin"]
    legend = LEGEND | {"y": 1 - (TITLE + 2) / height} | parts.get("legend", {})
    return {"height": height, "margin": margin | {"t": margin["t"] + room}, "legend": legend}


def _legend_lines(entries: Sequence[str], width: int) -> int:
    """Return the lines of a legend: entries stand side by side, each as wide as the longest."""
    in_a_line = max(1, width // (46 + 6.4 * max(map(len, entries))))
    return math.ceil(len(entries) / in_a_line)


def untitled(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a layout of `layout` without title and subtitle, less high by the room that they took."""
    kept = {name: part for name, part in parts.items() if name != "title"}
    if not {"height", "margin"} <= kept.keys():
        return kept  # a figure of others, or one whose height was taken away
    kept["margin"] = parts["margin"] | {"t": parts["margin"]["t"] - TITLE}
    kept = resized(kept, parts["height"] - TITLE, cut=TITLE)
    if (narrow := parts.get("meta", {}).get("narrow")) is not None:
        kept["meta"] = parts["meta"] | {"narrow": untitled({"margin": parts["margin"]} | narrow)}
    return kept


def resized(parts: Mapping[str, Any], height: int, *, cut: int = 0) -> dict[str, Any]:
    """Return a layout of another height; what hangs from the upper edge keeps its pixels from there, less `cut`."""

    def moved(part: Mapping[str, Any]) -> dict[str, Any]:
        if part.get("yref") != "container":
            return dict(part)
        return {**part, "y": 1 - max(0, (1 - part["y"]) * parts["height"] - cut) / height}

    kept = {**parts, "height": height}
    for name, part in parts.items():
        if name == "legend":
            kept[name] = moved(part)
        elif name.startswith("coloraxis") and "colorbar" in part:
            kept[name] = part | {"colorbar": moved(part["colorbar"])}
    return kept


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
    above = [interval.high - interval.value for interval in intervals]
    below = [interval.value - interval.low for interval in intervals]
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "width": 0} | look


def vertical_lines(x: float, panels: Sequence[str]) -> list[dict[str, Any]]:
    """Draw a dotted line from the lower to the upper edge of each panel, named by the end of its axes' names."""
    return [
        DOTTED | {"x0": x, "x1": x, "xref": f"x{panel}", "y0": 0, "y1": 1, "yref": f"y{panel} domain"}
        for panel in panels
    ]


def index_axis(n: int, *, most_ticks: int = 12) -> dict[str, Any]:
    """Build an axis over the indices 0 to n - 1 that is ticked at integers only, about `most_ticks` of them."""
    step = next(step for step in (1, 2, 4, 8, 16, 32, 64) if n <= step * most_ticks or step == 64)
    ticks = {"tickmode": "linear", "tick0": 0, "dtick": step, "tickformat": "d"}
    return ticks | {"range": [-0.5, n - 0.5], "showgrid": False}


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
    return colors(low, high, bar_on_top(unit, height, ticks=[low, (low + high) / 2, high]))


def colors(low: float, high: float, bar: Mapping[str, Any]) -> dict[str, Any]:
    """Build a colour axis with a bar; it is diverging where it goes below 0."""
    return {"cmin": low, "cmax": high, "colorscale": SIGNED_SCALE if low < 0 else GATE_SCALE, "colorbar": bar}


def least_width(figure: go.Figure) -> int | None:
    """Return the width below which a page scrolls a figure instead of drawing it narrower; None where any will do.

    It stands in `meta["least_width"]`, in pixels. Plotly itself pays no attention to it.
    """
    meta = figure.layout.meta
    return int(meta["least_width"]) if isinstance(meta, dict) and "least_width" in meta else None
