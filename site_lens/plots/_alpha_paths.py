"""Alpha paths: how the alpha of every head went over the steps of a fit."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from site_lens.plots._training import kept_mark
from site_lens.plots.theme import NO_HEAD, PALETTE, layout
from site_lens.records.base import Float32
from site_lens.records.errors import InputError
from site_lens.site.fit import SiteFit


def alpha_paths(fit: SiteFit, *, most: int = 12) -> go.Figure:
    """Draw the alpha of every head over the steps: the highest in colour, the others as faint lines.

    The highest are those of the gates that the fit kept, so that ranks are those of its head map.

    Args:
        fit: The fit whose trace is drawn.
        most: Heads of highest kept alpha to draw in colour; all heads if there are fewer.

    Returns:
        A figure whose first trace holds the paths of all heads in order of rank, NaN between them; then follows one
        trace a head drawn in colour, in order of rank.

    Raises:
        InputError: `most` is not positive.
    """
    if most < 1:
        raise InputError(f"most must be at least 1, got {most}")
    heads = fit.frame().sort_values("rank", kind="stable")[["layer", "head", "rank"]].to_numpy()
    paths = fit.trace.alphas[:, heads[:, 0], heads[:, 1]].T
    most = min(most, len(heads))
    every = _line(fit, heads, paths, name="all heads", mode="lines", line={"color": NO_HEAD, "width": 1})
    coloured = [
        _line(fit, head[None], path[None], name=f"L{head[0]}H{head[1]}", mode="lines+markers", marker={"size": 4},
              line={"color": PALETTE[index % 6], "width": 1.8})  # the seventh colour is grey
        for index, (head, path) in enumerate(zip(heads[:most], paths, strict=False))
    ]  # fmt: skip
    return go.Figure(
        [every, *coloured],
        layout(
            f"alpha of {fit.task}",
            f"{fit.origin}; coloured: the {most} highest of {len(heads)}",
            height=400,
            top=84,
            showlegend=False,
            xaxis={"title": {"text": "step"}},
            yaxis={"title": {"text": "alpha"}, "range": [-0.02, 1.02], "dtick": 0.25},
            **kept_mark(fit),
        ),
    )


def _line(fit: SiteFit, heads: NDArray[np.int64], paths: Float32, **look: Any) -> go.Scatter:
    """Build one trace of the paths (head evaluation) of some heads (head, (layer, head, rank))."""
    gap = np.full((len(paths), 1), np.nan)
    steps = np.broadcast_to(np.array(fit.trace.eval_steps), paths.shape)
    return go.Scatter(
        x=np.hstack([steps, gap]).ravel()[:-1],
        y=np.hstack([paths, gap]).ravel()[:-1],
        customdata=np.repeat(heads, paths.shape[1] + 1, axis=0)[:-1],
        hovertemplate="L%{customdata[0]}H%{customdata[1]}<br>layer %{customdata[0]}, head %{customdata[1]}<br>"
        f"step %{{x}}<br>alpha %{{y:.3f}}<br>rank %{{customdata[2]}} of {len(fit.gates.grid)}<extra></extra>",
        **look,
    )
