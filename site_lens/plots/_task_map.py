"""Task map: tasks as points of a plane, near each other where their heads are alike."""

import math
from collections.abc import Iterator
from itertools import product
from typing import Any, Literal, get_args

import numpy as np
import plotly.graph_objects as go

from site_lens.diagnostics.clusters import TaskClusters
from site_lens.plots._accuracy import SYMBOLS
from site_lens.plots._layer_profile import LEGEND_WIDTH
from site_lens.plots._similarity import short
from site_lens.plots.theme import INK, PALETTE, TEMPLATE, plain, titled
from site_lens.records.base import Float32
from site_lens.records.errors import InputError, unknown_name

Layout = Literal["pca", "mds"]
Box = tuple[float, float, float, float]
"""Left, right, low and high edge, in pixels."""
Place = tuple[float, float, int, int]
"""Pixels to the right and up from the point to its name, side to which the name runs, length of the line."""
Sides = tuple[tuple[int, int], ...]

MAP_WIDTH, MAP_HEIGHT, INNER = 324, 420, 0.84
"""Pixels of the map on a phone, and the share of them that the points take: names are placed so that they stay apart
there; on wider pages they do all the more."""

LETTER, LINE, POINT = 6.2, 13, 12
"""Pixels of a letter's width, a line's height, and a point with the gap around it."""

ASIDE, STRAIGHT, SLANTED = ((1, 0), (-1, 0)), ((0, 1), (0, -1)), ((1, 1), (1, -1), (-1, 1), (-1, -1))
ORDERS = (ASIDE + STRAIGHT + SLANTED, ASIDE + SLANTED + STRAIGHT)
REACHES, MOST_LINES = (0, 12, 24, 36, 48), 24
"""Where a name may stand, best first: on a side (right, up) of its point, at the end of a line so many pixels long.
Which order leaves room for more names is tried. Above so many tasks there are no lines: they would cross."""

SHAPES = (*SYMBOLS[1:], "triangle-down", "hexagon", "star-diamond", "hourglass", "bowtie", "pentagon")
"""Symbols of known families; a task of none is a circle."""


def task_map(record: TaskClusters, *, by: Layout = "pca") -> go.Figure:
    """Draw the tasks in two dimensions, both on one scale: colour is the cluster, symbol the known family.

    Names stand beside their points, or at the end of a thin line where it is crowded. Those that would cover another
    name on a phone are left out; every point has its full name in the hover label.

    Args:
        record: Tasks grouped by their alphas.
        by: "pca", the first two principal components, or "mds", distances kept as well as a plane allows.

    Returns:
        A figure with one trace a cluster, in order of their numbers, tasks of no cluster last; then for the legend one
        empty trace a cluster, and one a known family. Names are annotations.

    Raises:
        InputError: There are fewer than three tasks, or no such layout.
    """
    if by not in get_args(Layout):
        raise unknown_name("layout", by, get_args(Layout))
    if len(record.items) < 3:
        raise InputError(f"a map needs at least three tasks, got {len(record.items)}; draw two by head_difference")
    xy = record.pca if by == "pca" else record.mds
    labels = sorted(set(record.labels), key=lambda label: (label < 0, label))
    legend = [_legend_entry(*entry) for entry in _legend(record, labels)]
    figure = go.Figure([_points(record, xy, label) for label in labels] + legend)
    top = 64 + 20 * math.ceil(len(legend) / 2)
    x_title, y_title = _axis_titles(record, by)
    x_range, y_range = (_padded(values) for values in xy.T)
    figure.update_layout(
        template=TEMPLATE,
        title=titled("tasks by their heads", _subtitle(record)),
        height=MAP_HEIGHT + top + 50,
        margin={"t": top},
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "font": {"size": 11},
                "itemclick": False, "itemdoubleclick": False},
        xaxis={"title": {"text": x_title}, "range": x_range, "nticks": 6, "constrain": "domain",
               "constraintoward": "left"},
        yaxis={"title": {"text": y_title}, "range": y_range, "scaleanchor": "x"},
        annotations=_names(xy, record.items),
    )  # fmt: skip
    return figure


def _points(record: TaskClusters, xy: Float32, label: int) -> go.Scatter:
    found = [i for i, other in enumerate(record.labels) if other == label]
    shapes = _shapes(record)
    return go.Scatter(
        name=_cluster_name(label),
        showlegend=False,
        x=xy[found, 0],
        y=xy[found, 1],
        mode="markers",
        cliponaxis=False,
        marker={"size": 9, "color": _color(label), "symbol": [shapes[record.families[i]] for i in found]},
        customdata=[[plain(record.items[i]), plain(record.families[i] or "unknown")] for i in found],
        hovertemplate=f"%{{customdata[0]}}<br>{_cluster_name(label)}<br>family %{{customdata[1]}}<br>"
        "%{x:.3f}, %{y:.3f}<extra></extra>",
    )


