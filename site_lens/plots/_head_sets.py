"""Head sets: small maps of every task, coloured by kind, with a dot on each chosen head."""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from site_lens.plots.head_grid import axis_number, grid_traces, small_maps
from site_lens.plots.theme import PALETTE, TITLE
from site_lens.site.head_path import HeadPath, HeadPaths, Kind

FREE = "rgba(128, 132, 140, 0.18)"
COLOURS: dict[Kind, str] = {"closed": PALETTE[3], "free": FREE, "open": PALETTE[1]}
"""Colour of each kind, of Okabe and Ito's palette, whose colours are told apart in colour blindness, too."""

LEGEND_FROM_TOP = TITLE + 2
"""Pixels from the top edge of the figure to its legend, below the title on pages of every width."""

DOTS: dict[str, Any] = {
    "mode": "markers",
    "marker": {"symbol": "circle", "size": 5, "color": "white", "line": {"color": "black", "width": 1}},
}
"""How chosen heads are marked."""


def head_sets(paths: HeadPath | HeadPaths, *, columns: int | None = None) -> go.Figure:
    """Draw the chosen head set of every task: small maps coloured by kind, with a dot on each chosen head.

    Args:
        paths: One path or several, drawn row by row in their order.
        columns: Maps in a row, as many as a page holds when None; on narrow pages a report draws two in a row.

    Returns:
        A figure with one heat map (layer head) a path: 1 at open heads, -1 at closed ones, 0 at free ones. Without a
        price below 0 in a path, none is called closed. `layout.meta["narrow"]` holds the parts of the layout that
        differ on narrow pages.

    Raises:
        InputError: There are no paths, or `columns` is not positive.
    """
    listed = {paths.task: paths} if isinstance(paths, HeadPath) else dict(paths)
    grids = {task: path.model.grid for task, path in listed.items()}
    lines = ["%{customdata[0]}, %{customdata[1]}", "open in %{text:.0%} of the fits"]
    traces: list[Any] = []
    for panel, path in enumerate(listed.values(), start=1):
        grid, kinds, stability = path.model.grid, path.kinds or {}, np.nan_to_num(path.stability)
        chosen = path.chosen.heads if path.chosen is not None else ()
        values = np.zeros(grid.shape, dtype=np.float32)
        words = np.full((*grid.shape, 2), "", dtype=object)
        for head in grid:
            kind = kinds.get(str(head), "open" if head in chosen else "free")
            values[head.layer, head.head] = {"closed": -1, "free": 0, "open": 1}[kind]
            words[head.layer, head.head] = kind, "chosen" if head in chosen else "not chosen"
        traces += grid_traces(values, grid, words, lines, panel=panel, text=stability, texttemplate="")
        axes = {"xaxis": f"x{axis_number(panel)}", "yaxis": f"y{axis_number(panel)}"}
        x, y = [head.head for head in chosen], [head.layer for head in chosen]
        traces.append(go.Scatter(x=x, y=y, **DOTS, **axes, hoverinfo="skip", showlegend=False))
    traces.append(go.Scatter(x=[None], y=[None], name="chosen", **DOTS))
    for kind, colour in reversed(COLOURS.items()):
        square = {"symbol": "square", "size": 10, "color": colour}
        traces.append(go.Scatter(x=[None], y=[None], mode="markers", name=kind, marker=square))
    steps = [step for i, colour in enumerate(COLOURS.values()) for step in ([i / 3, colour], [(i + 1) / 3, colour])]
    scale = {"cmin": -1, "cmax": 1, "colorscale": steps, "showscale": False}
    legend = {"orientation": "h", "x": 0, "xref": "container", "yref": "container", "yanchor": "top"}
    return small_maps(
        traces, grids, columns, "Heads that carry each task", "", coloraxis=scale, notes=[],
        on_top=lambda height: {"legend": legend | {"y": 1 - LEGEND_FROM_TOP / height}},
    )  # fmt: skip
