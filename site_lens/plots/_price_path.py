"""Path of prices: accuracy and number of open heads of rounded gates as the price of a head rises."""

import numpy as np
import plotly.graph_objects as go

from site_lens.plots.theme import DOTTED, PALETTE, figure, in_template, vertical_lines
from site_lens.site.head_path import CONTENTS, Content, HeadPath

LOWER, UPPER = 0.42, 0.52
"""Heights, from 0 to 1, at which the lower panel ends and the upper begins."""

LABELS: dict[Content, str] = {
    "task": "task embedding", "zero": "zeros (gates alone)", "shuffled": "shuffled answers (null)",
}  # fmt: skip
COLOURS: dict[Content, str] = {"task": PALETTE[1], "zero": PALETTE[6], "shuffled": PALETTE[3]}


def price_path(path: HeadPath) -> go.Figure:
    """Draw accuracy on valid and open heads of the rounded gates against the price of a head.

    Args:
        path: The path of one task.

    Returns:
        A figure with two panels over the prices, in order: above the share of rows of valid that are right, below the
        number of open heads; a line for each content, the mean over fits, and a dot for each fit. Dotted lines are
        zero-shot and, where a set was chosen, its price.
    """
    prices = sorted({fit.price for fit in path.fits})
    contents = [content for content in CONTENTS if path.prices(content)]
    traces: list[go.Scatter] = []
    for content in contents:
        members = [path.of(content, price) for price in path.prices(content)]
        at = [f"{price:g}" for price in path.prices(content)]
        at_each = np.repeat(at, list(map(len, members)))
        dots = {"mode": "markers", "opacity": 0.5, "marker": {"color": COLOURS[content], "size": 5}}
        line = {"mode": "lines+markers", "name": LABELS[content], "line": {"color": COLOURS[content], "width": 2}}
        for panel, name, values in (("", "accuracy", path.right.mean(-1)), ("2", "open heads", path.n_open)):
            look = {"xaxis": f"x{panel}", "yaxis": f"y{panel}"}
            look["hovertemplate"] = f"price %{{x}}<br>{name} %{{y:.3~f}}<extra>{in_template(LABELS[content])}</extra>"
            each, means = np.concatenate([values[own] for own in members]), [values[own].mean() for own in members]
            traces.append(go.Scatter(x=at_each, y=each, showlegend=False, **dots, **look))
            traces.append(go.Scatter(x=at, y=means, showlegend=not panel, **line, **look))
    chosen, zero_shot = path.chosen, float(path.zero_shot_right.mean())
    shapes = [] if chosen is None else vertical_lines(prices.index(chosen.price), ("", "2"))
    shapes.append(DOTTED | {"x0": 0, "x1": 1, "xref": "x domain", "y0": zero_shot, "y1": zero_shot, "yref": "y"})
    order = {"categoryorder": "array", "categoryarray": [f"{price:g}" for price in prices]}
    return figure(
        traces,
        f"Heads of {path.task} under a price",
        "No set found" if chosen is None else f"Chosen: {len(chosen.heads)} of {len(path.model.grid)} heads",
        height=400,
        entries=[LABELS[content] for content in contents],
        xaxis={"anchor": "y", "type": "category", "showticklabels": False, "matches": "x2"} | order,
        yaxis={"anchor": "x", "domain": [UPPER, 1], "title": {"text": "Valid rows right"}, "range": [-0.03, 1.03]},
        xaxis2={"anchor": "y2", "type": "category", "title": {"text": "Price (nats a head)"}} | order,
        yaxis2={"anchor": "x2", "domain": [0, LOWER], "title": {"text": "Open heads"}, "rangemode": "tozero"},
        shapes=shapes,
    )
