"""Training: how the losses and the share of undecided gates went over the steps of a fit."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from site_lens.plots.theme import PALETTE, TITLE, figure, vertical_lines
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
    share = {"title": {"text": "Undecided"}, "range": [-0.03, 1.03], "dtick": 0.5}
    return figure(
        traces,
        f"Training of {fit.task}",
        f"{fit.origin}, {fit.status}",
        height=370,
        top=TITLE + 24,
        entries=[name for name, *_ in lines],
        xaxis={"anchor": "y", "matches": "x2", "showticklabels": False},
        yaxis={"anchor": "x", "domain": [UPPER, 1], "title": {"text": "Loss (nats)"}},
        xaxis2={"anchor": "y2", "title": {"text": "Step"}, "rangemode": "tozero"},
        yaxis2={"anchor": "x2", "domain": [0, LOWER]} | share,
        **kept_mark(fit, ("", "2")),
    )


def kept_mark(fit: SiteFit, axes: Sequence[str] = ("",)) -> dict[str, Any]:
    """Mark the kept step: a dotted line through the panels with these axes, and its number above the first."""
    share = fit.kept_step / max([*fit.trace.eval_steps, 1])
    side = "left" if share < 1 / 3 else "right" if share > 2 / 3 else "center"  # the text stays inside the figure
    text = {"x": fit.kept_step, "xanchor": side, "y": 1, "yref": f"y{axes[0]} domain", "yanchor": "bottom",
            "text": f"kept: step {fit.kept_step}", "showarrow": False}  # fmt: skip
    return {"shapes": vertical_lines(fit.kept_step, axes), "annotations": [text]}