def _cluster_name(label: int) -> str:
    return "no cluster" if label < 0 else f"cluster {label}"


def _color(label: int) -> str:
    return PALETTE[6] if label < 0 else PALETTE[label % 6]


def _shapes(record: TaskClusters) -> dict[str | None, str]:
    known = dict.fromkeys(family for family in record.families if family is not None)
    return {family: SHAPES[i % len(SHAPES)] for i, family in enumerate(known)} | {None: SYMBOLS[0]}


def _legend(record: TaskClusters, labels: list[int]) -> Iterator[tuple[str, str, str]]:
    """Yield (name, colour, symbol) of what the legend explains: colours, then symbols if a family is known."""
    for label in labels:
        yield f"{_cluster_name(label)} ({record.labels.count(label)})", _color(label), SYMBOLS[0]
    for family, symbol in _shapes(record).items():
        if any(record.families) and family in record.families:
            yield family or "family unknown", INK, symbol


def _legend_entry(name: str, color: str, symbol: str) -> go.Scatter:
    return go.Scatter(
        name=plain(short(name, width=LEGEND_WIDTH)),
        showlegend=True,
        x=[None],
        y=[None],
        mode="markers",
        marker={"size": 9, "symbol": symbol, "color": color},
    )


def _names(xy: Float32, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Build an annotation a name, at the first place where it covers no point and no other name on a phone."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    room = np.array([MAP_WIDTH, MAP_HEIGHT])
    scale = float(((high - low) / (INNER * room)).max()) or 1.0
    points = (xy - (low + high) / 2) / scale + room / 2
    tries = product((list(range(len(names))), list(range(len(names)))[::-1]), ORDERS)
    placed = max((_placed(points, names, turns, sides) for turns, sides in tries), key=len)
    return [_name(names[i], xy[i], *place) for i, place in sorted(placed.items())]


def _placed(points: Float32, names: tuple[str, ...], turns: list[int], sides: Sides) -> dict[int, Place]:
    """Give each point in turn the first place for its name that is free; one without a free place has none."""
    taken = [_box(x, y, POINT, POINT) for x, y in points]
    texts: list[Box] = []
    reaches, found = REACHES if len(names) <= MOST_LINES else REACHES[:1], {}
    for i in turns:
        (x, y), width = points[i], LETTER * len(short(names[i])) + 4
        for reach, (right, up) in product(reaches, sides):
            dx, dy = right * (POINT / 2 + reach), up * ((POINT + LINE) / 2 + reach)
            box = _box(x + dx + right * width / 2, y + dy, width, LINE)
            line = [_box(x + share * dx, y + share * dy, 2, 2) for share in (0.4, 0.6, 0.8)] if reach else []
            if _is_free(box, taken) and all(_is_free(dot, texts) for dot in line):
                texts.append(box)
                taken += [box, *line]
                found[i] = (dx, dy, right, reach)
                break
    return found


def _name(name: str, at: Float32, dx: float, dy: float, right: int, reach: int) -> dict[str, Any]:
    return {
        "text": plain(short(name)), "hovertext": plain(name), "x": float(at[0]), "y": float(at[1]), "ax": dx, "ay": -dy,
        "xanchor": ("center", "left", "right")[right], "font": {"size": 11}, "borderpad": 0, "arrowhead": 0,
        "arrowwidth": 1, "standoff": 4, "arrowcolor": INK if reach else "rgba(0, 0, 0, 0)",
    }  # fmt: skip


def _box(x: float, y: float, width: float, height: float) -> Box:
    return x - width / 2, x + width / 2, y - height / 2, y + height / 2


def _is_free(box: Box, taken: list[Box]) -> bool:
    left, right, low, high = box
    inside = left >= 0 and right <= MAP_WIDTH and low >= 0 and high <= MAP_HEIGHT
    return inside and all(left >= r or right <= lft or low >= h or high <= lw for lft, r, lw, h in taken)


def _padded(values: Float32) -> list[float]:
    low, high = float(values.min()), float(values.max())
    pad = (1 / INNER - 1) / 2 * (high - low) or 1.0
    return [low - pad, high + pad]


def _axis_titles(record: TaskClusters, by: Layout) -> tuple[str, str]:
    if by == "mds":
        return "dimension 1 (1 - correlation)", "dimension 2 (1 - correlation)"
    first, second = (f"component {i} ({100 * share:.1f}% of variance)" for i, share in enumerate(record.explained, 1))
    return first, second


def _subtitle(record: TaskClusters) -> str:
    parts = ["one seed a task" if record.n_seeds == 1 else f"{record.n_seeds} seeds"]
    if record.stability is not None:
        parts.append(f"stability {record.stability.value:.2f}")
    if record.family_agreement is not None:
        parts.append(f"agreement with families {record.family_agreement.value:.2f}")
    return ", ".join(parts)
