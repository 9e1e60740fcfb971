"""Labelled rows: what accuracy methods reach with how many labelled examples."""

import numpy as np
import plotly.graph_objects as go

from site_lens.methods.method_table import MethodSummary, MethodTable
from site_lens.methods.registry import method_look
from site_lens.plots.theme import INK, PALETTE, TEMPLATE, plain, titled

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
    most = max(one.most_rows for one in record.summaries)
    end = float(np.log10(1 + max(most, 9)))
    ticks = [0, *(10**power for power in range(int(np.ceil(np.log10(max(most, 10)))) + 1))]
    figure = go.Figure([_stair(stair, end), _dots(record, end)])
    figure.update_layout(
        template=TEMPLATE,
        title=titled("accuracy and labelled rows", "line: the best with so many labelled rows or fewer"),
        height=420,
        margin={"t": 72, "b": 56, "l": 48},
        showlegend=False,
        xaxis={"title": {"text": "labelled rows used for a task"}, "tickmode": "array",
               "tickvals": np.log10(1 + np.array(ticks)), "ticktext": [f"{tick:,}" for tick in ticks],
               "range": [-0.04 * end, 1.04 * end]},
        yaxis={"title": {"text": f"mean accuracy ({record.metric})"}, "range": [-0.02, 1.06], "dtick": 0.25},
    )  # fmt: skip
    return figure


def _place(one: MethodSummary) -> float:
    return float(np.log10(1 + one.most_rows))


def _stair(stair: tuple[MethodSummary, ...], end: float) -> go.Scatter:
    return go.Scatter(
        mode="lines",
        x=[*map(_place, stair), end],
        y=[*(one.value for one in stair), stair[-1].value],
        line={"color": INK, "width": 1, "shape": "hv"},
        hoverinfo="skip",
    )


def _dots(record: MethodTable, end: float) -> go.Scatter:
    every, stair, named = record.summaries, record.frontier(), _named(record)
    return go.Scatter(
        mode="markers+text",
        x=[_place(one) for one in every],
        y=[one.value for one in every],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [one.high - one.value for one in every],
            "arrayminus": [one.value - one.low for one in every],
            "color": INK,  # else the dots', which plotly takes for bars only where all dots have the same
            "thickness": 0.8,
            "width": 0,
        },
        text=[plain(one.method, width=NAME_WIDTH) if one.method in named else "" for one in every],
        textposition=[
            f"{'top' if one in stair else 'bottom'} {'left' if _place(one) > 0.5 * end else 'right'}" for one in every
        ],
        textfont={"size": 11},
        cliponaxis=False,
        marker={
            "size": 9,
            "color": [PALETTE[method_look(one.method) or 0] if one.method in record.against else INK for one in every],
        },
        customdata=[[plain(one.method), one.most_rows, one.low, one.high] for one in every],
        hovertemplate="%{customdata[0]}<br>%{customdata[1]} labelled rows<br>"
        "%{y:.3f} [%{customdata[2]:.3f}, %{customdata[3]:.3f}]<extra></extra>",
    )


def _named(record: MethodTable) -> set[str]:
    """Choose the names to write: references first, then the stair, each unless it would cover one before."""
    stair = record.frontier()
    wanted = [one for one in record.summaries if one.method in record.against]
    wanted += [one for one in reversed(stair) if one not in wanted]
    shown: list[MethodSummary] = []
    for one in wanted:
        if all(abs(one.value - other.value) >= APART for other in shown):
            shown.append(one)
    return {one.method for one in shown}
