"""Attention shares: what the last prompt token looks at through every head."""

from collections.abc import Iterable

import numpy as np
import plotly.graph_objects as go

from site_lens.plots.share_bars import share_bars
from site_lens.plots.theme import PALETTE
from site_lens.studies.base import index_of
from site_lens.studies.head_profiles.result import PARTS, HeadProfiles, Part

LOOKS: dict[Part, tuple[str, str]] = {
    "answer": ("answers", PALETTE[1]),
    "input": ("inputs", PALETTE[0]),
    "query": ("query", PALETTE[2]),
    "frame": ("frame", PALETTE[4]),
    "begin": ("BOS", PALETTE[6]),
}
"""Label and colour of each part, in the order in which they stand in a bar."""


MOST_HEADS = 48
"""Heads that are drawn by default."""


def attention_shares(record: HeadProfiles, *, task: str | None = None, heads: Iterable[str] | None = None) -> go.Figure:
    """Draw one bar a head: how the attention of the last token of few-shot prompts is shared out.

    Args:
        record: Profiles of some heads.
        task: One task; the mean over tasks when None.
        heads: Profiled heads, from the top down; when None all, or of more than 48 those of highest mean alpha.

    Returns:
        A figure with one trace a part of the prompt.

    Raises:
        InputError: There is no such task, or no such head among the profiled ones.
    """
    if heads is None:
        leading = np.sort(np.argsort(-record.alphas.mean(0), kind="stable")[:MOST_HEADS])
        heads = [record.heads[i] for i in leading]
    drawn = tuple(heads)
    shares = record.shares(task)[[index_of("head", head, record.heads) for head in drawn]]
    parts = [(label, colour, shares[:, PARTS.index(part)]) for part, (label, colour) in LOOKS.items()]
    over = record.tasks[0] if len(record.tasks) == 1 else f"mean of {len(record.tasks)} tasks"
    return share_bars(drawn, parts, "Attention of the last token", task or over)
