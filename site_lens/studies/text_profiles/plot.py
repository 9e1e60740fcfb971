"""Attention by kind of target on broad text, one bar a head."""

import plotly.graph_objects as go

from site_lens.plots.share_bars import share_bars
from site_lens.plots.theme import PALETTE
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
    subtitle = f"mean over {profiles.n_queries} tokens of {profiles.n_pieces} pieces"
    clipped = [(label, colour, shares.clip(0, 1)) for label, colour, shares in parts]  # a difference may round below 0
    return share_bars(profiles.heads, clipped, "Attention on other text", subtitle)
