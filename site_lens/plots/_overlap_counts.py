"""Overlap counts: how many heads are shared by how many records."""

import numpy as np
import plotly.graph_objects as go

from site_lens.diagnostics.head_overlap import Overlap
from site_lens.heads.head_set import Head
from site_lens.plots.theme import PALETTE, figure

MOST_HEADS, MOST_NUMBERS = 12, 20
"""Heads named in a hover label, and bars up to which their height is written on them."""


def overlap_counts(record: Overlap) -> go.Figure:
    """Draw how many heads lie in the sets of exactly 1, 2, ... n records: bars from specific to shared heads.

    Args:
        record: A comparison of head maps.

    Returns:
        A figure with one trace of n bars; the heads that lie in no set are counted in the subtitle.
    """
    n = len(record.names)
    sharing = np.sum([record.heads_of(name).mask() for name in record.names], axis=0)
    groups = [[Head(int(i), int(j)) for i, j in np.argwhere((sharing == m) & record.grid.mask)] for m in range(n + 1)]
    counts = [len(heads) for heads in groups]
    bars = go.Bar(
        x=np.arange(1, n + 1),
        y=counts[1:],
        text=[str(count) for count in counts[1:]] if n <= MOST_NUMBERS else None,
        textposition="outside",
        cliponaxis=False,
        customdata=[_listed(heads) for heads in groups[1:]],
        marker={"color": PALETTE[0]},
        hovertemplate=f"in exactly %{{x}} of {n} sets: %{{y}} heads<br>%{{customdata}}<extra></extra>",
    )
    sets = f"the top {record.k}" if record.threshold is None else f"heads above {record.threshold:g}"
    return figure(
        [bars],
        "Heads by number of sharing records",
        f"Sets: {sets}; {counts[0]} of {sum(counts)} in none",
        height=340,
        width=min(max(420, 72 * n), 900),
        bargap=0.25,
        xaxis={"title": {"text": f"Sets (of {n}) that hold the head"}, "showgrid": False, "range": [0.4, n + 0.6],
               "tickmode": "linear", "tick0": 1, "dtick": max(1, round(n / 12)), "tickformat": "d"},
        yaxis={"title": {"text": "Heads"}, "rangemode": "tozero", "tickformat": "d"},
    )  # fmt: skip


def _listed(heads: list[Head]) -> str:
    lines = [", ".join(map(str, heads[i : i + 6])) for i in range(0, min(len(heads), MOST_HEADS), 6)]
    return "<br>".join(lines + [f"and {len(heads) - MOST_HEADS} more"] * (len(heads) > MOST_HEADS))
