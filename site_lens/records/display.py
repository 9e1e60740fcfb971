"""Display of records: one informative line, and the HTML that Jupyter shows, without scripts and safe to trust."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from site_lens.records.lazy_pandas import pd
from site_lens.records.terminal_escape import visible
from site_lens.records.wording import listed

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

PAGE = Markup(
    '<div class="site-lens-record" style="font-size:13px;line-height:1.5;max-width:1000px">'
    '<div style="border-bottom:1px solid;padding-bottom:3px"><b>{name}</b></div>'
    '<div style="padding:4px 0">{facts}</div>{notes}'
    '<div style="display:flex;flex-wrap:wrap;gap:16px;align-items:flex-end">{maps}</div>{more}{tables}</div>'
)
FACT = Markup('<span style="display:inline-block;margin-right:18px"><span style="opacity:.65">{}</span> {}</span>')
SMALL = Markup('<div style="opacity:.75;font-size:12px">{}</div>')
TABLE = Markup(
    '<details{}><summary style="cursor:pointer">{} ({} rows)</summary><div style="overflow-x:auto">{}</div></details>'
)
MAP = Markup(
    '<figure style="margin:4px 0"><svg width="{width:g}" height="{height:g}" viewBox="0 0 {n_heads} {n_layers}" '
    'role="img" aria-label="head map of {name}">{frames}{cells}</svg>'
    '<figcaption style="font-size:12px">{name}<br/><span style="opacity:.65">{caption}</span></figcaption></figure>'
)
MAP_LINE = "Maps: a row is a layer, layer 0 at the bottom; a cell is a head, the more opaque, the larger its value."
FRAME = Markup('<rect x="0" y="{}" width="{}" height="0.92" fill="currentColor" fill-opacity="0.07"/>')
CELL = Markup('<path d="M{} {}h.92v.92h-.92z" fill="{}" fill-opacity="{:.2g}">{}</path>')
TITLE = Markup("<title>L{}H{} {:.4g}</title>")


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
        lines = [MAP_LINE] if n_maps else []
        lines += [f"{len(maps) - n_maps} more maps are not shown"] if len(maps) > n_maps else []
        page = PAGE.format(
            name=type(self).__name__,
            facts=_joined(FACT.format(name, shown(value, LONGEST_IN_HEADER)) for name, value in self._facts().items()),
            notes=_joined(SMALL.format(f"note: {note}") for note in getattr(self, "notes", ())),
            maps=_joined(
                _map(name, drawn, titled=n_maps <= MOST_TITLED) for name, drawn in list(maps.items())[:n_maps]
            ),
            more=_joined(SMALL.format(line) for line in lines),
            tables=_joined(
                TABLE.format(Markup(' open=""') if i == 0 and not maps else "", name, len(table), _table(table))
                for i, (name, table) in enumerate(tables.items())
            ),
        )
        return visible(page, keep="\n")


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


def _joined(parts: Any) -> Markup:
    return Markup("").join(parts)


def _table(table: "pd.DataFrame") -> Markup:
    """Return a table as HTML; pandas escapes the texts, and cuts them at the width it is set to."""
    html = table.to_html(max_rows=MOST_ROWS, notebook=True, escape=True, border=0, float_format="{:.4g}".format)
    return Markup(html)  # noqa: S704  # escaped by pandas


def _map(name: str, drawn: CellMap, *, titled: bool) -> Markup:
    """Draw a map, layer 0 at the bottom; heads too pale to be seen are left to the frame of their layer."""
    n_layers, n_heads = drawn.mask.shape
    values = np.where(drawn.mask, drawn.values, 0)
    largest = drawn.full or float(np.abs(values).max(initial=0)) or 1.0
    share = np.minimum(np.abs(values) / largest, 1)
    pixels = min(LARGEST_CELL, MAP_WIDTH / n_heads, MAP_HEIGHT / n_layers)
    return MAP.format(
        name=name,
        width=n_heads * pixels,
        height=n_layers * pixels,
        n_heads=n_heads,
        n_layers=n_layers,
        caption="" if drawn.full else f"to {largest:.3g}, red below 0" if values.min() < 0 else f"to {largest:.3g}",
        frames=_joined(FRAME.format(n_layers - 1 - i, int(n)) for i, n in enumerate(drawn.mask.sum(1)) if n),
        cells=_joined(
            CELL.format(
                head, n_layers - 1 - layer, ABOVE if values[layer, head] > 0 else BELOW,
                float(share[layer, head]), TITLE.format(layer, head, float(values[layer, head])) if titled else "",
            )
            for layer, head in np.argwhere(share > 0.02).tolist()
        ),
    )  # fmt: skip
