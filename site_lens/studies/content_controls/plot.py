"""Content shares: how much of SITE's gain fits reach that mix in something else."""

import plotly.graph_objects as go

from site_lens.plots.forest import Dots, forest
from site_lens.plots.theme import GREY, PALETTE, SYMBOLS
from site_lens.studies.content_controls.result import ContentControls

LABELS = {
    "site_zero_embedding": "no embedding",
    "site_other_embedding": "another task's",
    "site_mean_embedding": "mean of all tasks",
    "site_random_embedding": "random, same lengths",
    "few_shot": "few-shot prompting",
}


def content_shares(record: ContentControls) -> go.Figure:
    """Draw the share of SITE's gain over zero-shot that each control reaches: the mean on top, then every task.

    0 is zero-shot and 1 is SITE. A task on which SITE gains too little to share out has a name and no dots.

    Returns:
        A figure of one trace a method, with 95% intervals.
    """
    methods = [name for name in LABELS if name in record.methods]
    rows = (None, *record.tasks) if len(record.tasks) > 1 else record.tasks
    return forest(
        [task or "mean over tasks" for task in rows],
        [_dots(record, method, rows, lane) for lane, method in enumerate(methods)],
        title="What other contents reach",
        subtitle="Share of SITE's gain, 95% intervals over queries",
        xaxis={"title": {"text": "Share of SITE's gain over zero-shot"}, "dtick": 0.5},
        lane_height=14,
        marks={0: GREY, 1: GREY},
    )


def _dots(record: ContentControls, method: str, rows: tuple[str | None, ...], lane: int) -> Dots:
    dots = [
        (i, share, (task or "mean over tasks", f"{share.value:.2f} [{share.low:.2f}, {share.high:.2f}]",
                    f"{share.n} queries"))
        for i, task in enumerate(rows) if (share := record.share(method, task)) is not None
    ]  # fmt: skip
    return Dots(
        dots,
        marker={"color": PALETTE[lane], "symbol": SYMBOLS[lane], "size": 8},
        lane=lane,
        name=LABELS[method],
        bars={"thickness": 1.2},
    )
