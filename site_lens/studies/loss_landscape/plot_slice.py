"""Landscape slice: the loss in the plane through three fits of one task."""

import numpy as np
import plotly.graph_objects as go

from site_lens.plots.theme import GATE_SCALE, TOP, bar_on_top, layout
from site_lens.studies.loss_landscape.result import PLANE, FitLandscape

WIDTH, HEIGHT = 480, 480


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
            height=HEIGHT,
            width=WIDTH,
            top=TOP,
            showlegend=False,
            coloraxis=colors | {"colorbar": bar_on_top("loss in nats", HEIGHT, ticks=[low, high])},
            xaxis=axis | {"title": {"text": "Towards the furthest fit"}},
            yaxis=axis | {"title": {"text": "Towards the third"}},
        ),
    )
