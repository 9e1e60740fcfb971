"""Attention shares: what the last prompt token looks at through every head."""

import plotly.graph_objects as go

from site_lens.plots.theme import PALETTE, TITLE, layout
from site_lens.studies.head_profiles.result import PARTS, HeadProfiles, Part

LOOKS: dict[Part, tuple[str, str]] = {
    "answer": ("answers", PALETTE[1]),
    "input": ("inputs", PALETTE[0]),
    "query": ("query", PALETTE[2]),
    "frame": ("frame", PALETTE[4]),
    "begin": ("BOS", PALETTE[6]),
}
"""Label and colour of each part, in the order in which they stand in a bar."""

ROW, BOTTOM = 22, 56
"""Pixels of a head's row, and below the rows."""


def attention_shares(record: HeadProfiles, *, task: str | None = None) -> go.Figure:
    """Draw one bar a head: how the attention of the last token of few-shot prompts is shared out.

    Args:
        record: Profiles of some heads.
        task: One task; the mean over tasks when None.

    Returns:
        A figure with one trace a part of the prompt.

    Raises:
        InputError: There is no such task.
    """
    shares = record.shares(task)
    bars = [
        go.Bar(
            name=label,
            orientation="h",
            x=shares[:, PARTS.index(part)],
            y=record.heads,
            marker={"color": colour, "line": {"width": 0}},
            hovertemplate="%{y}<br>%{x:.3f} to " + label + "<extra></extra>",
        )
        for part, (label, colour) in LOOKS.items()
    ]
    return go.Figure(
        bars,
        layout(
            "Attention of the last token",
            f"mean of {len(record.tasks)} tasks" if task is None else task,
            height=ROW * len(record.heads) + TITLE + 8 + BOTTOM,
            entries=[label for label, _ in LOOKS.values()],
            margin={"b": BOTTOM, "l": 12},
            barmode="stack",
            bargap=0.2,
            legend={"traceorder": "normal"},
            xaxis={"title": {"text": "Share of attention"}, "range": [0, 1], "dtick": 0.25},
            yaxis={"autorange": "reversed", "showgrid": False, "type": "category"},
        ),
    )
