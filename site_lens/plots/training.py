"""Training: how the losses and the share of undecided gates went over the steps of a fit."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from site_lens.core.fits import SiteFit
from site_lens.plots.style import INK, PALETTE, TEMPLATE, titled


def training(fit: SiteFit) -> go.Figure:
    """Draw training loss, validation loss and share of undecided gates over the steps, with the kept step marked.

    Args:
        fit: The fit whose trace is drawn.

    Returns:
        A figure with three traces: training loss, validation loss (both in nats), and share of the heads with
        0.1 < alpha < 0.9.
    """
    trace, table = fit.trace, fit.trace_frame()
    figure = make_subplots(
        2,
        1,
        shared_xaxes=True,
        vertical_spacing=0.08,
        row_heights=[0.62, 0.38],
        figure=go.Figure(layout={"template": TEMPLATE}),
    )
    lines = (
        ("training loss", np.arange(len(trace.loss)), trace.loss, PALETTE[5], "lines", 1),
        ("validation loss", table["step"], table["valid_loss"], PALETTE[1], "lines+markers", 1),
        ("share undecided", table["step"], table["undecided"], PALETTE[2], "lines+markers", 2),
    )
    for name, steps, values, color, mode, row in lines:
        drawn = go.Scatter(
            name=name,
            x=np.asarray(steps),
            y=np.asarray(values),
            mode=mode,
            line={"color": color, "width": 1.6},
            marker={"size": 5, "symbol": "circle" if row == 1 else "square"},
            hovertemplate=f"step %{{x}}<br>{name} %{{y:.3f}}<extra></extra>",
        )
        figure.add_trace(drawn, row=row, col=1)
    figure.add_vline(fit.kept_step, line={"color": INK, "width": 1, "dash": "dot"}, row="all", col=1)
    figure.add_annotation(
        x=fit.kept_step, y=1, yref="y domain", yanchor="bottom", text=f"kept: step {fit.kept_step}", showarrow=False
    )
    figure.update_layout(
        title=titled(f"training of {fit.task}", f"one seed ({fit.seed}), {fit.status}"),
        height=400,
        margin={"t": 118},
        legend={"orientation": "h", "x": 0, "y": 1.07, "yanchor": "bottom", "font": {"size": 11}},
    )
    figure.update_xaxes(title_text="step", rangemode="tozero", row=2, col=1)
    figure.update_yaxes(title_text="loss (nats)", row=1, col=1)
    figure.update_yaxes(title_text="undecided", range=[-0.03, 1.03], dtick=0.5, row=2, col=1)
    return figure
