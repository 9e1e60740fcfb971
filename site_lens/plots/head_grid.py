"""Head grid: the heat map over layers and heads that all figures of head maps are made of, one or many small ones."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from site_lens.heads.head_set import HeadGrid
from site_lens.heads.scores import HeadScores
from site_lens.plots.theme import NO_HEAD, TITLE, colors, figure, index_axis, plain, short
from site_lens.records.base import Float32
from site_lens.records.errors import InputError

TITLE_WIDTH = 22
"""Characters of a name that fit above a map in two columns of a phone's screen."""

NARROW_COLUMNS = 2
"""Maps in a row on a phone."""

TOP, BOTTOM, GAP = TITLE + 60, 52, 44
"""Pixels above all maps, where a legend or colour bar stands; below; and between the rows of maps."""

PAGE, SIDE, MARGINS = 1060, 36, 72
"""Pixels of a wide page, between two maps of a row, and to the left and right of all."""


def grid_traces(
    values: Float32, grid: HeadGrid, numbers: NDArray[Any], lines: list[str], *, panel: int = 1, **changes: Any
) -> list[go.Heatmap]:
    """Build a heat map over a grid on `coloraxis`, and the grey one beneath it if places without a head exist.

    Args:
        values: (layer head): what to draw; NaN takes the place of numbers where there is no head.
        grid: The grid of the values.
        numbers: (layer head) or (layer head number): what the hover label calls customdata.
        lines: Templates of the hover label below the names of head and layer.
        panel: Number of the panel in which it stands, counted from 1.
        changes: Further properties of the first trace.
    """
    gap = 1 if max(grid.shape) <= 16 else 0  # wider than a fifth of a cell, a gap would dim large maps
    axes = {"xaxis": f"x{axis_number(panel)}", "yaxis": f"y{axis_number(panel)}"}
    shared = {"xgap": gap, "ygap": gap, "hoverongaps": False} | axes
    drawn = go.Heatmap(
        z=np.where(grid.mask, values, np.nan),
        customdata=numbers,
        hovertemplate="<br>".join(["L%{y}H%{x}", "layer %{y}, head %{x}", *lines]) + "<extra></extra>",
        **{"coloraxis": "coloraxis"} | shared | changes,
    )
    if grid.mask.all():
        return [drawn]
    nothing = go.Heatmap(
        z=np.where(grid.mask, np.nan, 0.0),
        colorscale=[[0, NO_HEAD], [1, NO_HEAD]],
        showscale=False,
        hovertemplate="layer %{y} has no head %{x}<extra></extra>",
        **shared,
    )
    return [drawn, nothing]


def map_figure(
    traces: list[Any], grid: HeadGrid, title: str, subtitle: str, unit: str, ends: tuple[float, float], **parts: Any
) -> go.Figure:
    """Build the figure of one map, its colour bar with these ends beside it; diverging colours go below 0."""
    width, height = map_size(grid)
    parts["coloraxis"] = colors(*ends, colorbar(unit))
    return figure(traces, title, subtitle, width=width, height=height, **grid_axes(grid) | parts)


def grid_axes(
    grid: HeadGrid, *, panel: int = 1, x: tuple[float, float] = (0, 1), y: tuple[float, float] = (0, 1),
    most_ticks: tuple[int, int] = (12, 12), titles: tuple[bool, bool] = (True, True),
) -> dict[str, Any]:  # fmt: skip
    """Build the axes of one panel, layer 0 at the bottom.

    Args:
        grid: Its grid.
        panel: Its number, counted from 1.
        x: Part of the figure that it takes from left to right, between 0 and 1.
        y: Part that it takes from bottom to top.
        most_ticks: Most ticks over heads and over layers.
        titles: Whether the axes of heads and of layers are named.
    """
    number = axis_number(panel)
    sides = zip("xy", "yx", ("Head", "Layer"), grid.shape[::-1], (x, y), most_ticks, titles, strict=True)
    return {
        f"{side}axis{number}": index_axis(n, most_ticks=most)
        | {"domain": list(domain), "anchor": f"{other}{number}"}
        | ({"title": {"text": name}} if is_named else {})
        for side, other, name, n, domain, most, is_named in sides
    }


