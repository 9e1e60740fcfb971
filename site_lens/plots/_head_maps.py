"""Head maps: the gates of many fits side by side on one colour scale."""

import numpy as np
import plotly.graph_objects as go

from site_lens.plots.head_grid import axis_number, grid_traces, ranks, small_maps
from site_lens.plots.theme import color_axis
from site_lens.site.fit import SiteFits
from site_lens.site.head_path import HeadPaths


def head_maps(fits: SiteFits | HeadPaths, *, columns: int | None = None) -> go.Figure:
    """Draw the gates of every fit as small head maps that share one scale from 0 to 1.

    Args:
        fits: The fits, drawn row by row in their order, each map one fit of one seed; or paths, each map the mean over
            the fits of a task without a price, from all seeds and starts; those that kept their start are left out.
        columns: Maps in a row, as many as a page holds when None; on narrow pages a report draws two in a row.

    Returns:
        A figure with one heat map (layer head) a fit or path, in the order of `fits`. `layout.meta["narrow"]` holds the
        parts of the layout that differ on narrow pages. A fit that kept its start has no map, and says so.

    Raises:
        InputError: There are no fits, or `columns` is not positive.
    """
    if isinstance(fits, HeadPaths):
        maps = {task: (path.model.grid, path.mean_gates, len(path.moved)) for task, path in fits.items()}
    else:
        maps = {key: (fit.gates.grid, None if fit.kept_start else fit.gates, 1) for key, fit in fits.items()}
    traces, notes = [], []
    for panel, (grid, gates, n_fits) in enumerate(maps.values(), start=1):
        if gates is None:
            nothing = np.full(grid.shape, np.nan, dtype=np.float32)
            traces += grid_traces(nothing, grid, nothing, [], panel=panel)
            number = axis_number(panel)
            notes.append({
                "text": "start kept:<br>no map", "showarrow": False, "x": 0.5, "y": 0.5,
                "xref": f"x{number} domain", "yref": f"y{number} domain",
            })  # fmt: skip
            continue
        what = f"mean alpha of {n_fits} fits" if n_fits > 1 else "alpha"
        lines = [f"{what} %{{z:.3f}}", f"rank %{{customdata}} of {len(grid)}"]
        traces += grid_traces(gates.values, grid, ranks(gates), lines, panel=panel)
    averaged = any(n_fits > 1 for *_, n_fits in maps.values())
    each = "mean over the fits of a task, from other seeds and starts" if averaged else "one fit, one seed"
    return small_maps(
        traces, {key: grid for key, (grid, *_) in maps.items()}, columns, "Alpha of every head", f"Each map: {each}",
        on_top=lambda height: {"coloraxis": color_axis("Alpha", height)}, notes=notes,
    )  # fmt: skip
