"""Co-clusters: which tasks go with which heads, block by block."""

import numpy as np
import plotly.graph_objects as go

from site_lens.diagnostics.co_clusters import CoClusters
from site_lens.plots.matrix import MOST_COLUMNS_NAMED, matrix


def co_clusters(record: CoClusters) -> go.Figure:
    """Draw the alphas of tasks and heads as a matrix sorted by cluster, with lines between the blocks.

    Args:
        record: Tasks and heads grouped together; within a cluster both keep their order.

    Returns:
        A figure with one heat map (task head) on a fixed scale from 0 to 1, cluster 0 at the top left.
    """
    rows, columns = (np.argsort(labels, kind="stable") for labels in (record.task_labels, record.head_labels))
    row_labels, column_labels = np.array(record.task_labels)[rows], np.array(record.head_labels)[columns]
    alphas = record.alphas[np.ix_(rows, columns)]
    rank = np.argsort(np.argsort(-alphas, axis=1, kind="stable"), axis=1, kind="stable") + 1
    return matrix(
        alphas,
        [record.tasks[i] for i in rows],
        [record.heads[i] for i in columns],
        title="Tasks and heads that go together",
        subtitle=f"{record.n_clusters} clusters, {len(columns)} heads",
        unit="Mean alpha",
        hover=f"<br>mean alpha %{{z:.3f}}<br>rank %{{customdata}} of the {len(columns)} heads here",
        numbers=rank,
        breaks=(np.flatnonzero(np.diff(row_labels)) + 1, np.flatnonzero(np.diff(column_labels)) + 1),
        most_columns=MOST_COLUMNS_NAMED,
        xaxis={"title": {"text": "Head"}},
    )
