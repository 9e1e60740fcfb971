"""Content shares: how much of SITE's gain fits reach that mix in something else."""

import plotly.graph_objects as go

from site_lens.plots._accuracy import SYMBOLS
from site_lens.plots.theme import HAIRLINE, PALETTE, TEMPLATE, plain, titled
from site_lens.studies.content_controls.result import ContentControls

LABELS = {
    "site_zero_embedding": "no embedding",
    "site_other_embedding": "another task's",
    "site_mean_embedding": "mean of all tasks",
    "site_random_embedding": "random, same lengths",
    "few_shot": "few-shot prompting",
}
NAME_HEIGHT, METHOD_HEIGHT = 22, 14


def content_shares(record: ContentControls) -> go.Figure:
    """Draw the share of SITE's gain over zero-shot that each control reaches: the mean on top, then every task.

    0 is zero-shot and 1 is SITE. A task on which SITE gains too little to share out has a name and no dots.

    Returns:
        A figure of one trace a method, with 95% intervals.
    """
    methods = [name for name in LABELS if name in record.methods]
    rows = (None, *record.tasks) if len(record.tasks) > 1 else record.tasks
    height = NAME_HEIGHT + METHOD_HEIGHT * len(methods)
    top = 60 + 20 * len(methods)
    return go.Figure(
        [_dots(record, method, rows, place, height) for place, method in enumerate(methods)],
        layout={
            "template": TEMPLATE,
            "title": titled("what other contents reach", "share of SITE's gain, 95% intervals over queries"),
            "height": len(rows) * height + top + 56,
            "margin": {"t": top, "b": 56, "l": 12},
            "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "font": {"size": 11}},
            "xaxis": {"title": {"text": "share of SITE's gain over zero-shot"}, "dtick": 0.5},
            "yaxis": {"range": [len(rows), 0], "showgrid": False, "showticklabels": False},
            "annotations": [
                {"text": plain(task or "mean over tasks", width=40), "xref": "paper", "x": 0, "xanchor": "left", "y": i,
                 "yanchor": "top", "showarrow": False} for i, task in enumerate(rows)
            ],
            "shapes": [
                {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": x, "x1": x, "layer": "below",
                 "line": {"color": HAIRLINE, "width": 2}} for x in (0, 1)
            ],
        },
    )  # fmt: skip


def _dots(record: ContentControls, method: str, rows: tuple[str | None, ...], place: int, height: int) -> go.Scatter:
    offset = (NAME_HEIGHT + METHOD_HEIGHT * (place + 0.3)) / height
    found = [(i, task, share) for i, task in enumerate(rows) if (share := record.share(method, task)) is not None]
    return go.Scatter(
        name=LABELS[method],
        mode="markers",
        x=[share.value for _, _, share in found],
        y=[i + offset for i, _, _ in found],
        error_x={
            "type": "data", "symmetric": False, "thickness": 1.2, "width": 0,
            "array": [share.high - share.value for _, _, share in found],
            "arrayminus": [share.value - share.low for _, _, share in found],
        },
        marker={"color": PALETTE[place], "symbol": SYMBOLS[place], "size": 8},
        customdata=[[plain(task or "mean over tasks"), share.low, share.high, share.n] for _, task, share in found],
        hovertemplate="%{customdata[0]}<br>%{x:.2f} [%{customdata[1]:.2f}, %{customdata[2]:.2f}]"
        "<br>%{customdata[3]} queries<extra></extra>",
    )  # fmt: skip
