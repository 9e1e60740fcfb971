"""Sensitivity: accuracy over the number of prompts and of shots that embeddings are made of."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from site_lens.plots.theme import GREY, PALETTE, TITLE, error_bars, layout
from site_lens.studies.prompt_sensitivity.result import SIZES, Condition, PromptSensitivity

PANEL, GAP, BOTTOM = 220, 76, 56

MEANS, SINGLE = "mean over prompt sets", "one prompt set"

LABELS = ("Prompts of an embedding (M)", "Demonstrations of a prompt (N)")
"""Of the axes, in the order of `SIZES`."""


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
    figure = make_subplots(2, 1, vertical_spacing=GAP / inner)
    for row, (setting, label) in enumerate(zip(SIZES, LABELS, strict=True), start=1):
        conditions = record.along(setting)
        sizes = [getattr(condition, setting) for condition in conditions]
        for trace in _traces(record, conditions, sizes, task):
            figure.add_trace(trace.update(showlegend=row == 1), row=row, col=1)
        figure.update_xaxes(type="log", tickvals=sizes, title={"text": label}, showgrid=False, row=row, col=1)
        figure.update_yaxes(title={"text": "Accuracy"}, range=[-0.02, 1.02], dtick=0.25, row=row, col=1)
    looks = {"few_shot": (f"{record.n_reference_shots}-shot", PALETTE[0]), "zero_shot": ("zero-shot", PALETTE[6])}
    for name, (label, color) in looks.items():
        figure.add_hline(
            record.accuracy(name, task).value, line={"color": color, "width": 1, "dash": "dot"}, row="all", col=1,
            annotation={"text": label, "font": {"color": color, "size": 11}},
        )  # fmt: skip
    over = f"{len(record.tasks)} tasks" if task is None else "One task"
    return figure.update_layout(
        layout(
            "Prompt sensitivity" if task is None else f"Prompt sensitivity of {task}",
            f"{over}, {record.right.shape[2]} prompt sets each, 95% intervals over queries",
            height=inner + TITLE + 20 + BOTTOM,
            top=TITLE + 20,
            entries=[MEANS, SINGLE],
            margin={"b": BOTTOM},
        )
    )


def _traces(
    record: PromptSensitivity, conditions: tuple[Condition, ...], sizes: list[int], task: str | None
) -> tuple[go.Scatter, go.Scatter]:
    accuracies = [record.accuracy(condition, task) for condition in conditions]
    draws = np.stack([record.draws(condition, task) for condition in conditions])
    means = go.Scatter(
        name=MEANS,
        x=sizes,
        y=[accuracy.value for accuracy in accuracies],
        error_y=error_bars(accuracies, thickness=1.5),
        mode="lines+markers",
        line={"color": PALETTE[1]},
        marker={"size": 8},
        text=[f"{accuracy}<br>{accuracy.n} queries" for accuracy in accuracies],
        hovertemplate="%{x}<br>%{text}<extra></extra>",
    )
    single = go.Scatter(
        name=SINGLE,
        x=np.repeat(sizes, draws.shape[1]),
        y=draws.ravel(),
        mode="markers",
        marker={"color": GREY, "size": 5, "opacity": 0.5},
        hovertemplate="%{x}<br>%{y:.3f}<extra></extra>",
    )
    return means, single
