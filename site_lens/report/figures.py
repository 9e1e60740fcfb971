"""Embedding of figures, tables and attention in a page, as JSON that its scripts draw; used as filters of templates."""

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import unescape
from math import isfinite
from typing import Any

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

from site_lens.activations.attention_sample import AttentionSample
from site_lens.plots.theme import TEMPLATE, least_width, untitled
from site_lens.records.base import Float32
from site_lens.records.errors import InputError
from site_lens.records.lazy_pandas import pd
from site_lens.records.terminal_escape import visible

DIGITS = 5
"""Significant digits of the numbers behind a figure: more than a figure shows, few enough to keep the page small."""

CLEAR = "rgba(0, 0, 0, 0)"

ATTENTION_DECIMALS = 3


TRACE_TYPES = ("bar", "box", "contour", "heatmap", "histogram", "histogram2d", "histogram2dcontour", "image", "pie",
               "scatter", "scatterternary", "violin")  # fmt: skip
"""Traces that the cartesian bundle of plotly.js in the assets draws; the whole of plotly.js is three times as large."""


@dataclass(frozen=True, slots=True)
class PageFigure:
    """A figure as it stands on a page: title and subtitle are text of the page, the rest is JSON."""

    title: str
    subtitle: str
    height: int | None
    """Pixels."""
    width: int | None
    """Pixels at most; as wide as the page when None."""
    least_width: int | None
    """Pixels at least, for which a narrow page scrolls it."""
    json: Markup


def on_page(figure: go.Figure) -> PageFigure:
    """Prepare a figure for a page: numbers as short as they can be, without title and the common template.

    Raises:
        InputError: A trace is of a type that a page cannot draw.
    """
    unknown = sorted({trace.type for trace in figure.data} - set(TRACE_TYPES))
    if unknown:
        raise InputError(f"a page draws no traces of type {', '.join(unknown)}; it draws {', '.join(TRACE_TYPES)}")
    fields = figure.to_dict()
    if figure.layout.template == TEMPLATE:
        fields["layout"] = untitled(fields["layout"])
        del fields["layout"]["template"]  # once a page is enough
    width = fields["layout"].pop("width", None)
    return PageFigure(
        title=unescape(figure.layout.title.text or ""),
        subtitle=unescape(figure.layout.title.subtitle.text or ""),
        height=fields["layout"].get("height"),
        width=width,
        least_width=least_width(figure),
        json=in_script(json.dumps(_shortened(fields), separators=(",", ":"))),
    )


def template_json() -> Markup:
    """Write the template of all figures as JSON for a script element."""
    template = TEMPLATE.to_plotly_json()
    clear = {"paper_bgcolor": CLEAR, "plot_bgcolor": CLEAR}  # the page has a background of its own
    return in_script(json.dumps(template | {"layout": template["layout"] | clear}, separators=(",", ":")))


def _shortened(value: Any) -> Any:
    """Shorten the numbers of a figure: arrays of float64 to float32, single numbers to five digits."""
    if isinstance(value, dict):
        if value.get("dtype") == "f8":  # plotly itself takes the smallest integers
            numbers = np.frombuffer(base64.b64decode(value["bdata"]))
            return value | {"dtype": "f4", "bdata": _base64(numbers.astype(np.float32).tobytes())}
        return {key: _shortened(part) for key, part in value.items() if part is not None}
    if isinstance(value, np.ndarray | np.generic):
        return _shortened(value.tolist())
    if isinstance(value, list | tuple):
        return [_shortened(part) for part in value]
    return _cell(value) if isinstance(value, float) else value


def table_json(table: "pd.DataFrame") -> Markup:
    """Write a table as columns and rows, numbers rounded to five significant digits, nothing as null; packed."""
    columns = [[_cell(value) for value in table[name].tolist()] for name in table.columns]
    rows = [list(row) for row in zip(*columns, strict=True)]
    return packed(json.dumps({"columns": [visible(str(name)) for name in table.columns], "rows": rows}))


def packed(text: str) -> Markup:
    """Compress a text that a page needs only after a click, for a script element of type application/gzip."""
    return Markup(_base64(gzip.compress(text.encode(), mtime=0)))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def attention_json(sample: AttentionSample, prompt: int) -> Markup:
    """Write the names of the heads and their attention on a prompt, as properties of circuitsvis; packed."""
    fields = attention_properties(sample.tokens[prompt], sample.pattern(prompt))
    return packed(json.dumps(fields | {"attentionHeadNames": list(sample.heads)}, separators=(",", ":")))


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
        return float(f"{value:.{DIGITS}g}") if isfinite(value) else None
    return value
