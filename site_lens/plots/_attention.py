"""Attention: what the last token of one prompt looks at, token by token."""

import plotly.graph_objects as go

from site_lens.activations.attention_sample import AttentionSample
from site_lens.plots.matrix import matrix
from site_lens.plots.theme import plain
from site_lens.records.errors import InputError


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
    return matrix(
        sample.pattern(prompt % n_prompts)[:, -1],
        sample.heads,
        tokens,
        title=f"Attention of the last token of a prompt of {sample.task}",
        subtitle=f"{sample.n_shots[prompt]} demonstrations, no edit",
        unit="Attention",
        hover="<br>attention %{z:.3f}",
        text=[
            [f"{plain(head)} to {plain(token)} (token {i})" for i, token in enumerate(tokens)] for head in sample.heads
        ],
        most_columns=len(tokens),
    )


def visible(token: str) -> str:
    """Write a token so that line breaks in it can be seen."""
    return token.replace("\n", "\N{RETURN SYMBOL}").strip() or "\N{OPEN BOX}"
