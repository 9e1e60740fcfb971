"""Head map: one number per head over layers and heads."""

import textwrap
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from site_lens.heads.head_set import HeadGrid
from site_lens.heads.scores import HeadGates, HeadScores
from site_lens.plots.theme import GATE_SCALE, INK, NO_HEAD, SIGNED_SCALE, TEMPLATE, index_axis, plain, titled
from site_lens.records.base import Float32
from site_lens.records.errors import InputError
from site_lens.site.fit import SiteFit

BRACKET = 10
"""Pixels below the map that the brackets of key-value heads take; tick labels move down by as much."""


def head_map(record: HeadScores | SiteFit, *, title: str | None = None, kv_groups: int | None = None) -> go.Figure:
    """Draw one number per head as a heat map, layer 0 at the bottom.

    Gates are drawn on a fixed scale from 0 to 1, signed scores on a scale centred on zero, other scores from 0 up;
    places where the grid has no head are grey. Brackets below the map group the query heads that share a key-value
    head, where their number is known.

    Args:
        record: Scores or gates, or a fit, whose gates are drawn.
        title: Title of the figure; the task, else the selector, when None.
        kv_groups: Key-value heads of a layer; query head h reads from number h // (n_heads / kv_groups). Of a fit
            those of its model when None.

    Returns:
        A figure whose first trace holds the values (layer head), NaN where there is no head.

    Raises:
        InputError: The heads of a layer do not divide into `kv_groups` groups, or layers differ in their heads.
    """
    scores = record.gates if isinstance(record, SiteFit) else record
    n_layers, n_heads = scores.grid.shape
    if kv_groups is None and isinstance(record, SiteFit):
        kv_groups = record.embedding.model.n_kv_heads
    if kv_groups is not None:
        _need_even_groups(scores.grid, kv_groups)
    subtitle = f"{scores.selector}, {record.origin}" if isinstance(record, SiteFit) else scores.selector
    layout: dict[str, Any] = dict(
        template=TEMPLATE,
        title=titled(title if title is not None else scores.task or scores.selector, subtitle),
        height=map_height(n_layers),
        coloraxis=color_axis([scores]),
        xaxis={"title": {"text": "head"}, **index_axis(n_heads)},
        yaxis={"title": {"text": "layer"}, **index_axis(n_layers)},
    )
    if kv_groups is not None:
        layout["shapes"] = _brackets(n_heads, kv_groups)
        layout["xaxis"] |= {"ticklabelstandoff": BRACKET, "title": {"text": "head (brackets: one key-value head each)"}}
    return go.Figure(map_traces(scores, kv_groups=kv_groups), layout)


def map_traces(scores: HeadScores, *, kv_groups: int | None = None, axis: str = "") -> list[go.Heatmap]:
    """Build the heat map of one record on `coloraxis`, and the grey one beneath it if places without a head exist.

    `axis` is the number of its axes among those of the figure, as text; none for the first.
    """
    unit = "alpha" if isinstance(scores, HeadGates) else "score"
    lines = [f"{unit} %{{z:.3f}}", f"rank %{{customdata}} of {len(scores.grid)}"]
    values, *nothing = grid_traces(scores.values, scores.grid, ranks(scores), lines)
    if kv_groups is not None:
        group = np.arange(scores.grid.n_heads) // (scores.grid.n_heads // kv_groups)
        values.text = np.tile(group, (scores.grid.n_layers, 1))
        values.hovertemplate = values.hovertemplate.replace("<extra>", "<br>key-value head %{text}<extra>")
    return [trace.update(xaxis=f"x{axis}", yaxis=f"y{axis}") if axis else trace for trace in (values, *nothing)]


