"""Alpha histogram: how the alphas of all heads spread to the two ends over the steps of a fit."""

import numpy as np
import plotly.graph_objects as go

from site_lens.plots._training import kept_mark
from site_lens.plots.head_grid import colorbar
from site_lens.plots.theme import DENSITY_SCALE, TITLE, figure
from site_lens.site.fit import SiteFit

N_BINS = 20


def alpha_histogram(fit: SiteFit) -> go.Figure:
    """Draw at every evaluation which share of the heads has which alpha: 20 bins from 0 to 1, the kept step marked.

    A map that becomes binary fills the lowest and the highest bin; bins without a head are left blank.

    Args:
        fit: The fit whose trace is drawn.

    Returns:
        A figure with one heat map (bin evaluation) of shares on a fixed scale from 0 to 1, NaN where a bin is empty.
    """
    alphas = np.clip(fit.trace.alphas[:, fit.gates.grid.mask], 0, 1)
    counts = np.stack([np.histogram(row, bins=N_BINS, range=(0, 1))[0] for row in alphas], axis=1)
    edges, n_heads = np.linspace(0, 1, N_BINS + 1), alphas.shape[1]
    cells = go.Heatmap(
        x=np.array(fit.trace.eval_steps),
        y=(edges[:-1] + edges[1:]) / 2,
        z=np.where(counts > 0, counts / n_heads, np.nan),
        customdata=counts,
        coloraxis="coloraxis",
        hoverongaps=False,
        hovertemplate="step %{x}<br>alpha around %{y:.3f}<br>"
        f"share of heads %{{z:.3f}} (%{{customdata}} of {n_heads})<extra></extra>",
    )
    return figure(
        [cells],
        f"Distribution of the alphas of {fit.task}",
        f"{fit.origin}, {n_heads} heads, {fit.status}",
        height=400,
        top=TITLE + 24,
        coloraxis={"cmin": 0, "cmax": 1, "colorscale": DENSITY_SCALE, "colorbar": colorbar("Share of heads")},
        xaxis={"title": {"text": "Step"}, "showgrid": False},
        yaxis={"title": {"text": "Alpha"}, "range": [0, 1], "dtick": 0.25},
        **kept_mark(fit),
    )
