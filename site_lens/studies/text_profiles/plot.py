"""Attention by kind of target on broad text, one bar a head."""

import plotly.graph_objects as go

from site_lens.plots.theme import PALETTE, TITLE, layout
from site_lens.studies.head_profiles.plot import BOTTOM, ROW
from site_lens.studies.text_profiles.result import FIRST, OTHER, TextProfiles


def text_attention(profiles: TextProfiles) -> go.Figure:
    """Draw one bar a head: how its attention on broad text is shared out between first token, itself, and others.

    Args:
        profiles: Text profiles of some heads.

    Returns:
        A figure with one trace a target: first token, the query itself, the token before, further back. What is
        missing to 1 is on a learned sink.
    """
    parts = (
        ("further back", PALETTE[1], profiles.share(OTHER) - profiles.share(OTHER, 0) - profiles.share(OTHER, 1)),
        ("token before", PALETTE[0], profiles.share(OTHER, 1)),
        ("itself", PALETTE[4], profiles.share(OTHER, 0)),
        ("first token", PALETTE[6], profiles.share(FIRST)),
    )
    bars = [
        go.Bar(
            name=name,
            orientation="h",
            x=shares.clip(0, 1),
            y=profiles.heads,
            marker={"color": colour, "line": {"width": 0}},
            hovertemplate="%{y}<br>%{x:.3f} to " + name + "<extra></extra>",
        )
        for name, colour, shares in parts
    ]
    return go.Figure(
        bars,
        layout(
            "Attention on other text",
            f"mean over {profiles.n_queries} tokens of {profiles.n_pieces} pieces",
            height=ROW * len(profiles.heads) + TITLE + 8 + BOTTOM,
            entries=[name for name, _, _ in parts],
            margin={"b": BOTTOM, "l": 12},
            barmode="stack",
            bargap=0.2,
            legend={"traceorder": "normal"},
            xaxis={"title": {"text": "Share of attention"}, "range": [0, 1], "dtick": 0.25},
            yaxis={"autorange": "reversed", "showgrid": False, "type": "category"},
        ),
    )
