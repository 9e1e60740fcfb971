"""Landscape: how alike the fits of one task are, the loss on lines between them, and in a plane through three."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from site_lens.plots.theme import GATE_SCALE, PALETTE, TOP, bar_on_top, color_axis, layout
from site_lens.studies.loss_landscape.result import PLANE, FitLandscape

WIDTH = 560
"""Pixels from side to side, for which a fit of the map is about as wide as high."""

MAP, GAP, LINES, BOTTOM = 300, 70, 220, 56
"""Pixels of the map, between both panels, of the lines, and below them."""

SLICE = 480
"""Pixels of either side of the plane."""


def landscape(record: FitLandscape) -> go.Figure:
    """Draw the Jaccard index of every two fits, and the loss along the lines between them.

    Fits of the task come first, the one of lowest loss on top; null fits follow below a line.

    Returns:
        A figure whose first trace is the map (fit fit), in that order; the other two are the lines free of a barrier
        and those that meet one (point by point, lines parted by NaN), as rise above the straight line between both
        ends, in nats.
    """
    order = np.lexsort((record.losses, record.null))
    height, inner = TOP + MAP + GAP + LINES + BOTTOM, MAP + GAP + LINES
    figure = make_subplots(2, 1, vertical_spacing=GAP / inner, row_heights=[MAP, LINES])
    figure.add_traces([_agreement(record, order), *_profiles(record)], rows=[1, 2, 2], cols=1)
    n_own, free = int((~record.null).sum()), record.free
    nulls = f", then {len(order) - n_own} null fits" if len(order) > n_own else ""
    verdict = record.verdict if free is None else f"{record.verdict}: {free.value:.0%} of {free.n} lines free"
    figure.update_layout(
        layout(
            f"Landscape of {record.task}",
            f"{n_own} fits{nulls}; {verdict}",
            height=height,
            width=WIDTH,
            top=TOP,
            margin={"b": BOTTOM},
            legend={"orientation": "h", "x": 0, "y": (LINES + GAP / 2) / inner, "yanchor": "middle"},
            coloraxis=color_axis("Jaccard index of heads above 0.5", height),
        )
    )
    bare = {"showticklabels": False, "showgrid": False, "row": 1, "col": 1}
    figure.update_xaxes(range=[-0.5, len(order) - 0.5], **bare)
    figure.update_yaxes(range=[len(order) - 0.5, -0.5], title={"text": "Fit"}, **bare)
    if nulls:
        line = {"line": {"color": "#ffffff", "width": 2}, "row": 1, "col": 1}
        figure.add_vline(n_own - 0.5, **line)
        figure.add_hline(n_own - 0.5, **line)
    figure.update_xaxes(title={"text": "Way from one fit to the other"}, dtick=0.25, row=2, col=1)
    figure.update_yaxes(title={"text": "Rise in nats"}, row=2, col=1)
    return figure


def _agreement(record: FitLandscape, order: np.ndarray) -> go.Heatmap:
    names = [_name(record, int(i)) for i in order]
    return go.Heatmap(
        z=record.jaccard()[np.ix_(order, order)],
        text=[[f"{row}<br>{column}" for column in names] for row in names],
        coloraxis="coloraxis",
        hovertemplate="%{text}<br>Jaccard %{z:.2f}<extra></extra>",
    )


def _name(record: FitLandscape, i: int) -> str:
    fit = record.fits[i]
    start = fit.start if isinstance(fit.start, str) else f"{fit.start:g}"
    null = " (null)" if fit.null else ""
    return f"fit {i}{null}: start {start}, lr {fit.lr:g}, {fit.n_steps} steps, loss {record.losses[i]:.3f}"


def _profiles(record: FitLandscape) -> list[go.Scatter]:
    way = np.linspace(0, 1, record.profiles.shape[1])
    ends = record.profiles[:, :1] * (1 - way) + record.profiles[:, -1:] * way
    rise = np.pad(record.profiles - ends, [(0, 0), (0, 1)], constant_values=np.nan)  # NaN parts the lines
    free = record.is_free
    kinds = ("free of a barrier", free, PALETTE[0]), ("with a barrier", ~free, PALETTE[1])
    return [
        go.Scatter(
            name=f"{int(chosen.sum())} {name}",
            x=np.tile([*way, np.nan], int(chosen.sum())),
            y=rise[chosen].ravel(),
            mode="lines",
            line={"color": color, "width": 1},
            opacity=0.5,
            hovertemplate="%{y:.3f} nats<extra></extra>",
        )
        for name, chosen, color in kinds
    ]


def landscape_slice(record: FitLandscape) -> go.Figure:
    """Draw the loss as a contour map over the plane through the best fit and the two furthest from it.

    The best fit stands at (0, 0), the others at (1, 0) and (0, 1); angles and lengths in the plane are not those
    between alphas. Outside of what gates can be, alphas are cut at 0 and 1.

    Returns:
        A figure of two traces: the losses (v u) in nats, and the three fits.
    """
    cells = go.Contour(
        x=np.array(PLANE),
        y=np.array(PLANE),
        z=record.slice,
        coloraxis="coloraxis",
        contours={"coloring": "heatmap"},
        line={"width": 0.5},
        hovertemplate="u %{x:.1f}, v %{y:.1f}<br>loss %{z:.3f} nats<extra></extra>",
    )
    fits = go.Scatter(
        x=[0, 1, 0],
        y=[0, 0, 1],
        mode="markers+text",
        text=["best", "furthest", "third"],
        textposition="top right",
        textfont={"color": "#ffffff"},
        marker={"color": "#ffffff", "size": 9, "line": {"color": "#20242b", "width": 1}},
        customdata=[f"fit {i}<br>loss {record.losses[i]:.3f} nats" for i in record.plane],
        hovertemplate="%{customdata}<extra></extra>",
    )
    low, high = float(np.floor(record.slice.min() * 100) / 100), float(np.ceil(record.slice.max() * 100) / 100)
    colors = {"cmin": low, "cmax": high, "colorscale": GATE_SCALE}
    axis = {"range": [PLANE[0], PLANE[-1]], "dtick": 0.5}
    return go.Figure(
        [cells, fits],
        layout(
            f"Loss of {record.task}",
            "Plane through three fits",
            height=SLICE,
            width=SLICE,
            top=TOP,
            showlegend=False,
            coloraxis=colors | {"colorbar": bar_on_top("loss in nats", SLICE, ticks=[low, high])},
            xaxis=axis | {"title": {"text": "Towards the furthest fit"}},
            yaxis=axis | {"title": {"text": "Towards the third"}},
        ),
    )
