"""Head map: one number per head over layers and heads."""

import textwrap
from typing import Any

import numpy as np
import plotly.graph_objects as go

from site_lens.core.fits import SiteFit
from site_lens.core.records import Float32
from site_lens.core.scores import HeadGates, HeadScores
from site_lens.plots.style import GATE_SCALE, NO_HEAD, SIGNED_SCALE, TEMPLATE, index_axis, plain, titled


def head_map(record: HeadScores | SiteFit, *, title: str | None = None) -> go.Figure:
    """Draw one number per head as a heat map, layer 0 at the bottom.

    Gates are drawn on a fixed scale from 0 to 1, signed scores on a scale centred on zero, other scores from 0 up;
    places where the grid has no head are grey.

    Args:
        record: Scores or gates, or a fit, whose gates are drawn.
        title: Title of the figure; the task, else the selector, when None.

    Returns:
        A figure whose first trace holds the values (layer head), NaN where there is no head.
    """
    scores = record.gates if isinstance(record, SiteFit) else record
    n_layers, n_heads = scores.grid.shape
    figure = go.Figure(map_traces(scores))
    subtitle = f"{scores.selector}, one seed ({record.seed})" if isinstance(record, SiteFit) else scores.selector
    figure.update_layout(
        template=TEMPLATE,
        title=titled(title if title is not None else scores.task or scores.selector, subtitle),
        height=min(max(24 * n_layers + 130, 340), 760),
        coloraxis=color_axis([scores]),
        xaxis={"title": {"text": "head"}, **index_axis(n_heads)},
        yaxis={"title": {"text": "layer"}, **index_axis(n_layers)},
    )
    return figure


def map_traces(scores: HeadScores) -> list[go.Heatmap]:
    """Build the heat map of one record on `coloraxis`, and the grey one beneath it if places without a head exist."""
    mask = scores.grid.mask
    unit = "alpha" if isinstance(scores, HeadGates) else "score"
    gap = 1 if max(mask.shape) <= 16 else 0  # wider than a fifth of a cell, a gap would dim large maps
    values = go.Heatmap(
        z=np.where(mask, scores.values, np.nan),
        customdata=_ranks(scores),
        coloraxis="coloraxis",
        xgap=gap,
        ygap=gap,
        hoverongaps=False,
        hovertemplate=f"L%{{y}}H%{{x}}<br>layer %{{y}}, head %{{x}}<br>{unit} %{{z:.3f}}<br>"
        f"rank %{{customdata}} of {len(scores.grid)}<extra></extra>",
    )
    if mask.all():
        return [values]
    nothing = go.Heatmap(
        z=np.where(mask, np.nan, 0.0),
        colorscale=[[0, NO_HEAD], [1, NO_HEAD]],
        showscale=False,
        xgap=gap,
        ygap=gap,
        hoverongaps=False,
        hovertemplate="layer %{y} has no head %{x}<extra></extra>",
    )
    return [values, nothing]


def color_axis(maps: list[HeadScores]) -> dict[str, Any]:
    """Build the one colour scale of some maps, with its unit: [0, 1] for gates, centred on zero for signed scores."""
    if all(isinstance(scores, HeadGates) for scores in maps):
        return {"cmin": 0, "cmax": 1, "colorscale": GATE_SCALE, "colorbar": _colorbar("alpha")}
    limit = max(float(np.abs(scores.values).max()) for scores in maps) or 1.0
    signed = any(bool((scores.values < 0).any()) for scores in maps)
    return {
        "cmin": -limit if signed else 0,
        "cmax": limit,
        "colorscale": SIGNED_SCALE if signed else GATE_SCALE,
        "colorbar": _colorbar(maps[0].meaning),
    }


def _colorbar(unit: str) -> dict[str, Any]:
    lines = textwrap.wrap(unit, 32)
    return {"title": {"text": "<br>".join(plain(line) for line in lines), "side": "right"}}


def _ranks(scores: HeadScores) -> Float32:
    table = scores.frame()
    ranks = np.zeros(scores.grid.shape, dtype=np.float32)
    ranks[table["layer"], table["head"]] = table["rank"]
    return ranks
