"""Small maps: head grids of many tasks or fits side by side in one figure, each with its name above it."""

import math
from collections.abc import Mapping
from typing import Any

from site_lens.heads.head_set import HeadGrid
from site_lens.plots.head_grid import grid_axes
from site_lens.plots.theme import plain

TITLE_WIDTH = 22
"""Characters of a name that fit above a map in two columns of a phone's screen."""

NARROW_COLUMNS = 2
"""Maps in a row on a phone."""

SIDE = 0.16
"""Share of the width that all gaps between columns and one more take."""

TOP, BOTTOM, GAP = 92, 52, 44
"""Pixels above, below and between the rows of maps."""


def arrangement(grids: Mapping[str, HeadGrid], columns: int) -> dict[str, Any]:
    """Build the axes and names of small maps in so many columns, and the height of their figure.

    Where there are more columns than fit on a phone, `meta["narrow"]` holds the same for narrow pages.
    """
    if min(columns, len(grids)) <= NARROW_COLUMNS:
        return _arranged(grids, columns)
    return _arranged(grids, columns) | {"meta": {"narrow": _arranged(grids, NARROW_COLUMNS)}}


# Plotly's own subplots take ten times as long: each call on a figure checks and copies all that is there.
def _arranged(grids: Mapping[str, HeadGrid], columns: int) -> dict[str, Any]:
    columns = min(columns, len(grids))
    n_rows = math.ceil(len(grids) / columns)
    row_height = min(max(16 * max(grid.n_layers for grid in grids.values()), 96), 200)
    inner = n_rows * row_height + (n_rows - 1) * GAP
    side, gap = SIDE / columns, GAP / inner
    width, height = (1 - side * (columns - 1)) / columns, (1 - gap * (n_rows - 1)) / n_rows
    parts: dict[str, Any] = {"height": inner + TOP + BOTTOM, "annotations": []}
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
            {"text": plain(key, width=TITLE_WIDTH), "hovertext": plain(key), "showarrow": False, "font": {"size": 12},
             "x": left, "xref": "paper", "xanchor": "left", "y": top, "yref": "paper", "yanchor": "bottom", "yshift": 2}
        )  # fmt: skip
    return parts
