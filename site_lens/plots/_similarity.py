"""Similarity: how alike the head maps of some records are, pair by pair."""

from typing import Literal

import numpy as np
import plotly.graph_objects as go

from site_lens.diagnostics.head_clusters import HeadClusters
from site_lens.diagnostics.head_overlap import Overlap
from site_lens.diagnostics.task_clusters import TaskClusters
from site_lens.plots.matrix import matrix
from site_lens.plots.theme import GREY
from site_lens.stats.paired_tests import SIGNIFICANT

Measure = Literal["jaccard", "jaccard_top", "overlap_coefficient", "spearman", "rank_biased"]

TREE, GAP = 84, 4
"""Pixels of the tree above a matrix, and between both."""


def similarity(record: Overlap | TaskClusters | HeadClusters, *, measure: Measure = "jaccard") -> go.Figure:
    """Draw the similarity of all pairs as a matrix, the first row on top.

    Of an overlap the rows are its records in their order, and a dot marks the pairs that share more heads than
    layer-matched random sets do (q < 0.05). Of clusters the rows are the items in optimal leaf order, with the tree of
    their distances above the columns, and the number is their correlation.

    Args:
        record: A comparison of head maps, or clusters of tasks or of heads.
        measure: Which measure of an overlap to draw; clusters have only their correlation.

    Returns:
        A figure whose first trace is the matrix (row column) of the similarities: on a fixed scale from 0 to 1, or
        from -1 to 1 for correlations. The second is the dots of an overlap, or the tree of clusters.

    Raises:
        InputError: There is no such measure.
    """
    if not isinstance(record, Overlap):
        return _of_clusters(record)
    sets = f"top {record.k}" if record.threshold is None else f"above {record.threshold:g}"
    return matrix(
        getattr(record, measure),
        record.names,
        record.names,
        title="Similarity of head maps",
        subtitle=f"Dots: sets ({sets}) share more than chance, q < {SIGNIFICANT}",
        unit=measure.replace("_", " ").capitalize(),
        hover=f"<br>{measure} %{{z:.3f}}<br>p %{{customdata[0]:.3g}}, q %{{customdata[1]:.3g}}",
        numbers=np.stack([record.p_value, record.q_value], axis=2),
        low=-1 if measure == "spearman" else 0,
        dots=np.nonzero((record.q_value < SIGNIFICANT) & ~np.eye(len(record.names), dtype=bool)),
    )


def _of_clusters(record: TaskClusters | HeadClusters) -> go.Figure:
    names = [record.items[i] for i in record.order]
    labels = np.array(record.labels)[list(record.order)]
    what = "tasks" if isinstance(record, TaskClusters) else "heads"
    figure = matrix(
        1 - record.distance[np.ix_(record.order, record.order)],
        names,
        names,
        title=f"Similarity of {what}",
        subtitle="Neighbours are alike; "
        + ("one seed a task" if record.n_seeds == 1 else f"{record.n_seeds} seeds a task or more"),
        unit="Correlation of alphas",
        hover="<br>correlation %{z:.3f}<br>clusters %{customdata[0]} and %{customdata[1]}",
        numbers=np.stack(np.broadcast_arrays(labels[:, None], labels[None, :]), axis=2),
        low=-1,
        above=TREE + GAP,
    )
    figure.add_trace(_tree(record))
    top_of_matrix = figure.layout.yaxis.domain[1]
    return figure.update_layout(
        xaxis2={"matches": "x", "anchor": "y2", "showticklabels": False, "showgrid": False},
        yaxis2={"domain": [1 - (1 - top_of_matrix) * TREE / (TREE + GAP), 1], "anchor": "x2", "rangemode": "tozero",
                "title": {"text": "Distance"}, "nticks": 3, "showgrid": False},
    )  # fmt: skip


def _tree(record: TaskClusters | HeadClusters) -> go.Scatter:
    """Build the lines of the tree: each merge is a bracket as high as its distance, over the middles of its parts."""
    n = len(record.order)
    middle, height = np.zeros(n + len(record.linkage)), np.zeros(n + len(record.linkage))
    middle[list(record.order)] = np.arange(n)
    x, y = [], []
    for merged, (left, right, distance, _) in enumerate(record.linkage, start=n):
        parts = [int(left), int(right)]
        x += [*np.repeat(middle[parts], 2), np.nan]
        y += [height[parts[0]], distance, distance, height[parts[1]], np.nan]
        middle[merged], height[merged] = middle[parts].mean(), distance
    return go.Scatter(
        x=np.array(x[:-1], dtype=np.float32),
        y=np.array(y[:-1], dtype=np.float32),
        xaxis="x2",
        yaxis="y2",
        mode="lines",
        line={"color": GREY, "width": 1},
        hovertemplate="distance %{y:.3f}<extra></extra>",
        showlegend=False,
    )
