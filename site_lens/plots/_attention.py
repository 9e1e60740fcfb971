"""Attention: what the last token of one prompt looks at, token by token."""

import plotly.graph_objects as go

from site_lens.activations.attention_sample import AttentionSample
from site_lens.plots._similarity import TOP, bar_on_top, named_axis
from site_lens.plots.theme import GATE_SCALE, TEMPLATE, at_least, plain, titled
from site_lens.records.errors import InputError

ROW, BOTTOM = 26, 64
"""Pixels of a head's row, and of the tokens' names below the rows."""

COLUMN, HEADS = 14, 90
"""Pixels of a token's column, and of the heads' names with the margins beside them."""


def attention(sample: AttentionSample, *, prompt: int = -1) -> go.Figure:
    """Draw what the last token of a prompt attends to through every head of a sample.

    Args:
        sample: Attention of some heads on some prompts.
        prompt: Which of its prompts; counted from the end when negative.

    Returns:
        A figure with one heat map (head key) on a fixed scale from 0 to 1, heads below each other, one column a token.

    Raises:
        InputError: The sample has no such prompt.
    """
    n_prompts = len(sample.tokens)
    if not -n_prompts <= prompt < n_prompts:
        raise InputError(f"there is no prompt {prompt} in a sample of {n_prompts}, which are counted from 0")
    tokens = [visible(token) for token in sample.tokens[prompt]]
    n_shots = sample.n_shots[prompt]
    height = ROW * len(sample.heads) + TOP + BOTTOM
    cells = go.Heatmap(
        z=sample.pattern(prompt % n_prompts)[:, -1],
        y=[plain(head) for head in sample.heads],
        text=[[plain(token) for token in tokens]] * len(sample.heads),
        coloraxis="coloraxis",
        xgap=1,
        ygap=1,
        hovertemplate="%{y} to %{text} (token %{x})<br>attention %{z:.3f}<extra></extra>",
    )
    return go.Figure(
        [cells],
        layout={
            "template": TEMPLATE,
            "height": height,
            "title": titled(f"last token of a prompt of {sample.task}", f"{n_shots} demonstrations, no edit"),
            "margin": {"t": TOP, "b": BOTTOM, "l": 12},
            "xaxis": named_axis(tokens, most=len(tokens)) | {"tickangle": -90},
            "yaxis": {"autorange": "reversed", "type": "category", "showgrid": False},
            "coloraxis": {
                "cmin": 0,
                "cmax": 1,
                "colorscale": GATE_SCALE,
                "colorbar": bar_on_top("attention", height, ticks=[0, 0.5, 1]),
            },
        }
        | at_least(COLUMN * len(tokens) + HEADS),
    )


def visible(token: str) -> str:
    """Write a token so that line breaks in it can be seen."""
    return token.replace("\n", "\N{RETURN SYMBOL}").strip() or "\N{OPEN BOX}"
