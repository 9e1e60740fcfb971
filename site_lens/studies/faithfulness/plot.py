"""Faithfulness: accuracy against the number of heads, one line an ordering, bands for random ones."""

from itertools import cycle, pairwise, product

import numpy as np
import plotly.graph_objects as go

from site_lens.plots.theme import GREY, LEGEND_BELOW, PALETTE, in_template, layout, plain
from site_lens.studies.faithfulness.result import LAYER_MATCHED, RANDOM, REVERSED, SITE, Direction, Faithfulness

TITLES: dict[Direction, tuple[str, str]] = {
    "sufficiency": ("Heads that carry the task alone", "The first k heads injected into zero-shot queries"),
    "necessity": ("Heads that the task cannot do without", "The first k heads of few-shot prompts ablated"),
    "interchange": (
        "Heads that learn from demonstrations",
        "The first k heads of few-shot prompts as behind shuffled labels",
    ),
}
LABELS = {
    SITE: "high alphas first",
    REVERSED: "low alphas first",
    RANDOM: "random",
    LAYER_MATCHED: "random, same layers",
    "site_path": "open at the highest price first",
}
COLOURS = {SITE: PALETTE[1], REVERSED: PALETTE[0], RANDOM: PALETTE[6], LAYER_MATCHED: PALETTE[4]}
OTHERS = (PALETTE[2], PALETTE[3], PALETTE[5])
DASHES = ("solid", "dash", "dot", "dashdot")
REFERENCES = (("zero_shot", "zero-shot"), ("few_shot", "few-shot"), ("own", "own fit"))

NAME_HEIGHT = 0.055
"""Height of a reference's name beside the plot, as an accuracy."""

TICKS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


def faithfulness(record: Faithfulness, *, direction: Direction = "sufficiency", task: str | None = None) -> go.Figure:
    """Draw accuracy against the number of heads, which runs along log(1 + k): what is below a line is its area.

    Args:
        record: What was measured.
        direction: The first k heads alone, or all but them.
        task: One task; the mean over tasks, each counting once, when None.

    Returns:
        A figure with a line for every ordering, the mean over its draws, and before it a band from the lowest to the
        highest draw where there are several. Dotted lines are zero-shot, few-shot, and the fit with its soft alphas.

    Raises:
        InputError: There is no such direction or task.
    """
    traces, looks = [], cycle(product(DASHES, OTHERS))
    for name in record.names:
        draws = record.draws(direction, name, task)
        dash, colour = (DASHES[0], COLOURS[name]) if name in COLOURS else next(looks)
        if len(draws) > 1:
            traces.append(_band(record.ks, draws, colour))
        traces.append(_line(record.ks, draws.mean(0), LABELS.get(name, name), colour, dash))
    n = len(record.grid)
    ticks = [tick for tick in (*TICKS, n) if tick <= n and (tick == n or np.log1p(n) - np.log1p(tick) > 0.15)]
    axis = {"tickvals": np.log1p(ticks), "ticktext": list(map(str, ticks))}
    title, subtitle = TITLES[direction]
    figure = go.Figure(
        traces,
        layout(
            title,
            f"{subtitle}; {f'mean of {len(record.tasks)} tasks' if task is None else task}",
            height=420,
            margin={"b": 110, "r": 64},
            legend=LEGEND_BELOW | {"y": -0.2},
            xaxis=axis | {"title": {"text": "Number of heads"}},
            yaxis={"title": {"text": "Share of test queries right"}, "range": [-0.02, 1.02], "dtick": 0.25},
        ),
    )
    levels = [record.reference(name, task) for name, _ in REFERENCES]
    beside = {"x": 1, "xref": "paper", "xanchor": "left", "yanchor": "middle", "font": {"size": 10}}
    for (_, label), level, height in zip(REFERENCES, levels, _apart(levels), strict=True):
        figure.add_hline(y=level, line={"color": GREY, "width": 1, "dash": "dot"})
        figure.add_annotation(text=label, y=height, showarrow=False, **beside)
    return figure


def _apart(levels: list[float]) -> list[float]:
    """Move the heights of names so far apart that near ones can be read."""
    order = np.argsort(levels, kind="stable")
    places = np.array(levels, dtype=float)
    for below, i in pairwise(order):
        places[i] = max(places[i], places[below] + NAME_HEIGHT)
    return list(places - max(0, places.max() - 1))


def _line(ks: tuple[int, ...], values: np.ndarray, label: str, colour: str, dash: str) -> go.Scatter:
    return go.Scatter(
        name=plain(label),
        mode="lines+markers",
        x=np.log1p(ks),
        y=values,
        customdata=ks,
        line={"color": colour, "width": 2, "dash": dash},
        marker={"size": 4},
        hovertemplate=f"{in_template(label)}<br>%{{customdata}} heads<br>%{{y:.3f}}<extra></extra>",
    )


def _band(ks: tuple[int, ...], draws: np.ndarray, colour: str) -> go.Scatter:
    """Draw from the lowest to the highest draw, as one closed line."""
    x = np.log1p(ks)
    return go.Scatter(
        x=np.concatenate([x, x[::-1]]),
        y=np.concatenate([draws.max(0), draws.min(0)[::-1]]),
        fill="toself",
        fillcolor=colour,
        opacity=0.18,
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
    )
