"""Sensitivity: accuracy over the number of prompts and of shots that embeddings are made of."""

from typing import Literal

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from site_lens.plots.theme import INK, PALETTE, TEMPLATE, titled
from site_lens.studies.prompt_sensitivity.result import PromptSensitivity

TOP, PANEL, GAP, BOTTOM = 96, 220, 76, 56

PANELS: tuple[tuple[Literal["n_prompts", "n_shots"], str], ...] = (
    ("n_prompts", "prompts of an embedding (M)"),
    ("n_shots", "demonstrations of a prompt (N)"),
)


def sensitivity(record: PromptSensitivity, *, task: str | None = None) -> go.Figure:
    """Draw accuracy under embeddings of rising size, M above and N below, with prompting as lines.

    Args:
        record: What was measured.
        task: One task; the queries of all tasks in a row when None.

    Returns:
        A figure of two traces a panel: the means over prompt draws with their 95% interval over queries, and every
        single draw.

    Raises:
        InputError: There is no such task.
    """
    inner = 2 * PANEL + GAP
    figure = make_subplots(2, 1, vertical_spacing=GAP / inner, figure=go.Figure(layout={"template": TEMPLATE}))
    for row, (setting, label) in enumerate(PANELS, start=1):
        for trace in _traces(record, setting, task, legend=row == 1):
            figure.add_trace(trace, row=row, col=1)
        ticks = [getattr(one, setting) for one in record.along(setting)]
        figure.update_xaxes(type="log", tickvals=ticks, title={"text": label}, showgrid=False, row=row, col=1)
        figure.update_yaxes(title={"text": "accuracy"}, range=[-0.02, 1.02], dtick=0.25, row=row, col=1)
    for name, label, color in (("few_shot", f"{record.n_reference_shots}-shot", 0), ("zero_shot", "zero-shot", 6)):
        level = record.accuracy(name, task).value
        for row in (1, 2):
            figure.add_hline(
                level, line={"color": PALETTE[color], "width": 1, "dash": "dot"}, row=row, col=1,
                annotation={"text": label, "font": {"color": PALETTE[color], "size": 11}},
            )  # fmt: skip
    n_draws = record.right.shape[2]
    over = f"{len(record.tasks)} tasks" if task is None else "one task"
    figure.update_layout(
        title=titled(
            "prompt sensitivity" if task is None else f"prompt sensitivity of {task}",
            f"{over}, {n_draws} prompt sets each, 95% intervals over queries",
        ),
        height=inner + TOP + BOTTOM,
        margin={"t": TOP, "b": BOTTOM, "l": 56},
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
    )
    return figure


def _traces(
    record: PromptSensitivity, setting: Literal["n_prompts", "n_shots"], task: str | None, *, legend: bool
) -> tuple[go.Scatter, go.Scatter]:
    conditions = record.along(setting)
    numbers = [getattr(one, setting) for one in conditions]
    found = [record.accuracy(one, task) for one in conditions]
    draws = np.stack([record.draws(one, task) for one in conditions])
    means = go.Scatter(
        name="mean over prompt sets",
        x=numbers,
        y=[one.value for one in found],
        error_y={
            "type": "data", "symmetric": False, "thickness": 1.5, "width": 0,
            "array": [one.high - one.value for one in found], "arrayminus": [one.value - one.low for one in found],
        },
        mode="lines+markers",
        line={"color": PALETTE[1]},
        marker={"size": 8},
        showlegend=legend,
        customdata=[[one.low, one.high, one.n] for one in found],
        hovertemplate="%{x}<br>%{y:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}]<br>%{customdata[2]} queries"
        "<extra></extra>",
    )  # fmt: skip
    single = go.Scatter(
        name="one prompt set",
        x=np.repeat(numbers, draws.shape[1]),
        y=draws.ravel(),
        mode="markers",
        marker={"color": INK, "size": 5, "opacity": 0.5},
        showlegend=legend,
        hovertemplate="%{x}<br>%{y:.3f}<extra></extra>",
    )
    return means, single
