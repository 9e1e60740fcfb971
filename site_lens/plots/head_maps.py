"""Head maps: the gates of many fits side by side on one colour scale."""

import math

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from site_lens.core.errors import InputError
from site_lens.core.fits import SiteFits
from site_lens.plots.head_map import color_axis, map_traces
from site_lens.plots.style import TEMPLATE, index_axis, plain, titled

TITLE_WIDTH = 22
"""Characters of a name that fit above a map in two columns of a phone's screen."""

TOP, BOTTOM, GAP = 92, 52, 44
"""Pixels above, below and between the rows of maps."""


def head_maps(fits: SiteFits, *, columns: int = 4) -> go.Figure:
    """Draw the gates of every fit as small head maps that share one scale from 0 to 1.

    Args:
        fits: The fits, drawn row by row in their order; each map is one fit of one seed.
        columns: Maps in a row.

    Returns:
        A figure with one heat map (layer head) a fit, in the order of `fits`.

    Raises:
        InputError: There are no fits, or `columns` is not positive.
    """
    if not fits:
        raise InputError("there are no fits to draw; fit some tasks first, for example with fit_site(model, tasks)")
    if columns < 1:
        raise InputError(f"columns must be at least 1, got {columns}")
    columns = min(columns, len(fits))
    n_rows = math.ceil(len(fits) / columns)
    row_height = min(max(16 * max(fit.gates.grid.n_layers for fit in fits.values()), 96), 200)
    inner = n_rows * row_height + (n_rows - 1) * GAP
    figure = make_subplots(
        n_rows,
        columns,
        subplot_titles=[plain(key, width=TITLE_WIDTH) for key in fits],
        vertical_spacing=GAP / inner,
        horizontal_spacing=0.16 / columns,
        figure=go.Figure(layout={"template": TEMPLATE}),
    )
    scale = color_axis([fit.gates for fit in fits.values()])
    scale["colorbar"] |= {"orientation": "h", "lenmode": "pixels", "len": 130, "thickness": 8, "tickvals": [0, 0.5, 1],
                          "x": 1, "xanchor": "right", "y": 1, "yanchor": "top", "yref": "container", "ypad": 8,
                          "title": {"text": "alpha&nbsp;", "side": "right"}}  # fmt: skip
    figure.update_layout(
        title=titled("alpha of every head", "each map: one fit, one seed"),
        height=inner + TOP + BOTTOM,
        margin={"t": TOP, "b": BOTTOM},
        coloraxis=scale,
    )
    _fill(figure, fits, columns)
    return figure


def _fill(figure: go.Figure, fits: SiteFits, columns: int) -> None:
    """Put the maps and their axes in place; axes are named only along the left and lower edge."""
    for index, (key, fit) in enumerate(fits.items()):
        row, column = divmod(index, columns)
        for trace in map_traces(fit.gates):
            figure.add_trace(trace, row=row + 1, col=column + 1)
        n_layers, n_heads = fit.gates.grid.shape
        lowest = index + columns >= len(fits)
        figure.update_xaxes(
            **index_axis(n_heads, most_ticks=8), title_text="head" if lowest else None, row=row + 1, col=column + 1
        )
        figure.update_yaxes(
            **index_axis(n_layers, most_ticks=6),
            title_text="layer" if column == 0 else None,
            row=row + 1,
            col=column + 1,
        )
        axis = figure.get_subplot(row + 1, column + 1).xaxis
        figure.layout.annotations[index].update(
            x=axis.domain[0], xanchor="left", yshift=2, font={"size": 12}, hovertext=plain(key)
        )
