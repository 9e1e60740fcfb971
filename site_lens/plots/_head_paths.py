"""Head paths: how the alpha of one head went over the steps of some fits."""

from collections.abc import Sequence

import plotly.graph_objects as go

from site_lens.heads.head_set import Head
from site_lens.plots.theme import LEGEND_BELOW, PALETTE, figure, in_template, plain
from site_lens.records.errors import InputError
from site_lens.site.fit import SiteFit

DASHES = ("solid", "dot", "dash", "dashdot", "longdash")


def head_paths(fits: Sequence[SiteFit], head: Head | str) -> go.Figure:
    """Draw the alpha of one head over the steps, one line a fit; tasks differ in colour, seeds in their dashes.

    Args:
        fits: Fits of one or several tasks and seeds.
        head: The head.

    Returns:
        A figure with one trace a fit, whose kept step is a large dot.

    Raises:
        InputError: There are no fits, or one of them has no such head.
    """
    head = Head.parse(head) if isinstance(head, str) else head
    if not fits:
        raise InputError("there are no fits to draw; fit a task first")
    for fit in fits:
        if head not in fit.gates.grid:
            raise InputError(f"{head} is not in the grid of {fit.task!r}, {fit.gates.grid}")
    tasks = list(dict.fromkeys(fit.task for fit in fits))
    seeds = list(dict.fromkeys(fit.seed for fit in fits))
    lines = [
        go.Scatter(
            x=fit.trace.eval_steps,
            y=fit.trace.alphas[:, head.layer, head.head],
            name=plain(f"{fit.task}, seed {fit.seed}"),
            mode="lines+markers",
            line={
                "color": PALETTE[tasks.index(fit.task) % 6],  # the seventh colour is grey
                "dash": DASHES[seeds.index(fit.seed) % len(DASHES)],
                "width": 1.8,
            },
            marker={"size": [11 if step == fit.kept_step else 4 for step in fit.trace.eval_steps]},
            hovertemplate=in_template(f"{fit.task}, seed {fit.seed}")
            + "<br>step %{x}<br>alpha %{y:.3f}<extra></extra>",
        )
        for fit in fits
    ]
    return figure(
        lines,
        f"Alpha of {head} over the steps",
        f"{', '.join(tasks)}; seeds: {', '.join(map(str, seeds))}; large dot: kept step",
        height=280,
        showlegend=len(fits) > 1,
        legend=LEGEND_BELOW | {"y": -0.25},
        xaxis={"title": {"text": "Step"}},
        yaxis={"title": {"text": "Alpha"}, "range": [-0.02, 1.02], "dtick": 0.25},
    )
