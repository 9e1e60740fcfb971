"""Alpha paths: how the alpha of every head went over the steps of a fit."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from site_lens.plots.theme import INK, NO_HEAD, PALETTE, TEMPLATE, titled
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
    heads = fit.frame().sort_values("rank")[["layer", "head", "rank"]].to_numpy()
    paths = fit.trace.alphas[:, heads[:, 0], heads[:, 1]].T
    most = min(most, len(heads))
    every = _line(fit, heads, paths) | {"name": "all heads", "mode": "lines", "line": {"color": NO_HEAD, "width": 1}}
    coloured = [
        _line(fit, head[None], path[None])
        | {
            "name": f"L{head[0]}H{head[1]}",
            "mode": "lines+markers",
            "line": {"color": PALETTE[index % 6], "width": 1.8},  # the seventh colour is grey
            "marker": {"size": 4},
        }
        for index, (head, path) in enumerate(zip(heads[:most], paths, strict=False))
    ]
    layout = {
        "template": TEMPLATE,
        "title": titled(f"alpha of {fit.task}", f"{fit.origin}; coloured: the {most} highest of {len(heads)}"),
        "height": 400,
        "margin": {"t": 84},
        "showlegend": False,
        "xaxis": {"title": {"text": "step"}},
        "yaxis": {"title": {"text": "alpha"}, "range": [-0.02, 1.02], "dtick": 0.25},
    }
    return go.Figure([every, *coloured], layout | kept_mark(fit))


def kept_mark(fit: SiteFit, axes: Sequence[str] = ("",)) -> dict[str, Any]:
    """Mark the kept step: a dotted line through the panels with these axes, and its number above the first."""
    share = fit.kept_step / max([*fit.trace.eval_steps, 1])
    side = "left" if share < 1 / 3 else "right" if share > 2 / 3 else "center"  # the text stays inside the figure
    line = {"type": "line", "x0": fit.kept_step, "x1": fit.kept_step, "y0": 0, "y1": 1,
            "line": {"color": INK, "width": 1, "dash": "dot"}}  # fmt: skip
    text = {"x": fit.kept_step, "xanchor": side, "y": 1, "yref": f"y{axes[0]} domain", "yanchor": "bottom",
            "text": f"kept: step {fit.kept_step}", "showarrow": False}  # fmt: skip
    return {
        "shapes": [line | {"xref": f"x{axis}", "yref": f"y{axis} domain"} for axis in axes],
        "annotations": [text],
    }


def _line(fit: SiteFit, heads: Float32, paths: Float32) -> dict[str, Any]:
    """Build one trace of the paths (head evaluation) of some heads (head, (layer, head, rank))."""
    gap = np.full((len(paths), 1), np.nan)
    steps = np.broadcast_to(np.array(fit.trace.eval_steps), paths.shape)
    return {
        "x": np.hstack([steps, gap]).ravel()[:-1],
        "y": np.hstack([paths, gap]).ravel()[:-1],
        "customdata": np.repeat(heads, paths.shape[1] + 1, axis=0)[:-1],
        "hovertemplate": "L%{customdata[0]}H%{customdata[1]}<br>layer %{customdata[0]}, head %{customdata[1]}<br>"
        f"step %{{x}}<br>alpha %{{y:.3f}}<br>rank %{{customdata[2]}} of {len(fit.gates.grid)}<extra></extra>",
    }
