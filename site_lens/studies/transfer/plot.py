"""Transfer: what every task does under the parts of every other."""

import numpy as np
import plotly.graph_objects as go

from site_lens.plots._similarity import MOST_COLUMNS_NAMED, bar_on_top, named_axis
from site_lens.plots.theme import GATE_SCALE, TEMPLATE, plain, titled
from site_lens.records.errors import InputError
from site_lens.studies.transfer.result import KINDS, TransferKind, TransferMatrix

TOP = 106
"""Pixels above the map: title and colour bar."""

TITLES: dict[TransferKind, str] = {
    "alphas": "alphas of the source, embedding of the target",
    "embedding": "embedding of the source, alphas of the target",
    "both": "alphas and embedding of the source",
}
REFERENCE_ROWS = (("zero_shot", "zero-shot"), ("few_shot", "few-shot"), ("own", "own fit"))
NULL_ROWS: dict[TransferKind, tuple[str, str]] = {
    "alphas": ("shuffled_heads", "heads shuffled"),
    "embedding": ("random_embedding", "random embedding"),
    "both": ("random_embedding", "random embedding"),
}


def transfer(
    record: TransferMatrix, *, kind: TransferKind = "alphas", order: tuple[int, ...] | None = None
) -> go.Figure:
    """Draw the accuracy of every target (columns) under every source (rows), with the rows it is judged by on top.

    Args:
        record: What was measured.
        kind: What comes from the source.
        order: Order of the tasks, such as `TransferSummary.order`; that of the record when None.

    Returns:
        A figure whose one trace is the accuracies (row target): zero-shot, few-shot, own fit and the null, an empty
        row, and the sources.

    Raises:
        InputError: There is no such kind, or the order is none of the tasks.
    """
    if kind not in KINDS:
        raise InputError(f"no kind of transfer {kind!r}; there are {', '.join(KINDS)}")
    places = list(range(len(record.tasks))) if order is None else list(order)
    if sorted(places) != list(range(len(record.tasks))):
        raise InputError(f"an order of {len(record.tasks)} tasks names each of them once, got {order}")
    tasks = [record.tasks[i] for i in places]
    on_top = [*REFERENCE_ROWS, NULL_ROWS[kind]]
    judged = np.stack([record.reference(name)[places] for name, _ in on_top])
    gap = np.full((1, len(tasks)), np.nan)
    values = np.concatenate([judged, gap, record.accuracies(kind)[np.ix_(places, places)]])
    rows = [*(label for _, label in on_top), "", *tasks]
    n = record.n_queries[places].astype(int)
    cells = go.Heatmap(
        z=values,
        text=[[f"{plain(row)} on {plain(task)}" for task in tasks] for row in rows],
        customdata=np.broadcast_to(n, values.shape),
        coloraxis="coloraxis",
        xgap=1 if len(tasks) <= 16 else 0,
        ygap=1 if len(tasks) <= 16 else 0,
        hoverongaps=False,
        hovertemplate="%{text}<br>accuracy %{z:.3f} of %{customdata} queries<extra></extra>",
    )
    columns_named = len(tasks) <= MOST_COLUMNS_NAMED
    height = min(22 * len(rows), 1000) + TOP + (150 if columns_named else 40)
    sets = "rounded alphas" if record.hard else "alphas as fitted"
    return go.Figure(
        [cells],
        layout={
            "template": TEMPLATE,
            "height": height,
            "title": titled("transfer between tasks", f"{TITLES[kind]} ({sets})"),
            "margin": {"t": TOP, "b": 24, "l": 12},
            "xaxis": named_axis(tasks)
            | ({"tickangle": -90} if columns_named else {"showticklabels": False})
            | {"title": {"text": "target"}},
            "yaxis": named_axis(rows, most=100) | {"range": [len(rows) - 0.5, -0.5], "title": {"text": "source"}},
            "coloraxis": {
                "cmin": 0,
                "cmax": 1,
                "colorscale": GATE_SCALE,
                "colorbar": bar_on_top("accuracy", height, ticks=[0, 0.5, 1]),
            },
        },
    )
