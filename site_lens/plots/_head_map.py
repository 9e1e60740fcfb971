"""Head map: one number per head over layers and heads."""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from site_lens.heads.scores import HeadGates, HeadScores
from site_lens.plots.head_grid import grid_axes, grid_traces, map_figure, ranks
from site_lens.plots.theme import GREY
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
    grid, is_gates = scores.grid, isinstance(scores, HeadGates)
    unit = "Alpha" if is_gates else "Score"
    subtitle = scores.selector if is_gates else f"{scores.selector}: {scores.meaning}"
    if isinstance(record, SiteFit):
        subtitle = f"{scores.selector}, {record.origin}"
        kv_groups = record.embedding.model.n_kv_heads if kv_groups is None else kv_groups
    lines = [f"{unit.lower()} %{{z:.3f}}", f"rank %{{customdata}} of {len(grid)}"]
    limit = 1 if is_gates else float(np.abs(scores.values).max()) or 1.0
    low = -limit if (scores.values < 0).any() else 0
    parts: dict[str, Any] = {}
    groups: dict[str, Any] = {}
    if kv_groups is not None:
        counts = sorted({n for n in grid.heads_per_layer if n})  # layers without attention have no groups to break
        if kv_groups < 1 or counts != [grid.n_heads] or grid.n_heads % kv_groups:
            raise InputError(
                f"layers of {' and '.join(map(str, counts))} heads do not divide into {kv_groups} groups; kv_groups is "
                "the number of key-value heads, the same in every layer"
            )
        lines.append("key-value head %{text}")
        groups = {"text": np.tile(np.arange(grid.n_heads) // (grid.n_heads // kv_groups), (grid.n_layers, 1))}
        parts["shapes"] = _brackets(grid.n_heads, kv_groups)
        named = {"ticklabelstandoff": BRACKET, "title": {"text": "Head (brackets: one key-value head each)"}}
        parts["xaxis"] = grid_axes(grid)["xaxis"] | named
    traces = grid_traces(scores.values, grid, ranks(scores), lines, **groups)
    name = title if title is not None else scores.task or scores.selector
    return map_figure(traces, grid, name, subtitle, unit, (low, limit), **parts)


def _brackets(n_heads: int, kv_groups: int) -> list[dict[str, Any]]:
    """Build one bracket a group: three lines hung below the map in pixels, so that they fit a map of any height."""
    size = n_heads // kv_groups
    line = {"type": "line", "yref": "paper", "ysizemode": "pixel", "yanchor": 0, "line": {"color": GREY, "width": 1}}
    edges = [(group * size - 0.38, (group + 1) * size - 0.62) for group in range(kv_groups)]
    return [
        {**line, "x0": x0, "y0": y0, "x1": x1, "y1": -8}
        for left, right in edges
        for x0, y0, x1 in ((left, -3, left), (left, -8, right), (right, -3, right))
    ]
