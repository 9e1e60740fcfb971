"""Layer profile: in which layers the heads of some records lie."""

import math

import numpy as np
import plotly.graph_objects as go

from site_lens.diagnostics.overlap import Overlap
from site_lens.plots._accuracy import SYMBOLS
from site_lens.plots._similarity import short
from site_lens.plots.theme import NO_HEAD, PALETTE, TEMPLATE, index_axis, plain, titled
from site_lens.records.base import Float32

MOST_NAMED, LEGEND_WIDTH = 8, 16
"""Records with a line and a name of their own, and characters of it that fit twice into a phone's width."""


def layer_profile(record: Overlap) -> go.Figure:
    """Draw the mean score of the heads of each layer, one line a record; a layer without heads breaks the lines.

    Args:
        record: A comparison of head maps; its first eight records have colours and names, the others are grey lines.

    Returns:
        A figure with one trace for each of the first eight records, in their order; before them, if there are more
        records, one trace with the lines of all others, NaN between them.
    """
    heads = np.array(record.grid.heads_per_layer, dtype=np.float32)
    sums = np.where(record.grid.mask, record.scores, 0).sum(axis=2)
    means = np.divide(sums, heads, out=np.full_like(sums, np.nan), where=heads > 0)
    unit = "alpha" if record.gates else "score"
    named = [_line(name, index, mean, unit) for index, (name, mean) in enumerate(zip(record.names, means, strict=True))]
    figure = go.Figure(_others(record, means, unit) + named[:MOST_NAMED])
    top = 60 + 20 * math.ceil(len(figure.data) / 2)
    figure.update_layout(
        template=TEMPLATE,
        title=titled(f"mean {unit} by layer", f"{len(record.names)} records, {len(record.grid)} heads"),
        height=320 + top,
        margin={"t": top},
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "font": {"size": 11}},
        xaxis={"title": {"text": "layer"}, **index_axis(record.grid.n_layers)},
        yaxis={"title": {"text": f"mean {unit}"}, "rangemode": "tozero"},
    )
    return figure


def _line(name: str, index: int, mean: Float32, unit: str) -> go.Scatter:
    return go.Scatter(
        name=plain(short(name, width=LEGEND_WIDTH)),
        x=np.arange(len(mean)),
        y=mean,
        mode="lines+markers",
        line={"color": PALETTE[index % 6], "width": 1.6},  # the seventh colour is grey, like the others
        marker={"size": 6, "symbol": SYMBOLS[index % len(SYMBOLS)]},
        hovertemplate=plain(name).replace("%{", "% {") + f"<br>layer %{{x}}<br>mean {unit} %{{y:.3f}}<extra></extra>",
    )


def _others(record: Overlap, means: Float32, unit: str) -> list[go.Scatter]:
    names, rest = [plain(name) for name in record.names[MOST_NAMED:]], means[MOST_NAMED:]
    if not names:
        return []
    n_layers = record.grid.n_layers
    gap = np.full((len(rest), 1), np.nan, dtype=np.float32)
    line = go.Scatter(
        name=f"others ({len(names)})",
        x=np.tile(np.append(np.arange(n_layers), np.nan), len(rest))[:-1],
        y=np.hstack([rest, gap]).ravel()[:-1],
        customdata=np.repeat(names, n_layers + 1)[:-1].tolist(),
        mode="lines",
        line={"color": NO_HEAD, "width": 1},
        hovertemplate=f"%{{customdata}}<br>layer %{{x}}<br>mean {unit} %{{y:.3f}}<extra></extra>",
    )
    return [line]
