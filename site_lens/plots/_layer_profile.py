"""Layer profile: in which layers the heads of some records lie."""

import numpy as np
import plotly.graph_objects as go

from site_lens.diagnostics.head_overlap import Overlap
from site_lens.plots.theme import NO_HEAD, PALETTE, SYMBOLS, TITLE, figure, in_template, index_axis, plain, short
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
    hover = f"<br>layer %{{x}}<br>mean {unit} %{{y:.3f}}<extra></extra>"
    named = [
        go.Scatter(
            name=plain(short(name, width=LEGEND_WIDTH)),
            x=np.arange(len(mean)),
            y=mean,
            mode="lines+markers",
            line={"color": PALETTE[index % 6], "width": 1.6},  # the seventh colour is grey, like the others
            marker={"size": 6, "symbol": SYMBOLS[index % len(SYMBOLS)]},
            hovertemplate=in_template(name) + hover,
        )
        for index, (name, mean) in enumerate(zip(record.names[:MOST_NAMED], means, strict=False))
    ]
    others = [_others(record.names[MOST_NAMED:], means[MOST_NAMED:], hover)] if len(means) > MOST_NAMED else []
    return figure(
        others + named,
        f"Mean {unit} by layer",
        f"{len(record.names)} records, {len(record.grid)} heads",
        height=320 + TITLE + 8,
        entries=[trace.name for trace in others + named],
        xaxis={"title": {"text": "Layer"}, **index_axis(record.grid.n_layers)},
        yaxis={"title": {"text": f"Mean {unit}"}, "rangemode": "tozero"},
    )


def _others(names: tuple[str, ...], means: Float32, hover: str) -> go.Scatter:
    """Build one trace of the lines of all further records."""
    n_layers = means.shape[1]
    return go.Scatter(
        name=f"others ({len(names)})",
        x=np.tile(np.append(np.arange(n_layers), np.nan), len(names))[:-1],
        y=np.pad(means, ((0, 0), (0, 1)), constant_values=np.nan).ravel()[:-1],
        customdata=np.repeat(list(map(plain, names)), n_layers + 1)[:-1].tolist(),
        mode="lines",
        line={"color": NO_HEAD, "width": 1},
        hovertemplate="%{customdata}" + hover,
    )
