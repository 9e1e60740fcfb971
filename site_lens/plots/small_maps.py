"""Small maps: head grids of many tasks or fits side by side in one figure, each with its name above it."""

import math
from collections.abc import Mapping
from typing import Any

from site_lens.heads.head_set import HeadGrid
from site_lens.plots.head_grid import grid_axes
from site_lens.plots.theme import TITLE, plain, short

TITLE_WIDTH = 22
"""Characters of a name that fit above a map in two columns of a phone's screen."""

NARROW_COLUMNS = 2
"""Maps in a row on a phone."""

TOP, BOTTOM, GAP = TITLE + 60, 52, 44
"""Pixels above all maps, where a legend or colour bar stands; below; and between the rows of maps."""

PAGE, SIDE, MARGINS = 1060, 36, 72
"""Pixels of a wide page, between two maps of a row, and to the left and right of all."""


def panel_size(grids: Mapping[str, HeadGrid]) -> tuple[int, int]:
    """Return width and height of a map in pixels: cells are at most twice as wide as high unless they are very few."""
    n_layers, n_heads = (max(getattr(grid, name) for grid in grids.values()) for name in ("n_layers", "n_heads"))
    height = min(max(16 * n_layers, 96), 200)
    return round(min(max(1.6 * height / n_layers * n_heads, 120), 240)), height


def arrangement(grids: Mapping[str, HeadGrid], columns: int | None) -> dict[str, Any]:
    """Build the axes and names of small maps in so many columns, and the width and height of their figure.

    As many columns as a page holds when None. Where there are more columns than fit on a phone, `meta["narrow"]` holds
    the same for narrow pages.
    """
    if columns is None:
        columns = (PAGE - MARGINS + SIDE) // (panel_size(grids)[0] + SIDE)
    if min(columns, len(grids)) <= NARROW_COLUMNS:
        return _arranged(grids, columns)
    return _arranged(grids, columns) | {"meta": {"narrow": _arranged(grids, NARROW_COLUMNS)}}


# Plotly's own subplots take ten times as long: each call on a figure checks and copies all that is there.
def _arranged(grids: Mapping[str, HeadGrid], columns: int) -> dict[str, Any]:
    columns = min(columns, len(grids))
    n_rows = math.ceil(len(grids) / columns)
    panel_width, row_height = panel_size(grids)
    across = columns * panel_width + (columns - 1) * SIDE
    inner = n_rows * row_height + (n_rows - 1) * GAP
    side, gap = SIDE / across, GAP / inner
    width, height = (1 - side * (columns - 1)) / columns, (1 - gap * (n_rows - 1)) / n_rows
    parts: dict[str, Any] = {
        "width": max(420, across + MARGINS),
        "height": inner + TOP + BOTTOM,
        "annotations": [],
    }
    for index, (key, grid) in enumerate(grids.items()):
        row, column = divmod(index, columns)
        left, top = column * (width + side), 1 - row * (height + gap)
        parts |= grid_axes(
            grid,
            panel=index + 1,
            x=(left, min(1.0, left + width)),
            y=(max(0.0, top - height), top),
            most_ticks=(8, 6),
            titles=(index + columns >= len(grids), column == 0),
        )
        parts["annotations"].append(
            {
                "text": plain(short(key, width=TITLE_WIDTH)), "hovertext": plain(key), "showarrow": False,
                "x": left, "xref": "paper", "xanchor": "left",
                "y": top, "yref": "paper", "yanchor": "bottom", "yshift": 2,
            }
        )  # fmt: skip
    return parts
