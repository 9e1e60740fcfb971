"""Co-clusters: which tasks go with which heads, block by block."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from site_lens.diagnostics.clusters import CoClusters
from site_lens.heads.head_set import Head
from site_lens.plots._similarity import MOST_COLUMNS_NAMED, TOP, bar_on_top, named_axis
from site_lens.plots.theme import GATE_SCALE, TEMPLATE, plain, titled


def co_clusters(record: CoClusters) -> go.Figure:
    """Draw the alphas of tasks and heads as a matrix sorted by cluster, with lines between the blocks.

    Args:
        record: Tasks and heads grouped together; within a cluster both keep their order.

    Returns:
        A figure with one heat map (task head) on a fixed scale from 0 to 1, cluster 0 at the top left.
    """
    rows = np.argsort(record.task_labels, kind="stable")
    columns = np.argsort(record.head_labels, kind="stable")
    tasks, heads = [record.tasks[i] for i in rows], [record.heads[i] for i in columns]
    figure = go.Figure([_cells(record, rows, columns)])
    named = len(heads) <= MOST_COLUMNS_NAMED
    height = min(max(18 * len(tasks), 160), 900) + TOP + 60
    figure.update_layout(
        template=TEMPLATE,
        title=titled("tasks and heads that go together", f"{record.n_clusters} clusters, {len(heads)} heads"),
        height=height,
        margin={"t": TOP, "l": 12},
        coloraxis={"cmin": 0, "cmax": 1, "colorscale": GATE_SCALE,
                   "colorbar": bar_on_top("mean alpha", height, ticks=[0, 0.5, 1])},
        xaxis={"title": {"text": "head"}, **named_axis(heads, most=MOST_COLUMNS_NAMED)},
        yaxis={**named_axis(tasks), "range": [len(tasks) - 0.5, -0.5]},
        shapes=_lines(np.array(record.task_labels)[rows], "y") + _lines(np.array(record.head_labels)[columns], "x"),
    )  # fmt: skip
    if named:
        figure.update_xaxes(tickangle=-90)
    return figure


def _cells(record: CoClusters, rows: NDArray[np.int_], columns: NDArray[np.int_]) -> go.Heatmap:
    alphas = record.alphas[np.ix_(rows, columns)]
    heads = [Head.parse(record.heads[i]) for i in columns]
    rank = np.argsort(np.argsort(-alphas, axis=1, kind="stable"), axis=1, kind="stable") + 1
    numbers = [
        np.array([head.layer for head in heads]),
        np.array([head.head for head in heads]),
        rank,
        np.array(record.task_labels)[rows][:, None],
        np.array(record.head_labels)[columns],
    ]
    return go.Heatmap(
        z=alphas,
        text=[[plain(record.tasks[i])] * len(heads) for i in rows],
        customdata=np.stack([np.broadcast_to(number, alphas.shape) for number in numbers], axis=2),
        coloraxis="coloraxis",
        hovertemplate="%{text}<br>L%{customdata[0]}H%{customdata[1]}<br>layer %{customdata[0]}, head %{customdata[1]}"
        f"<br>mean alpha %{{z:.3f}}<br>rank %{{customdata[2]}} of the {len(heads)} heads here"
        "<br>clusters: task %{customdata[3]}, head %{customdata[4]}<extra></extra>",
    )


def _lines(labels: NDArray[np.int_], axis: str) -> list[dict[str, Any]]:
    """Build a line across the matrix wherever the cluster changes along an axis."""
    along, across = axis, "x" if axis == "y" else "y"
    return [
        {"type": "line", f"{along}0": at + 0.5, f"{along}1": at + 0.5, f"{across}ref": "paper", f"{across}0": 0,
         f"{across}1": 1, "line": {"color": "#ffffff", "width": 2}}
        for at in map(int, np.flatnonzero(np.diff(labels)))
    ]  # fmt: skip