def axis_number(panel: int) -> str:
    """Return what plotly adds to the names of a panel's axes: nothing for the first."""
    return "" if panel == 1 else str(panel)


def colorbar(unit: str) -> dict[str, Any]:
    """Build the colour bar beside a map; its unit runs along it."""
    return {"title": {"text": plain(unit), "side": "right"}}


def ranks(scores: HeadScores) -> Float32:
    """Return (layer head): rank of each head by score, 1 = highest; 0 where there is no head."""
    return scores.ranks().astype(np.float32)


def map_size(grid: HeadGrid, *, n_maps: int = 1) -> tuple[int, int]:
    """Return width and height in pixels of a figure of maps side by side, with cells at most twice as wide as high.

    Axes, title and colour bar are included.
    """
    cell_height = min(max(400 / grid.n_layers, 9), 26)
    width = min(max(520 / grid.n_heads, 9), 1.6 * cell_height) * grid.n_heads
    return max(420, round(n_maps * (max(width, 160) + 72)) + 80), round(max(cell_height * grid.n_layers, 160)) + 112


def panel_size(grids: Mapping[str, HeadGrid]) -> tuple[int, int]:
    """Return width and height of a map in pixels: cells are at most twice as wide as high unless they are very few."""
    n_layers, n_heads = (max(getattr(grid, name) for grid in grids.values()) for name in ("n_layers", "n_heads"))
    height = min(max(16 * n_layers, 96), 200)
    return round(min(max(1.6 * height / n_layers * n_heads, 120), 240)), height


def small_maps(
    traces: list[Any], grids: Mapping[str, HeadGrid], columns: int | None, title: str, subtitle: str, *,
    on_top: Callable[[int], dict[str, Any]], notes: list[dict[str, Any]], **parts: Any,
) -> go.Figure:  # fmt: skip
    """Build a figure of small maps.

    Where there are more columns than fit on a phone, `layout.meta["narrow"]` holds what differs on narrow pages.

    Args:
        traces: The maps, the first in panel 1.
        grids: Grid of each map, by its name.
        columns: Maps in a row, as many as a page holds when None.
        title: Title of the figure.
        subtitle: Line below it.
        on_top: Builds the legend or colour axis below the title of a figure of so many pixels from top to bottom.
        notes: Further annotations.
        parts: Further parts of the layout.

    Raises:
        InputError: There are no maps, or `columns` is not positive.
    """
    if not grids or (columns is not None and columns < 1):
        raise InputError(f"needs at least one map and one column, got {len(grids)} maps, columns={columns}")
    if columns is None:
        columns = (PAGE - MARGINS + SIDE) // (panel_size(grids)[0] + SIDE)
    wide, narrow = (_arranged(grids, n, on_top, notes) for n in (columns, NARROW_COLUMNS))
    meta = {"meta": {"narrow": narrow}} if min(columns, len(grids)) > NARROW_COLUMNS else {}
    return figure(traces, title, subtitle, top=TOP, margin={"b": BOTTOM}, **parts, **wide, **meta)


# Plotly's own subplots take ten times as long: each call on a figure checks and copies all that is there.
def _arranged(
    grids: Mapping[str, HeadGrid], columns: int, on_top: Callable[[int], dict[str, Any]], notes: list[dict[str, Any]]
) -> dict[str, Any]:
    """Build the axes and names of small maps in so many columns, and the width and height of their figure."""
    columns = min(columns, len(grids))
    n_rows = math.ceil(len(grids) / columns)
    panel_width, row_height = panel_size(grids)
    across = columns * panel_width + (columns - 1) * SIDE
    inner = n_rows * row_height + (n_rows - 1) * GAP
    side, gap = SIDE / across, GAP / inner
    width, height = (1 - side * (columns - 1)) / columns, (1 - gap * (n_rows - 1)) / n_rows
    parts: dict[str, Any] = {"width": max(420, across + MARGINS), "height": inner + TOP + BOTTOM, "annotations": []}
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
    parts["annotations"] += notes
    return parts | on_top(parts["height"])
