"""Figures and the numbers behind them as JSON that a page can hold and a script can draw."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

from site_lens.activations.attention_sample import AttentionSample
from site_lens.plots.theme import least_width
from site_lens.records.base import Float32
from site_lens.records.terminal_escape import visible

if TYPE_CHECKING:
    import pandas as pd

DIGITS = 5
"""Significant digits of the numbers behind a figure: more than a figure shows, few enough to keep the page small."""

ATTENTION_DECIMALS = 3


@dataclass(frozen=True, slots=True)
class Embedded:
    """A figure under a fixed id, drawn when it is first shown; and its table, built when it is asked for."""

    id: str
    height: int
    json: Markup
    least_width: int | None = None
    """CSS pixels below which a page scrolls the figure; None where it may be as narrow as the page."""
    size: str = ""
    """`wide` or `narrow` where a figure comes in two sizes, of which a page shows one."""
    table: Markup | None = None
    """`{"columns": [...], "rows": [[...], ...]}`; None where the numbers stand under another figure."""


def embed(name: str, figure: go.Figure, table: "pd.DataFrame | None" = None, *, size: str = "") -> Embedded:
    """Turn a figure and the numbers behind it into JSON that is safe inside a script element."""
    numbers = None if table is None else in_script(table_json(table))
    drawn = in_script(str(figure.to_json()))
    return Embedded(name, int(figure.layout.height), drawn, least_width(figure), size, numbers)


@dataclass(frozen=True, slots=True)
class AttentionView:
    """Attention of some heads on one prompt, as circuitsvis takes it."""

    id: str
    n_shots: int
    json: Markup


def attention_views(i: int, sample: AttentionSample) -> list[AttentionView]:
    """Turn the prompts of a sample into the properties of circuitsvis' `AttentionHeads`."""
    found = []
    for k, (tokens, shots) in enumerate(zip(sample.tokens, sample.n_shots, strict=True)):
        fields = attention_properties(tokens, sample.pattern(k)) | {"attentionHeadNames": list(sample.heads)}
        found.append(AttentionView(f"attention-{i}-{k}", shots, in_script(json.dumps(fields, separators=(",", ":")))))
    return found


def attention_properties(tokens: Sequence[str], pattern: Float32) -> dict[str, Any]:
    """Say attention on one prompt, (head query key) or (query key), in the properties of circuitsvis' components."""
    return {
        "attention": np.round(pattern.astype(np.float64), ATTENTION_DECIMALS).tolist(),
        "tokens": [visible(token.replace("\n", "\N{RETURN SYMBOL}"), keep="\t") for token in tokens],
        "maskUpperTri": True,
    }


def in_script(text: str) -> Markup:
    """Escape JSON so that nothing in it ends the script element that holds it."""
    return Markup(text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026"))


def table_json(table: "pd.DataFrame") -> str:
    """Write a table as columns and rows, numbers rounded to five significant digits, nothing as null."""
    columns = [[_cell(value) for value in table[name].tolist()] for name in table.columns]
    rows = [list(row) for row in zip(*columns, strict=True)]
    return json.dumps({"columns": [visible(str(name)) for name in table.columns], "rows": rows}, separators=(",", ":"))


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value, keep="\n\t")
    if isinstance(value, float):
        return None if value != value else float(f"{value:.{DIGITS}g}")  # NaN alone differs from itself
    return value
