"""Task map: tasks as points of a plane, near each other where their heads are alike."""

from itertools import product
from typing import Literal

import numpy as np
import plotly.graph_objects as go

from site_lens.diagnostics.task_clusters import TaskClusters
from site_lens.plots.theme import GREY, PALETTE, SYMBOLS, TITLE, figure, plain, short
from site_lens.records.base import Float32
from site_lens.records.errors import InputError

Layout = Literal["pca", "mds"]
Box = tuple[float, float, float, float]
"""Left, right, low and high edge, in pixels."""

LEGEND_WIDTH = 16
"""Characters of a legend entry that fit twice into a phone's width."""

MAP_WIDTH, MAP_HEIGHT, INNER = 324, 420, 0.84
"""Pixels of the map on a phone, and the share of them that the points take: names are placed so that they stay apart
there; on wider pages they do all the more."""

MOST_WIDE = 760
"""Pixels from side to side, more than which would be left empty."""

LETTER, LINE, POINT = 6.2, 13, 12
"""Pixels of a letter's width, a line's height, and a point with the gap around it."""

SIDES = (("middle", "right"), ("middle", "left"), ("top", "center"), ("bottom", "center"),
         ("top", "right"), ("bottom", "right"), ("top", "left"), ("bottom", "left"))  # fmt: skip
"""Where a name may stand beside its point, best first."""

SHIFT = {"top": 1, "right": 1, "middle": 0, "center": 0, "bottom": -1, "left": -1}

SHAPES = (*SYMBOLS[1:], "triangle-down", "hexagon", "star-diamond", "hourglass", "bowtie", "pentagon")
"""Symbols of known families; a task of none is a circle."""


def task_map(record: TaskClusters, *, by: Layout = "pca") -> go.Figure:
    """Draw the tasks in two dimensions, both on one scale: colour is the cluster, symbol the known family.

    Names stand beside their points. Those that would cover another name on a phone are left out; every point has its
    full name in the hover label.

    Args:
        record: Tasks grouped by their alphas.
        by: "pca", the first two principal components, or "mds", distances kept as well as a plane allows.

    Returns:
        A figure with one trace a cluster, in order of their numbers, tasks of no cluster last; then for the legend one
        empty trace a cluster, and one a known family.

    Raises:
        InputError: There are fewer than three tasks, or no such layout.
    """
    if len(record.items) < 3:
        raise InputError(f"a map needs at least three tasks, got {len(record.items)}; draw two by head_difference")
    xy = record.pca if by == "pca" else record.mds
    labels = sorted(set(record.labels), key=lambda label: (label < 0, label))
    sides = _sides(xy, record.items)
    families = dict.fromkeys(family for family in record.families if family is not None)
    shapes = {family: SHAPES[i % len(SHAPES)] for i, family in enumerate(families)}
    entries = [(f"{_name(label)} ({record.labels.count(label)})", _color(label), SYMBOLS[0]) for label in labels]
    entries += [(family, GREY, shape) for family, shape in shapes.items()]
    entries += [("family unknown", GREY, SYMBOLS[0])] * (bool(shapes) and None in record.families)
    titles = ["Dimension 1 (1 - correlation)", "Dimension 2 (1 - correlation)"]
    if by == "pca":
        titles = [f"Component {i} ({100 * share:.1f}% of variance)" for i, share in enumerate(record.explained, 1)]
    (x_title, y_title), (x_range, y_range) = titles, (_padded(values) for values in xy.T)
    return figure(
        [_points(record, xy, label, sides, shapes) for label in labels] + [_legend_entry(*entry) for entry in entries],
        "Tasks by their heads",
        _subtitle(record),
        height=MAP_HEIGHT + TITLE + 8 + 50,
        width=MOST_WIDE,
        entries=[short(name, width=LEGEND_WIDTH) for name, *_ in entries],
        legend={"itemclick": False, "itemdoubleclick": False},
        xaxis={"title": {"text": x_title}, "range": x_range, "nticks": 6, "constrain": "domain",
               "constraintoward": "left"},
        yaxis={"title": {"text": y_title}, "range": y_range, "scaleanchor": "x"},
    )  # fmt: skip


def _points(
    record: TaskClusters, xy: Float32, label: int, sides: dict[int, tuple[str, str]], shapes: dict[str, str]
) -> go.Scatter:
    tasks = [i for i, other in enumerate(record.labels) if other == label]
    symbols = [shapes.get(record.families[i] or "", SYMBOLS[0]) for i in tasks]
    return go.Scatter(
        name=_name(label),
        showlegend=False,
        x=xy[tasks, 0],
        y=xy[tasks, 1],
        mode="markers+text",
        text=[plain(short(record.items[i])) if i in sides else "" for i in tasks],
        textposition=[" ".join(sides.get(i, SIDES[0])) for i in tasks],
        textfont={"size": 11},
        cliponaxis=False,
        marker={"size": 9, "color": _color(label), "symbol": symbols},
        customdata=[[plain(record.items[i]), plain(record.families[i] or "unknown")] for i in tasks],
        hovertemplate=f"%{{customdata[0]}}<br>{_name(label)}<br>family %{{customdata[1]}}<br>"
        "%{x:.3f}, %{y:.3f}<extra></extra>",
    )


def _name(label: int) -> str:
    return "no cluster" if label < 0 else f"cluster {label}"


def _color(label: int) -> str:
    return PALETTE[6] if label < 0 else PALETTE[label % 6]


def _legend_entry(name: str, color: str, symbol: str) -> go.Scatter:
    marker = {"size": 9, "symbol": symbol, "color": color}
    return go.Scatter(name=plain(short(name, width=LEGEND_WIDTH)), x=[None], y=[None], mode="markers", marker=marker)


def _sides(xy: Float32, names: tuple[str, ...]) -> dict[int, tuple[str, str]]:
    """Give each point in turn the first side on which its name covers no point and no other name on a phone."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    room = np.array([MAP_WIDTH, MAP_HEIGHT])
    scale = float(((high - low) / (INNER * room)).max()) or 1.0
    points = (xy - (low + high) / 2) / scale + room / 2
    taken = [_box(x, y, POINT, POINT) for x, y in points]
    sides = {}
    for (i, (x, y)), side in product(enumerate(points), SIDES):
        width = LETTER * len(short(names[i])) + 4
        across, up = SHIFT[side[1]] * (POINT + width) / 2, SHIFT[side[0]] * LINE
        box = _box(x + across, y + up, width, LINE)
        if i not in sides and _is_free(box, taken):
            taken.append(box)
            sides[i] = side
    return sides


def _box(x: float, y: float, width: float, height: float) -> Box:
    return x - width / 2, x + width / 2, y - height / 2, y + height / 2


def _is_free(box: Box, taken: list[Box]) -> bool:
    left, right, low, high = box
    is_inside = left >= 0 and right <= MAP_WIDTH and low >= 0 and high <= MAP_HEIGHT
    return is_inside and all(left >= r or right <= lft or low >= h or high <= lw for lft, r, lw, h in taken)


def _padded(values: Float32) -> list[float]:
    low, high = float(values.min()), float(values.max())
    pad = (1 / INNER - 1) / 2 * (high - low) or 1.0
    return [low - pad, high + pad]


def _subtitle(record: TaskClusters) -> str:
    parts = ["One seed a task" if record.n_seeds == 1 else f"{record.n_seeds} seeds"]
    if record.stability is not None:
        parts.append(f"stability {record.stability.value:.2f}")
    if record.family_agreement is not None:
        parts.append(f"agreement with families {record.family_agreement.value:.2f}")
    return ", ".join(parts)
