"""Head maps: the gates of many fits side by side on one colour scale."""

import plotly.graph_objects as go

from site_lens.plots.head_grid import grid_traces, ranks
from site_lens.plots.small_maps import BOTTOM, TOP, arrangement
from site_lens.plots.theme import color_axis, layout
from site_lens.records.errors import InputError
from site_lens.site.fit import SiteFits


def head_maps(fits: SiteFits, *, columns: int | None = None) -> go.Figure:
    """Draw the gates of every fit as small head maps that share one scale from 0 to 1.

    Args:
        fits: The fits, drawn row by row in their order; each map is one fit of one seed.
        columns: Maps in a row, as many as a page holds when None; on narrow pages a report draws two in a row.

    Returns:
        A figure with one heat map (layer head) a fit, in the order of `fits`. `layout.meta["narrow"]` holds the parts
        of the layout that differ on narrow pages.

    Raises:
        InputError: There are no fits, or `columns` is not positive.
    """
    if not fits:
        raise InputError("there are no fits to draw; fit some tasks first, for example with fit_site(model, tasks)")
    if columns is not None and columns < 1:
        raise InputError(f"columns must be at least 1, got {columns}")
    traces = []
    for panel, fit in enumerate(fits.values(), start=1):
        lines = ["alpha %{z:.3f}", f"rank %{{customdata}} of {len(fit.gates.grid)}"]
        traces += grid_traces(fit.gates.values, fit.gates.grid, ranks(fit.gates), lines, panel=panel)
    parts = arrangement({key: fit.gates.grid for key, fit in fits.items()}, columns)
    for laid_out in (parts, parts.get("meta", {}).get("narrow")):
        if laid_out is not None:
            laid_out["coloraxis"] = color_axis("Alpha", laid_out["height"])
    title, subtitle = "Alpha of every head", "Each map: one fit, one seed"
    return go.Figure(traces, layout(title, subtitle, top=TOP, margin={"b": BOTTOM}, **parts))
