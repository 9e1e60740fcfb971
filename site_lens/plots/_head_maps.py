"""Head maps: the gates of many fits side by side on one colour scale."""

import plotly.graph_objects as go

from site_lens.plots.head_grid import grid_traces, ranks
from site_lens.plots.small_maps import BOTTOM, TOP, arrangement
from site_lens.plots.theme import GATE_SCALE, layout
from site_lens.records.errors import InputError
from site_lens.site.fit import SiteFits


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
    parts = arrangement({key: fit.gates.grid for key, fit in fits.items()}, columns)
    return go.Figure(
        traces,
        layout("alpha of every head", "each map: one fit, one seed", top=TOP, margin={"b": BOTTOM}, coloraxis=scale,
               **parts),
    )  # fmt: skip
