"""Method means: accuracy of many methods over the same tasks, best on top."""

import plotly.graph_objects as go

from site_lens.methods.method_table import MethodSummary, MethodTable
from site_lens.methods.registry import method_label, method_look
from site_lens.plots.forest import FAINT, Dots, forest
from site_lens.plots.theme import GREY, INK, PALETTE
from site_lens.stats.intervals import Interval


def method_means(record: MethodTable) -> go.Figure:
    """Draw the mean accuracy of every method over the shared tasks with its 95% interval, and each task as a dot.

    Args:
        record: A comparison of methods.

    Returns:
        A figure of two traces: the accuracies of single tasks, and the means in falling order. A vertical line in the
        colour of each reference marks its mean.
    """
    ranked, n = record.ranked(), len(record.shared)
    labels = [method_label(method.method) for method in ranked]
    tasks = [
        (row, accuracy, (task, labels[row], f"{accuracy.value:.3f}"))
        for row, method in enumerate(ranked)
        for task in record.shared
        if (accuracy := record.accuracy(task, method.method)) is not None
    ]
    means = [
        (row, mean, (labels[row], str(mean), f"{_rows(method)} labelled rows"))
        for row, method in enumerate(ranked)
        for mean in [Interval(method.value, method.low, method.high, n)]
    ]
    colors = [_color(method.method, record.against) for method in ranked]
    over_tasks = Dots(
        means,
        marker={"color": [GREY if color == INK else color for color in colors], "symbol": "diamond", "size": 10},
        bars={"thickness": 2, "color": GREY},
    )
    return forest(
        labels,
        [Dots(tasks, FAINT), over_tasks],
        title=f"Mean accuracy ({record.metric.replace('_', ' ')})",
        subtitle="One task, 95% Wilson intervals" if n == 1 else f"{n} tasks, 95% t intervals over tasks",
        xaxis={"title": {"text": "Share of test queries right"}, "range": [-0.02, 1.02], "dtick": 0.25},
        colors=colors,
        marks={m.value: color for m, color in zip(ranked, colors, strict=True) if m.method in record.against},
    )


def _color(method: str, against: tuple[str, ...]) -> str:
    if method not in against:
        return INK
    look = method_look(method)
    return PALETTE[against.index(method) % len(PALETTE) if look is None else look]


def _rows(method: MethodSummary) -> str:
    fewest, most = method.fewest_rows, method.most_rows
    return str(most) if fewest == most else f"{fewest} to {most}"
