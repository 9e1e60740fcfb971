"""Display of records: one informative line, and the HTML that Jupyter shows, without scripts and safe to trust."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from site_lens.records.assets import asset
from site_lens.records.lazy_pandas import pd
from site_lens.records.terminal_escape import visible
from site_lens.records.wording import listed

if TYPE_CHECKING:
    import jinja2

MOST_LISTED = 4
"""Names of a list that a line or a header shows."""

MOST_ROWS = 10
"""Rows of a table that are shown."""

LONGEST_NAME = 32
"""Letters of a name in a list."""

MOST_MAPS = 8
"""Maps that one display shows."""

MOST_TITLED = 2
"""Maps of one display whose heads say their name and value under the pointer."""

MOST_CELLS = 2_500
"""Heads of all maps of one display together; a single map may have four times as many, a larger one is not drawn."""

LONGEST_TEXT, LONGEST_IN_HEADER = 100, 400
"""Letters of a text that a line and a header show."""

MAP_WIDTH, MAP_HEIGHT, LARGEST_CELL = 240, 180, 16
"""Pixels of a head map at most, and of one cell of it."""

ABOVE, BELOW = "#1f77d0", "#d9480f"
"""Colours of values above and below 0; how opaque they are says how large, so that they suit any background."""


@dataclass(frozen=True, slots=True)
class CellMap:
    """One number per head, to be drawn as cells."""

    values: NDArray[np.float32]
    """(layer head)"""
    mask: NDArray[np.bool_]
    """(layer head): True where there is a head."""
    full: float | None = None
    """Size of a value that is drawn in full colour, such as 1 of gates; the largest one when None."""


class Displayed:
    """Base of what shows itself in one line (`repr`) and in Jupyter (`_repr_html_`).

    A class says what is shown through these hooks; none of them computes more than a screen needs.
    """

    def _facts(self) -> Mapping[str, object]:
        """Return the header: values by name, in order of weight."""
        return {}

    def _line(self) -> str:
        """Return what stands between the brackets of `repr`."""
        return "; ".join(f"{name}: {shown(value)}" for name, value in self._facts().items())

    def _maps(self) -> Mapping[str, CellMap]:
        """Return head maps by their caption."""
        return {}

    def _tables(self) -> Mapping[str, Callable[[], "pd.DataFrame"]]:
        """Return what builds the tables, by name; the first is open, the others are folded."""
        return {}

    def __repr__(self) -> str:
        return visible(f"{type(self).__name__}({self._line()})")

    def __str__(self) -> str:
        return repr(self)  # pydantic's own text writes out every array

    def _repr_html_(self) -> str:
        """Show header, head maps and tables in Jupyter."""
        maps, tables = self._maps(), {name: build() for name, build in self._tables().items()}
        n_maps = _most_maps(list(maps.values()))
        page = _template().render(
            name=type(self).__name__,
            facts={name: shown(value, LONGEST_IN_HEADER) for name, value in self._facts().items()},
            notes=getattr(self, "notes", ()),
            maps={name: _drawing(drawn) for name, drawn in islice(maps.items(), n_maps)},
            titled=n_maps <= MOST_TITLED,
            n_hidden=len(maps) - n_maps,
            tables={name: (len(table), _table(table)) for name, table in tables.items()},
        )
        return visible(page, keep="\n")


@cache
def _template() -> "jinja2.Template":
    import jinja2

    return jinja2.Environment(autoescape=True).from_string(asset("record.html.j2"))


def shown(value: object, most: int = LONGEST_TEXT) -> str:
    """Write a value as a line or a header shows it: four digits of a number, a few of many names, never a long text."""
    if isinstance(value, float | np.floating):
        return f"{float(value):.4g}"
    if isinstance(value, list | tuple):
        return few([shown(part) for part in value])
    return shortened(str(value), most)


def shortened(text: str, most: int = LONGEST_TEXT) -> str:
    """Return a text, or its beginning where it has more than `most` letters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def few(names: Iterable[object], most: int = MOST_LISTED) -> str:
    """Write a few of many names, each shortened, for a line or a header."""
    return listed((shortened(str(name), LONGEST_NAME) for name in names), most)


def _most_maps(maps: list[CellMap]) -> int:
    if not maps:
        return 0
    largest = max(int(drawn.mask.sum()) for drawn in maps)
    return 0 if largest > 4 * MOST_CELLS else min(len(maps), MOST_MAPS, max(1, MOST_CELLS // largest))


def _table(table: "pd.DataFrame") -> Markup:
    """Return a table as HTML; pandas escapes the texts, and cuts them at the width it is set to."""
    html = table.to_html(max_rows=MOST_ROWS, notebook=True, escape=True, border=0, float_format="{:.4g}".format)
    return Markup(html)  # noqa: S704  # escaped by pandas


def _drawing(drawn: CellMap) -> dict[str, Any]:
    """Lay a map out, layer 0 at the bottom; heads too pale to be seen are left to the frame of their layer."""
    n_layers, n_heads = drawn.mask.shape
    values = np.where(drawn.mask, drawn.values, 0)
    largest = drawn.full or float(np.abs(values).max(initial=0)) or 1.0
    share = np.minimum(np.abs(values) / largest, 1)
    pixels = min(LARGEST_CELL, MAP_WIDTH / n_heads, MAP_HEIGHT / n_layers)
    cells = []
    for layer, head in np.argwhere(share > 0.02).tolist():
        value, opacity = float(values[layer, head]), float(share[layer, head])
        fill = ABOVE if value > 0 else BELOW
        cells.append({"layer": layer, "head": head, "value": value, "fill": fill, "opacity": opacity})
    return {
        "n_layers": n_layers,
        "n_heads": n_heads,
        "width": n_heads * pixels,
        "height": n_layers * pixels,
        "caption": "" if drawn.full else f"to {largest:.3g}" + (", red below 0" if values.min() < 0 else ""),
        "frames": [(n_layers - 1 - i, int(n)) for i, n in enumerate(drawn.mask.sum(1)) if n],
        "cells": cells,
    }
