"""Embedding of figures, tables and attention in a page, as JSON that its scripts draw; used as filters of templates."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

from site_lens.activations.attention_sample import AttentionSample
from site_lens.records.base import Float32
from site_lens.records.terminal_escape import visible

if TYPE_CHECKING:
    import pandas as pd

DIGITS = 5
"""Significant digits of the numbers behind a figure: more than a figure shows, few enough to keep the page small."""

ATTENTION_DECIMALS = 3


def figure_json(figure: go.Figure) -> Markup:
    """Write a figure as JSON for a script element."""
    return in_script(str(figure.to_json()))


def table_json(table: "pd.DataFrame") -> Markup:
    """Write a table as columns and rows, numbers rounded to five significant digits, nothing as null."""
    columns = [[_cell(value) for value in table[name].tolist()] for name in table.columns]
    rows = [list(row) for row in zip(*columns, strict=True)]
    fields = {"columns": [visible(str(name)) for name in table.columns], "rows": rows}
    return in_script(json.dumps(fields, separators=(",", ":")))


def attention_json(sample: AttentionSample, prompt: int) -> Markup:
    """Write the attention on one prompt of a sample as the properties of circuitsvis' `AttentionHeads`."""
    fields = attention_properties(sample.tokens[prompt], sample.pattern(prompt))
    return in_script(json.dumps(fields | {"attentionHeadNames": list(sample.heads)}, separators=(",", ":")))


def attention_properties(tokens: Sequence[str], pattern: Float32) -> dict[str, Any]:
    """Build the properties of circuitsvis' components from attention, (head query key) or (query key)."""
    return {
        "attention": np.round(pattern.astype(np.float64), ATTENTION_DECIMALS).tolist(),
        "tokens": [visible(token.replace("\n", "\N{RETURN SYMBOL}"), keep="\t") for token in tokens],
        "maskUpperTri": True,
    }


def in_script(text: str) -> Markup:
    """Escape JSON so that nothing in it ends the script element that holds it."""
    return Markup(text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026"))


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value, keep="\n\t")
    if isinstance(value, float):
        return None if value != value else float(f"{value:.{DIGITS}g}")  # NaN alone differs from itself
    return value
