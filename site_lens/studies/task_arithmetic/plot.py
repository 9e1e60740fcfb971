"""Task arithmetic: both of two tasks, from the one's part to the other's."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from site_lens.plots.theme import PALETTE, SYMBOLS, TITLE, error_bars, layout, plain
from site_lens.studies.task_arithmetic.result import KINDS, CombineKind, TaskArithmetic

TITLES: dict[CombineKind, str] = {
    "union": "Heads of both, each with its task's embedding",
    "embeddings": "Heads of both, one mixed embedding",
    "alphas_and_embeddings": "Mixed alphas, one mixed embedding",
}
PANEL, TOP, BOTTOM, LEGEND = 190, TITLE + 54, 56, TITLE + 4
"""Pixels of a panel, above and below all of them, and from the upper edge to the legend."""


def task_arithmetic(record: TaskArithmetic) -> go.Figure:
    """Draw the accuracy of two tasks over the weight of the second, a panel a way to combine them.

    Args:
        record: What was measured.

    Returns:
        A figure of one trace for every kind and task, kinds first; dotted lines stand at each task's own fit and at
        zero-shot.
    """
    figure = make_subplots(
        len(KINDS), 1, shared_xaxes=True, vertical_spacing=0.09, subplot_titles=[TITLES[kind] for kind in KINDS]
    )
    for row, kind in enumerate(KINDS, start=1):
        for j, task in enumerate(record.tasks):
            figure.add_trace(_line(record, kind, task, j), row=row, col=1)
            for reference, opacity in (("own", 0.9), ("zero_shot", 0.4)):
                level, look = record.reference(reference, task).value, {"color": PALETTE[j], "width": 1, "dash": "dot"}
                figure.add_hline(level, row=row, col=1, opacity=opacity, line=look)
    few = all(record.verdict(kind, weight) == "too few" for kind in KINDS for weight in record.weights)
    legend = "too few for a verdict" if few else "dotted: own fit, faint: zero-shot"
    height = PANEL * len(KINDS) + TOP + BOTTOM
    figure.update_layout(
        layout(
            "Two tasks at once",
            f"{' and '.join(f'{n:g}' for n in record.n_queries)} queries; {legend}",
            height=height,
            top=TOP,
            margin={"b": BOTTOM},
            legend={"orientation": "h", "x": 0, "y": 1 - LEGEND / height, "yref": "container", "yanchor": "top"},
        )
    )
    figure.update_annotations(x=0, xanchor="left", font={"size": 12})
    figure.update_yaxes(range=[-0.04, 1.04], dtick=0.5, title={"text": "Accuracy"})
    figure.update_xaxes(title={"text": f"Weight of {plain(record.tasks[1], width=30)}"}, row=len(KINDS), col=1)
    return figure


def _line(record: TaskArithmetic, kind: CombineKind, task: str, place: int) -> go.Scatter:
    accuracies = {weight: record.accuracy(kind, weight, task) for weight in record.weights}
    return go.Scatter(
        name=plain(task, width=30),
        legendgroup=str(place),
        showlegend=kind == next(iter(KINDS)),
        mode="lines+markers",
        x=list(accuracies),
        y=[accuracy.value for accuracy in accuracies.values()],
        error_y=error_bars(list(accuracies.values()), thickness=1.2),
        line={"color": PALETTE[place], "width": 1.8},
        marker={"symbol": SYMBOLS[place], "size": 8},
        cliponaxis=False,
        text=[
            f"{plain(task)}<br>{accuracy} of {accuracy.n} queries<br>{record.verdict(kind, weight)}"
            for weight, accuracy in accuracies.items()
        ],
        hovertemplate="weight %{x}<br>%{text}<extra></extra>",
    )
