"""Head grid: the heat map over layers and heads that all figures of head maps are made of."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from site_lens.heads.head_set import HeadGrid
from site_lens.heads.scores import HeadScores
from site_lens.plots.theme import NO_HEAD, index_axis, plain
from site_lens.records.base import Float32


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
    shared = {
        "xgap": 1 if max(grid.shape) <= 16 else 0,  # wider than a fifth of a cell, a gap would dim large maps
        "ygap": 1 if max(grid.shape) <= 16 else 0,
        "hoverongaps": False,
        "xaxis": f"x{axis_number(panel)}",
        "yaxis": f"y{axis_number(panel)}",
    }
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
