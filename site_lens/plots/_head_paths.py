"""Head paths: how the alpha of one head went over the steps of some fits."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from site_lens.heads.head_set import Head
from site_lens.plots.theme import PALETTE, TEMPLATE, plain, titled
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
    chosen = Head.parse(head) if isinstance(head, str) else head
    if not fits:
        raise InputError("there are no fits to draw; fit a task first")
    for fit in fits:
        if chosen not in fit.gates.grid:
            raise InputError(f"{chosen} is not in the grid of {fit.task!r}, {fit.gates.grid}")
    tasks = list(dict.fromkeys(fit.task for fit in fits))
    colours = {task: PALETTE[i % 6] for i, task in enumerate(tasks)}  # the seventh colour is grey
    seeds = list(dict.fromkeys(fit.seed for fit in fits))
    dashes = {seed: DASHES[i % len(DASHES)] for i, seed in enumerate(seeds)}
    figure = go.Figure([_line(fit, chosen, {"color": colours[fit.task], "dash": dashes[fit.seed]}) for fit in fits])
    named = ", ".join(map(str, seeds))
    figure.update_layout(
        template=TEMPLATE,
        title=titled(f"alpha of {chosen} over the steps", f"{', '.join(tasks)}; seeds: {named}; large dot: kept step"),
        height=280,
        showlegend=len(fits) > 1,
        legend={"orientation": "h", "x": 0, "y": -0.25, "yanchor": "top", "font": {"size": 11}},
        xaxis={"title": {"text": "step"}},
        yaxis={"title": {"text": "alpha"}, "range": [-0.02, 1.02], "dtick": 0.25},
    )
    return figure


def _line(fit: SiteFit, head: Head, line: dict[str, Any]) -> go.Scatter:
    steps = list(fit.trace.eval_steps)
    marker: dict[str, Any] = {"size": [11 if step == fit.kept_step else 4 for step in steps]}
    return go.Scatter(
        x=steps,
        y=fit.trace.alphas[:, head.layer, head.head],
        name=plain(f"{fit.task}, seed {fit.seed}"),
        mode="lines+markers",
        line=line | {"width": 1.8},
        marker=marker,
        hovertemplate=plain(f"{fit.task}, seed {fit.seed}").replace("%{", "% {")
        + "<br>step %{x}<br>alpha %{y:.3f}<extra></extra>",
    )
