"""Head maps: the gates of many fits side by side on one colour scale."""

import math
from typing import Any

import plotly.graph_objects as go

from site_lens.plots.head_grid import grid_axes, grid_traces, ranks
from site_lens.plots.theme import GATE_SCALE, layout, plain
from site_lens.records.errors import InputError
from site_lens.site.fit import SiteFits

TITLE_WIDTH = 22
"""Characters of a name that fit above a map in two columns of a phone's screen."""

NARROW_COLUMNS = 2
"""Maps in a row on a phone."""

SIDE = 0.16
"""Share of the width that all gaps between columns and one more take."""

TOP, BOTTOM, GAP = 92, 52, 44
"""Pixels above, below and between the rows of maps."""


def head_maps(fits: SiteFits, *, columns: int = 4) -> go.Figure:
    """Draw the gates of every fit as small head maps that share one scale from 0 to 1.

    Args:
        fits: The fits, drawn row by row in their order; each map is one fit of one seed.
        columns: Maps in a row; on narrow pages a report draws two in a row.

    Returns:
        A figure with one heat map (layer head) a fit, in the order of `fits`. `layout.meta["narrow"]` holds the parts
        of the layout that differ on narrow pages.

    Raises:
        InputError: There are no fits, or `columns` is not positive.
    """
    if not fits:
        raise InputError("there are no fits to draw; fit some tasks first, for example with fit_site(model, tasks)")
    if columns < 1:
        raise InputError(f"columns must be at least 1, got {columns}")
    traces = []
    for panel, fit in enumerate(fits.values(), start=1):
        lines = ["alpha %{z:.3f}", f"rank %{{customdata}} of {len(fit.gates.grid)}"]
        traces += grid_traces(fit.gates.values, fit.gates.grid, ranks(fit.gates), lines, panel=panel)
    bar = {"orientation": "h", "lenmode": "pixels", "len": 130, "thickness": 8, "tickvals": [0, 0.5, 1],
           "x": 1, "xanchor": "right", "y": 1, "yanchor": "top", "yref": "container", "ypad": 8,
           "title": {"text": "alpha&nbsp;", "side": "right"}}  # fmt: skip
    scale = {"cmin": 0, "cmax": 1, "colorscale": GATE_SCALE, "colorbar": bar}
    narrow = (
        {"meta": {"narrow": _arrangement(fits, NARROW_COLUMNS)}} if min(columns, len(fits)) > NARROW_COLUMNS else {}
    )
    parts = _arrangement(fits, columns) | narrow
    return go.Figure(
        traces,
        layout("alpha of every head", "each map: one fit, one seed", top=TOP, margin={"b": BOTTOM}, coloraxis=scale,
               **parts),
    )  # fmt: skip


# Plotly's own subplots take ten times as long: each call on a figure checks and copies all that is there.
def _arrangement(fits: SiteFits, columns: int) -> dict[str, Any]:
    """Build the axes and names of the maps in so many columns, and the height of the figure."""
    columns = min(columns, len(fits))
    n_rows = math.ceil(len(fits) / columns)
    row_height = min(max(16 * max(fit.gates.grid.n_layers for fit in fits.values()), 96), 200)
    inner = n_rows * row_height + (n_rows - 1) * GAP
    side, gap = SIDE / columns, GAP / inner
    width, height = (1 - side * (columns - 1)) / columns, (1 - gap * (n_rows - 1)) / n_rows
    parts: dict[str, Any] = {"height": inner + TOP + BOTTOM, "annotations": []}
    for index, (key, fit) in enumerate(fits.items()):
        row, column = divmod(index, columns)
        left, top = column * (width + side), 1 - row * (height + gap)
        parts |= grid_axes(
            fit.gates.grid,
            panel=index + 1,
            x=(left, min(1.0, left + width)),
            y=(max(0.0, top - height), top),
            most_ticks=(8, 6),
            titles=(index + columns >= len(fits), column == 0),
        )
        parts["annotations"].append(
            {"text": plain(key, width=TITLE_WIDTH), "hovertext": plain(key), "showarrow": False, "font": {"size": 12},
             "x": left, "xref": "paper", "xanchor": "left", "y": top, "yref": "paper", "yanchor": "bottom", "yshift": 2}
        )  # fmt: skip
    return parts
