"""Transfer plot: accuracy of every task under the parts of every other."""

import numpy as np
import plotly.graph_objects as go

from site_lens.plots.matrix import matrix
from site_lens.plots.theme import plain
from site_lens.records.errors import InputError
from site_lens.studies.transfer.result import NULL_OF, TransferKind, TransferMatrix

TITLES: dict[TransferKind, str] = {
    "alphas": "Alphas of the source, embedding of the target",
    "embedding": "Embedding of the source, alphas of the target",
    "both": "Alphas and embedding of the source",
}
REFERENCE_ROWS = (("zero_shot", "zero-shot"), ("few_shot", "few-shot"), ("own", "own fit"))
NULL_LABELS = {"shuffled_heads": "heads shuffled", "random_embedding": "random embedding"}


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
    places = list(range(len(record.tasks))) if order is None else list(order)
    if sorted(places) != list(range(len(record.tasks))):
        raise InputError(f"an order of {len(record.tasks)} tasks names each of them once, got {order}")
    tasks = [record.tasks[i] for i in places]
    sources = record.accuracies(kind)[np.ix_(places, places)]
    on_top = [*REFERENCE_ROWS, (NULL_OF[kind], NULL_LABELS[NULL_OF[kind]])]
    references = [record.reference(name)[places] for name, _ in on_top]
    values = np.stack([*references, np.full(len(tasks), np.nan), *sources])
    rows = [*(label for _, label in on_top), "", *tasks]
    return matrix(
        values,
        rows,
        tasks,
        title="Transfer between tasks",
        subtitle=f"{TITLES[kind]} ({'rounded alphas' if record.hard else 'alphas as fitted'})",
        unit="Accuracy",
        hover="<br>accuracy %{z:.3f} of %{customdata} queries",
        numbers=np.broadcast_to(record.n_queries[places].astype(int), values.shape),
        text=[[f"{plain(row)} on {plain(task)}" for task in tasks] for row in rows],
        xaxis={"title": {"text": "Target"}},
        yaxis={"title": {"text": "Source"}},
    )
