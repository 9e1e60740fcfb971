"""Training: how the losses and the share of undecided gates went over the steps of a fit."""

import numpy as np
import plotly.graph_objects as go

from site_lens.plots._alpha_paths import kept_mark
from site_lens.plots.theme import PALETTE, TEMPLATE, titled
from site_lens.site.fit import SiteFit

LOWER, UPPER = 0.35, 0.43
"""Heights, from 0 to 1, at which the lower panel ends and the upper begins."""


def training(fit: SiteFit) -> go.Figure:
    """Draw training loss, validation loss and share of undecided gates over the steps, with the kept step marked.

    Args:
        fit: The fit whose trace is drawn.

    Returns:
        A figure with three traces: training loss, validation loss (both in nats), and share of the heads with
        0.1 < alpha < 0.9.
    """
    trace, table = fit.trace, fit.trace_frame()
    lines = (
        ("training loss", np.arange(len(trace.loss)), trace.loss, PALETTE[5], "lines", ""),
        ("validation loss", table["step"], table["valid_loss"], PALETTE[1], "lines+markers", ""),
        ("share undecided", table["step"], table["undecided"], PALETTE[2], "lines+markers", "2"),
    )
    traces = [
        go.Scatter(
            name=name,
            x=np.asarray(steps),
            y=np.asarray(values),
            mode=mode,
            xaxis=f"x{panel}",
            yaxis=f"y{panel}",
            line={"color": color, "width": 1.6},
            marker={"size": 5, "symbol": "square" if panel else "circle"},
            hovertemplate=f"step %{{x}}<br>{name} %{{y:.3f}}<extra></extra>",
        )
        for name, steps, values, color, mode, panel in lines
    ]
    undecided = {"text": "undecided"}
    layout = dict(
        template=TEMPLATE,
        title=titled(f"training of {fit.task}", f"{fit.origin}, {fit.status}"),
        height=400,
        margin={"t": 118},
        legend={"orientation": "h", "x": 0, "y": 1.07, "yanchor": "bottom", "font": {"size": 11}},
        xaxis={"anchor": "y", "matches": "x2", "showticklabels": False},
        yaxis={"anchor": "x", "domain": [UPPER, 1], "title": {"text": "loss (nats)"}},
        xaxis2={"anchor": "y2", "title": {"text": "step"}, "rangemode": "tozero"},
        yaxis2={"anchor": "x2", "domain": [0, LOWER], "title": undecided, "range": [-0.03, 1.03], "dtick": 0.5},
    )
    return go.Figure(traces, layout | kept_mark(fit, ("", "2")))
