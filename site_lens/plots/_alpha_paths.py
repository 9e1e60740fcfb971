"""Alpha paths: how the alphas of all heads went over the steps of a fit, and which heads changed sides."""

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from site_lens.plots._training import kept_mark
from site_lens.plots.theme import GREY, PALETTE, SYMBOLS, TITLE, figure
from site_lens.records.base import Float32
from site_lens.records.errors import InputError
from site_lens.site.fit import SiteFit

BANDS = ((0, 1, 0.14), (0.1, 0.9, 0.2), (0.25, 0.75, 0.3))
"""Lower and upper quantile, and opacity, of the fan."""


def alpha_paths(fit: SiteFit, *, most: int = 6) -> go.Figure:
    """Draw the alphas of all heads as a fan of quantiles, and in colour the heads that changed sides.

    A head changed sides where its alpha crossed 0.5 after the first evaluation, at which most fits stand near 0.5. Of
    more than `most` heads, those that went furthest to both sides are drawn.

    Args:
        fit: The fit whose trace is drawn.
        most: Heads to draw in colour.

    Returns:
        A figure whose first traces are the fan: bands from the lowest to the highest alpha, from the 10th to the 90th
        percentile and between the quartiles, and the median; then follows one trace a head that changed sides.

    Raises:
        InputError: `most` is negative.
    """
    if most < 0:
        raise InputError(f"most cannot be negative, got {most}")
    heads = fit.frame().sort_values("rank", kind="stable")[["layer", "head", "rank"]].to_numpy()
    alphas = fit.trace.alphas[:, heads[:, 0], heads[:, 1]]
    changed = _changed(alphas)
    steps = np.array(fit.trace.eval_steps)
    coloured = [
        go.Scatter(
            name=f"L{layer}H{head}",
            x=steps,
            y=alphas[:, i],
            mode="lines+markers",
            marker={"size": 5, "symbol": SYMBOLS[place % len(SYMBOLS)]},
            line={"color": PALETTE[place % 6], "width": 1.8},  # the seventh colour is grey
            hovertemplate=f"L{layer}H{head}<br>step %{{x}}<br>alpha %{{y:.3f}}<br>"
            f"rank {rank} of {len(heads)}<extra></extra>",
        )
        for place, i in enumerate(changed[:most])
        for layer, head, rank in [heads[i]]
    ]
    shown = f", {len(coloured)} of them in colour" if len(changed) > len(coloured) else ""
    return figure(
        [*_fan(steps, alphas), *coloured],
        f"Alphas of {fit.task} over the steps",
        f"{fit.origin}; grey: quantiles of {len(heads)} heads; {len(changed)} changed sides{shown}",
        height=380,
        top=TITLE + 24,
        entries=[trace.name for trace in coloured],
        xaxis={"title": {"text": "Step"}},
        yaxis={"title": {"text": "Alpha"}, "range": [-0.02, 1.02], "dtick": 0.25},
        **kept_mark(fit),
    )


def _changed(alphas: Float32) -> list[int]:
    """Return the heads that changed sides, in falling order of the way that they went to the nearer side."""
    later = alphas[1:]
    way = np.minimum(later.max(axis=0, initial=0) - 0.5, 0.5 - later.min(axis=0, initial=1))
    return [int(i) for i in np.argsort(-way, kind="stable") if way[i] > 0]


def _fan(steps: NDArray[np.int64], alphas: Float32) -> list[go.Scatter]:
    area = {"fill": "toself", "fillcolor": GREY, "line": {"width": 0}, "mode": "lines", "hoverinfo": "skip"}
    bands = [
        go.Scatter(
            x=np.concatenate([steps, steps[::-1]]),
            y=np.concatenate([np.quantile(alphas, high, axis=1), np.quantile(alphas, low, axis=1)[::-1]]),
            opacity=opacity,
            showlegend=False,
            **area,
        )
        for low, high, opacity in BANDS
    ]
    median = go.Scatter(
        name="median",
        x=steps,
        y=np.median(alphas, axis=1),
        mode="lines",
        line={"color": GREY, "width": 1.5},
        hovertemplate="step %{x}<br>median alpha %{y:.3f}<extra></extra>",
        showlegend=False,
    )
    return [*bands, median]
