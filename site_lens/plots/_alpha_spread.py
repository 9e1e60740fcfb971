"""Alpha spread: what several seeds of one task agree on, and where they differ."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from site_lens.heads.scores import HeadGates
from site_lens.plots._head_map import grid_traces, map_height, ranks
from site_lens.plots._similarity import TOP, bar_on_top
from site_lens.plots.theme import GATE_SCALE, TEMPLATE, index_axis, titled
from site_lens.records.errors import InputError, MismatchError
from site_lens.site.fit import SiteFit, SiteFits

MOST_SPREAD = 0.5
"""The largest standard deviation that numbers in [0, 1] can have: half of them 0, half of them 1."""


def alpha_spread(fits: SiteFits | Sequence[SiteFit]) -> go.Figure:
    """Draw mean and standard deviation of alpha over the seeds of one task side by side, layer 0 at the bottom.

    The standard deviation is that of the seeds at hand (divided by their number), from 0 to 0.5. Of a single seed
    there is none: then only the alphas are drawn.

    Args:
        fits: Fits of one task and one model, each of another seed, otherwise of the same settings.

    Returns:
        A figure with the heat map (layer head) of the means on a scale from 0 to 1, then that of the standard
        deviations on a scale from 0 to 0.5; each is followed by the grey one of places without a head, if any.

    Raises:
        InputError: There are no fits, or they differ in task or settings, or a seed comes twice.
        MismatchError: The fits have different grids or were made on different models.
    """
    found = list(fits.values()) if isinstance(fits, SiteFits) else list(fits)
    _need_one_task(found)
    first, several = found[0], len(found) > 1
    figure = make_subplots(1, 1 + several, horizontal_spacing=0.12, figure=go.Figure(layout={"template": TEMPLATE}))
    for column, trace in _maps(found):
        figure.add_trace(trace, row=1, col=column)
    n_layers, n_heads = first.gates.grid.shape
    seeds = f"{len(found)} seeds" if several else f"one seed ({first.seed}): no spread to show"
    height = map_height(n_layers) + TOP - 64
    figure.update_layout(title=titled(first.task, seeds), height=height, margin={"t": TOP})
    figure.update_xaxes(title_text="head", **index_axis(n_heads, most_ticks=8))
    figure.update_yaxes(**index_axis(n_layers))
    figure.update_yaxes(title_text="layer", row=1, col=1)
    bars = [("mean alpha" if several else "alpha", 1.0), ("std. dev.", MOST_SPREAD)]
    for column, (unit, limit) in enumerate(bars[: 1 + several], start=1):
        domain = figure.get_subplot(1, column).xaxis.domain
        bar = bar_on_top(unit, height, ticks=[0, limit / 2, limit]) | {"x": domain[0]}
        axis = {"cmin": 0, "cmax": limit, "colorscale": GATE_SCALE, "colorbar": bar}
        figure.update_layout({"coloraxis" if column == 1 else "coloraxis2": axis})
    return figure


def _maps(fits: list[SiteFit]) -> list[tuple[int, go.Heatmap]]:
    """Build the maps with the column in which each stands."""
    grid, n = fits[0].gates.grid, len(fits)
    alphas = np.stack([fit.gates.values for fit in fits])
    mean, spread = alphas.mean(axis=0), alphas.std(axis=0)
    numbers = np.stack([mean, spread, ranks(HeadGates(grid=grid, values=mean))], axis=2)
    lines = ["alpha %{customdata[0]:.3f}", f"rank %{{customdata[2]}} of {len(grid)}"]
    if n == 1:
        return [(1, trace) for trace in grid_traces(mean, grid, numbers, lines)]
    lines = ["mean " + lines[0], f"standard deviation %{{customdata[1]:.3f}}, {n} seeds", lines[1] + " by mean"]
    left, right = (grid_traces(values, grid, numbers, lines) for values in (mean, spread))
    right[0].coloraxis = "coloraxis2"
    return [(1, trace) for trace in left] + [(2, trace) for trace in right]


def _need_one_task(fits: list[SiteFit]) -> None:
    if not fits:
        raise InputError("there are no fits to draw; fit one task with several seeds first")
    tasks, seeds = list(dict.fromkeys(fit.task for fit in fits)), [fit.seed for fit in fits]
    if len(tasks) > 1:
        raise InputError(f"a spread over seeds is one of a single task, got {', '.join(tasks[:4])}; use fits.of(task)")
    if len({fit.gates.grid for fit in fits}) > 1:
        raise MismatchError(f"the fits have different grids: {', '.join(str(fit.gates.grid) for fit in fits)}")
    if len({fit.embedding.model.weights_digest for fit in fits}) > 1:
        raise MismatchError("the fits were made on models of different weights; draw those of each model alone")
    if len(set(seeds)) < len(seeds):
        raise InputError(f"needs each seed once, got {seeds}")
    if len({fit.config.replace(seed=0) for fit in fits}) > 1:
        raise InputError("the fits differ in more than their seed; draw those of the same settings alone")
