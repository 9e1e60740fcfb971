"""Alpha spread: what several seeds of one task agree on, and where they differ."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from site_lens.heads.scores import HeadGates
from site_lens.plots.head_grid import grid_axes, grid_traces, map_size, ranks
from site_lens.plots.theme import TOP, color_axis, figure
from site_lens.records.errors import InputError, MismatchError
from site_lens.site.fit import SiteFit, SiteFits

MOST_SPREAD = 0.5
"""The largest standard deviation that numbers in [0, 1] can have: half of them 0, half of them 1."""

LEFT, RIGHT = (0, 0.44), (0.56, 1)
"""Parts of the width that the two maps take."""


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
        MismatchError: The fits were made on different models.
    """
    seeds = list(fits.values()) if isinstance(fits, SiteFits) else list(fits)
    _need_seeds_of_one_task(seeds)
    first, n = seeds[0], len(seeds)
    grid = first.gates.grid
    alphas = np.stack([fit.gates.values for fit in seeds])
    mean, spread = alphas.mean(axis=0), alphas.std(axis=0)
    numbers = np.stack([mean, spread, ranks(HeadGates(grid=grid, values=mean))], axis=2)
    width, height = map_size(grid, n_maps=min(n, 2))
    height += TOP - 56
    rank = f"rank %{{customdata[2]}} of {len(grid)}"
    if n == 1:
        subtitle = f"One seed ({first.seed}): no spread to show"
        traces = grid_traces(mean, grid, numbers, ["alpha %{customdata[0]:.3f}", rank])
        parts = grid_axes(grid, most_ticks=(8, 12)) | {"coloraxis": color_axis("Alpha", height)}
    else:
        subtitle = f"{n} seeds"
        deviation = f"standard deviation %{{customdata[1]:.3f}}, {n} seeds"
        lines = ["mean alpha %{customdata[0]:.3f}", deviation, f"{rank} by mean"]
        traces = grid_traces(mean, grid, numbers, lines)
        traces += grid_traces(spread, grid, numbers, lines, panel=2, coloraxis="coloraxis2")
        parts = grid_axes(grid, x=LEFT, most_ticks=(8, 12)) | {"coloraxis": color_axis("Mean alpha", height)}
        parts["coloraxis2"] = color_axis("Std. dev.", height, high=MOST_SPREAD)
        parts["coloraxis2"]["colorbar"]["x"] = RIGHT[0]
        parts |= grid_axes(grid, panel=2, x=RIGHT, most_ticks=(8, 12), titles=(True, False))
    return figure(traces, first.task, subtitle, width=width, height=height, top=TOP, **parts)


def _need_seeds_of_one_task(fits: list[SiteFit]) -> None:
    if not fits:
        raise InputError("there are no fits to draw; fit one task with several seeds first")
    tasks, seeds = list(dict.fromkeys(fit.task for fit in fits)), [fit.seed for fit in fits]
    if len(tasks) > 1:
        raise InputError(f"a spread over seeds is one of a single task, got {', '.join(tasks[:4])}; use fits.of(task)")
    if len({fit.embedding.model.weights_digest for fit in fits}) > 1:
        raise MismatchError("the fits were made on models of different weights; draw those of each model alone")
    if len(set(seeds)) < len(seeds):
        raise InputError(f"needs each seed once, got {seeds}")
    if len({fit.config.replace(seed=0) for fit in fits}) > 1:
        raise InputError("the fits differ in more than their seed; draw those of the same settings alone")
