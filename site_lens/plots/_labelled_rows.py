"""Labelled rows: what accuracy methods reach with how many labelled examples."""

import numpy as np
import plotly.graph_objects as go

from site_lens.methods.method_table import MethodSummary, MethodTable
from site_lens.methods.registry import method_label, method_look
from site_lens.plots.theme import GREY, PALETTE, error_bars, figure, plain
from site_lens.stats.intervals import Interval

NAME_WIDTH = 22
"""Characters of a method's name beside its dot; hover labels have the full one."""

APART = 0.035
"""Difference in accuracy from which on two names at the same place stand apart."""


def labelled_rows(record: MethodTable) -> go.Figure:
    """Draw the mean accuracy of every method against the labelled rows it used, on a logarithmic axis that begins at 0.

    Args:
        record: A comparison of methods.

    Returns:
        A figure of two traces: a stair through the methods that none with as few labelled rows equals, then all
        methods. The x of a method is log10(1 + rows), of the task for which it used most. Names stand beside the
        methods on the stair and the references, as far as they stand apart.
    """
    stair = record.frontier()
    most = max(method.most_rows for method in record.summaries)
    end = float(np.log10(1 + max(most, 9)))
    ticks = [0, *(10**power for power in range(int(np.ceil(np.log10(max(most, 10)))) + 1))]
    line = go.Scatter(
        mode="lines",
        x=[*map(_place, stair), end],
        y=[*(method.value for method in stair), stair[-1].value],
        line={"color": GREY, "width": 1, "shape": "hv"},
        hoverinfo="skip",
    )
    return figure(
        [line, _dots(record, end)],
        "Accuracy and labelled rows",
        "Line: the best with so many labelled rows or fewer",
        height=420,
        margin={"b": 56, "l": 48},
        showlegend=False,
        xaxis={"title": {"text": "Labelled rows used for a task"}, "tickmode": "array",
               "tickvals": np.log10(1 + np.array(ticks)), "ticktext": [f"{tick:,}" for tick in ticks],
               "range": [-0.04 * end, 1.04 * end]},
        yaxis={"title": {"text": f"Mean accuracy ({record.metric.replace('_', ' ')})"}, "range": [-0.02, 1.06],
               "dtick": 0.25},
    )  # fmt: skip


def _place(method: MethodSummary) -> float:
    return float(np.log10(1 + method.most_rows))


def _dots(record: MethodTable, end: float) -> go.Scatter:
    methods, stair, named = record.summaries, record.frontier(), _named(record)
    means = [Interval(method.value, method.low, method.high, len(record.shared)) for method in methods]
    looks = [method_look(method.method) or 0 if method.method in record.against else None for method in methods]
    colors = [GREY if look is None else PALETTE[look] for look in looks]
    return go.Scatter(
        mode="markers+text",
        x=[_place(method) for method in methods],
        y=[mean.value for mean in means],
        # a colour of their own: plotly takes the dots' only where all have the same
        error_y=error_bars(means, color=GREY, thickness=0.8),
        text=[plain(method_label(method.method), width=NAME_WIDTH) if method in named else "" for method in methods],
        textposition=[
            f"{'top' if method in stair else 'bottom'} {'left' if _place(method) > 0.5 * end else 'right'}"
            for method in methods
        ],
        textfont={"size": 11},
        cliponaxis=False,
        marker={"size": 9, "color": colors},
        customdata=[
            f"{plain(method_label(method.method))}<br>{method.most_rows} labelled rows<br>{mean}"
            for method, mean in zip(methods, means, strict=True)
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _named(record: MethodTable) -> list[MethodSummary]:
    """Choose the names to write: references first, then the stair, each unless it would cover one before."""
    wanted = [method for method in record.summaries if method.method in record.against]
    wanted += [method for method in reversed(record.frontier()) if method not in wanted]
    named: list[MethodSummary] = []
    for method in wanted:
        if all(abs(method.value - other.value) >= APART for other in named):
            named.append(method)
    return named
