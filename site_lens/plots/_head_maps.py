"""Head maps: the gates of many fits side by side on one colour scale."""

import math
from typing import Any

import plotly.graph_objects as go

from site_lens.plots._head_map import color_axis, map_traces
from site_lens.plots.theme import TEMPLATE, index_axis, plain, titled
from site_lens.records.errors import InputError
from site_lens.site.fit import SiteFit, SiteFits

TITLE_WIDTH = 22
"""Characters of a name that fit above a map in two columns of a phone's screen."""

SIDE = 0.16
"""Share of the width that all gaps between columns and one more take."""

TOP, BOTTOM, GAP = 92, 52, 44
"""Pixels above, below and between the rows of maps."""


def head_maps(fits: SiteFits, *, columns: int = 4) -> go.Figure:
    """Draw the gates of every fit as small head maps that share one scale from 0 to 1.

    Args:
        fits: The fits, drawn row by row in their order; each map is one fit of one seed.
        columns: Maps in a row.

    Returns:
        A figure with one heat map (layer head) a fit, in the order of `fits`.

    Raises:
        InputError: There are no fits, or `columns` is not positive.
    """
    if not fits:
        raise InputError("there are no fits to draw; fit some tasks first, for example with fit_site(model, tasks)")
    if columns < 1:
        raise InputError(f"columns must be at least 1, got {columns}")
    columns = min(columns, len(fits))
    n_rows = math.ceil(len(fits) / columns)
    row_height = min(max(16 * max(fit.gates.grid.n_layers for fit in fits.values()), 96), 200)
    inner = n_rows * row_height + (n_rows - 1) * GAP
    scale = color_axis([fit.gates for fit in fits.values()])
    scale["colorbar"] |= {"orientation": "h", "lenmode": "pixels", "len": 130, "thickness": 8, "tickvals": [0, 0.5, 1],
                          "x": 1, "xanchor": "right", "y": 1, "yanchor": "top", "yref": "container", "ypad": 8,
                          "title": {"text": "alpha&nbsp;", "side": "right"}}  # fmt: skip
    layout: dict[str, Any] = {
        "template": TEMPLATE,
        "title": titled("alpha of every head", "each map: one fit, one seed"),
        "height": inner + TOP + BOTTOM,
        "margin": {"t": TOP, "b": BOTTOM},
        "coloraxis": scale,
        "annotations": [],
    }
    traces: list[go.Heatmap] = []
    for index, (key, fit) in enumerate(fits.items()):
        x, y = _places(index, columns, n_rows, gap=GAP / inner)
        layout |= _axes(index, fit, x, y, lowest=index + columns >= len(fits), first=index % columns == 0)
        layout["annotations"].append(_name(key, x[0], y[1]))
        traces += map_traces(fit.gates, axis=_number(index))
    return go.Figure(traces, layout)


# Plotly's own subplots take ten times as long: each call on a figure checks and copies all that is there.
def _places(index: int, columns: int, n_rows: int, *, gap: float) -> tuple[list[float], list[float]]:
    """Return the part of the page, from 0 to 1, that a map takes from left to right and from bottom to top."""
    row, column = divmod(index, columns)
    side = SIDE / columns
    width, height = (1 - side * (columns - 1)) / columns, (1 - gap * (n_rows - 1)) / n_rows
    left, top = column * (width + side), 1 - row * (height + gap)
    return [left, min(1.0, left + width)], [max(0.0, top - height), top]


def _number(index: int) -> str:
    return "" if index == 0 else str(index + 1)


def _axes(
    index: int, fit: SiteFit, x: list[float], y: list[float], *, lowest: bool, first: bool
) -> dict[str, dict[str, Any]]:
    """Build the axes of a map, named only along the left and lower edge."""
    n_layers, n_heads = fit.gates.grid.shape
    number = _number(index)
    across = index_axis(n_heads, most_ticks=8) | {"domain": x, "anchor": f"y{number}"}
    upwards = index_axis(n_layers, most_ticks=6) | {"domain": y, "anchor": f"x{number}"}
    if lowest:
        across["title"] = {"text": "head"}
    if first:
        upwards["title"] = {"text": "layer"}
    return {f"xaxis{number}": across, f"yaxis{number}": upwards}


def _name(key: str, left: float, top: float) -> dict[str, Any]:
    return {"text": plain(key, width=TITLE_WIDTH), "hovertext": plain(key), "showarrow": False, "font": {"size": 12},
            "x": left, "xref": "paper", "xanchor": "left", "y": top, "yref": "paper", "yanchor": "bottom",
            "yshift": 2}  # fmt: skip
