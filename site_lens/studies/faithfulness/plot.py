"""Faithfulness: accuracy against the number of heads, one line an ordering, bands for random ones."""

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from site_lens.plots.theme import INK, PALETTE, TEMPLATE, plain, titled
from site_lens.studies.faithfulness.result import LAYER_MATCHED, RANDOM, REVERSED, SITE, Direction, Faithfulness

TITLES: dict[Direction, tuple[str, str]] = {
    "sufficiency": ("heads that carry the task alone", "the first k heads injected into zero-shot queries"),
    "necessity": (
        "heads that the task cannot do without",
        "the first k heads of few-shot prompts ablated to their mean",
    ),
    "interchange": (
        "heads that learn from demonstrations",
        "the first k heads of few-shot prompts say what they say behind shuffled labels",
    ),
}
LABELS = {
    SITE: "high alphas first",
    REVERSED: "low alphas first",
    RANDOM: "random",
    LAYER_MATCHED: "random, same layers",
}
COLOURS = {SITE: PALETTE[1], REVERSED: PALETTE[0], RANDOM: PALETTE[6], LAYER_MATCHED: PALETTE[4]}
OTHERS = (PALETTE[2], PALETTE[3], PALETTE[5])
DASHES = ("solid", "dash", "dot", "dashdot")
REFERENCES = (("zero_shot", "zero-shot"), ("few_shot", "few-shot"), ("own", "own fit"))

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
    curves = {name: record.draws(direction, name, task) for name in record.names}
    strangers = [name for name in curves if name not in LABELS]
    figure = go.Figure()
    for name, draws in curves.items():
        at = strangers.index(name) if name in strangers else 0
        colour = COLOURS.get(name, OTHERS[at % len(OTHERS)])
        if len(draws) > 1:
            figure.add_trace(_band(record.ks, draws, colour))
        figure.add_trace(_line(record.ks, draws.mean(0), LABELS.get(name, name), colour, DASHES[at // len(OTHERS) % 4]))
    n = len(record.grid)
    title, subtitle = TITLES[direction]
    whose = f"mean of {len(record.tasks)} tasks" if task is None else task
    ticks = [tick for tick in (*TICKS, n) if tick <= n and (tick == n or np.log1p(n) - np.log1p(tick) > 0.15)]
    figure.update_layout(
        template=TEMPLATE,
        title=titled(title, f"{subtitle}; {whose}"),
        height=420,
        margin={"t": 64, "b": 110, "l": 56, "r": 64},
        legend={"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top", "font": {"size": 11}},
        xaxis={"title": {"text": "number of heads"}, "tickvals": np.log1p(ticks), "ticktext": [str(k) for k in ticks]},
        yaxis={"title": {"text": "share of test queries right"}, "range": [-0.02, 1.02], "dtick": 0.25},
    )
    _mark(figure, {label: record.reference(name, task) for name, label in REFERENCES})
    return figure


def _line(ks: tuple[int, ...], values: NDArray[np.float32], label: str, colour: str, dash: str) -> go.Scatter:
    return go.Scatter(
        name=plain(label),
        mode="lines+markers",
        x=np.log1p(ks),
        y=values,
        customdata=ks,
        line={"color": colour, "width": 2, "dash": dash},
        marker={"size": 4},
        hovertemplate=plain(label).replace("%{", "% {") + "<br>%{customdata} heads<br>%{y:.3f}<extra></extra>",
    )


def _band(ks: tuple[int, ...], draws: NDArray[np.float32], colour: str) -> go.Scatter:
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


def _mark(figure: go.Figure, references: dict[str, float]) -> None:
    """Draw dotted lines; names stand below, on and above them in rising order, so that near ones can be read."""
    rising = sorted(references.values())
    taken: list[int] = []
    for label, value in references.items():
        place = next(i for i, one in enumerate(rising) if one == value and i not in taken)
        taken.append(place)
        figure.add_hline(
            y=value,
            line={"color": INK, "width": 1, "dash": "dot"},
            annotation={"text": label, "font": {"size": 10, "color": INK}, "xanchor": "left", "showarrow": False,
                        "yanchor": ("top", "middle", "bottom")[place]},
            annotation_position="right",
        )  # fmt: skip