def grid_traces(values: Float32, grid: HeadGrid, customdata: NDArray[Any], lines: list[str]) -> list[go.Heatmap]:
    """Build a heat map over a grid on `coloraxis`, and the grey one beneath it if places without a head exist.

    Args:
        values: (layer head): what to draw; NaN takes the place of numbers where there is no head.
        grid: The grid of the values.
        customdata: (layer head) or (layer head number): numbers for the hover label.
        lines: Templates of the hover label below the names of head and layer.
    """
    gap = 1 if max(grid.shape) <= 16 else 0  # wider than a fifth of a cell, a gap would dim large maps
    drawn = go.Heatmap(
        z=np.where(grid.mask, values, np.nan),
        customdata=customdata,
        coloraxis="coloraxis",
        xgap=gap,
        ygap=gap,
        hoverongaps=False,
        hovertemplate="<br>".join(["L%{y}H%{x}", "layer %{y}, head %{x}", *lines]) + "<extra></extra>",
    )
    if grid.mask.all():
        return [drawn]
    nothing = go.Heatmap(
        z=np.where(grid.mask, np.nan, 0.0),
        colorscale=[[0, NO_HEAD], [1, NO_HEAD]],
        showscale=False,
        xgap=gap,
        ygap=gap,
        hoverongaps=False,
        hovertemplate="layer %{y} has no head %{x}<extra></extra>",
    )
    return [drawn, nothing]


def color_axis(maps: list[HeadScores]) -> dict[str, Any]:
    """Build the one colour scale of some maps, with its unit: [0, 1] for gates, centred on zero for signed scores."""
    if all(isinstance(scores, HeadGates) for scores in maps):
        return {"cmin": 0, "cmax": 1, "colorscale": GATE_SCALE, "colorbar": colorbar("alpha")}
    limit = max(float(np.abs(scores.values).max()) for scores in maps) or 1.0
    signed = any(bool((scores.values < 0).any()) for scores in maps)
    return {
        "cmin": -limit if signed else 0,
        "cmax": limit,
        "colorscale": SIGNED_SCALE if signed else GATE_SCALE,
        "colorbar": colorbar(maps[0].meaning),
    }


def colorbar(unit: str) -> dict[str, Any]:
    """Build the colour bar beside a map: its unit runs along it, in as many lines as it needs."""
    lines = textwrap.wrap(unit, 32)
    return {"title": {"text": "<br>".join(plain(line) for line in lines), "side": "right"}}


def ranks(scores: HeadScores) -> Float32:
    """Return (layer head): rank of each head by score, 1 = highest; 0 where there is no head."""
    table = scores.frame()
    found = np.zeros(scores.grid.shape, dtype=np.float32)
    found[table["layer"], table["head"]] = table["rank"]
    return found


def map_height(n_layers: int) -> int:
    """Return the pixels that a map of so many layers is high, title and axis included."""
    return min(max(24 * n_layers + 130, 340), 760)


def _need_even_groups(grid: HeadGrid, kv_groups: int) -> None:
    counts = sorted({n for n in grid.heads_per_layer if n})  # layers without attention have no groups to break
    if len(counts) > 1:
        raise InputError(
            f"layers of {' and '.join(map(str, counts))} heads share no grouping into {kv_groups} key-value heads; "
            "leave kv_groups out"
        )
    if kv_groups < 1 or grid.n_heads % kv_groups:
        raise InputError(
            f"{grid.n_heads} heads do not divide into {kv_groups} groups; kv_groups is the number of key-value heads"
        )


def _brackets(n_heads: int, kv_groups: int) -> list[dict[str, Any]]:
    """Build one bracket a group: three lines hung below the map in pixels, so that they fit a map of any height."""
    size = n_heads // kv_groups
    line = {"type": "line", "yref": "paper", "ysizemode": "pixel", "yanchor": 0, "line": {"color": INK, "width": 1}}
    shapes = []
    for group in range(kv_groups):
        left, right = group * size - 0.38, (group + 1) * size - 0.62
        for (x0, y0), (x1, y1) in (((left, -3), (left, -8)), ((left, -8), (right, -8)), ((right, -8), (right, -3))):
            shapes.append({**line, "x0": x0, "y0": y0, "x1": x1, "y1": y1})
    return shapes
