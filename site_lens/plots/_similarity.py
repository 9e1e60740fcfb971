"""Similarity: how alike the head maps of some records are, pair by pair."""

from typing import Any, Literal, get_args

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from site_lens.diagnostics.clusters import HeadClusters, TaskClusters
from site_lens.diagnostics.overlap import Overlap
from site_lens.plots.theme import GATE_SCALE, INK, SIGNED_SCALE, TEMPLATE, at_least, plain, titled
from site_lens.records.base import Float32
from site_lens.records.errors import unknown_name
from site_lens.stats.paired_tests import SIGNIFICANT

Measure = Literal["jaccard", "jaccard_top", "overlap_coefficient", "spearman", "rank_biased"]

MOST_NAMED, MOST_COLUMNS_NAMED = 60, 20
"""Rows up to which a matrix has names on its axis; and columns whose names stay apart in a phone's width."""

COLUMN, ROW_NAMES = 12, 150
"""Pixels of a column that has a name, and of the names of the rows with the margins beside them."""

NAME_WIDTH = 18
"""Characters of a name on an axis; hover labels have the full one."""

BAR_FROM_TOP, TOP = 66, 106
"""Pixels from the top edge of a figure to a colour bar that lies on top, and to the map below it."""

TREE = 84
"""Pixels of the tree above a matrix."""


def similarity(record: Overlap | TaskClusters | HeadClusters, *, measure: Measure = "jaccard") -> go.Figure:
    """Draw the similarity of all pairs as a matrix, the first row on top.

    Of an overlap the rows are its records in their order, and a dot marks the pairs that share more heads than
    layer-matched random sets do (q < 0.05). Of clusters the rows are the items in optimal leaf order, with the tree of
    their distances above the columns, and the number is their correlation.

    Args:
        record: A comparison of head maps, or clusters of tasks or of heads.
        measure: Which measure of an overlap to draw; clusters have only their correlation.

    Returns:
        A figure whose first trace is the matrix (row column) of the similarities: on a fixed scale from 0 to 1, or
        from -1 to 1 for correlations. The second is the dots of an overlap, or the tree of clusters.

    Raises:
        InputError: There is no such measure.
    """
    if isinstance(record, Overlap):
        if measure not in get_args(Measure):
            raise unknown_name("measure", measure, get_args(Measure))
        return _of_overlap(record, measure)
    return _of_clusters(record)


def short(name: str, *, width: int = NAME_WIDTH) -> str:
    """Shorten a name in the middle, because names of one family often differ at the end only; not escaped."""
    kept = width - 1
    return name if len(name) <= width else f"{name[: kept - kept // 2]}…{name[len(name) - kept // 2 :]}"


def named_axis(names: list[str], *, most: int = MOST_NAMED) -> dict[str, Any]:
    """Build an axis over names at 0 to n - 1; above `most` names it shows none, and hover labels read them off it."""
    shown = len(names) <= most
    return {
        "tickmode": "array",
        "tickvals": list(range(len(names))),
        "ticktext": [plain(short(name) if shown else name) for name in names],
        "showticklabels": shown,
        "tickfont": {"size": 11},
        "range": [-0.5, len(names) - 0.5],
        "showgrid": False,
    }


def bar_on_top(unit: str, height: int, *, ticks: list[float]) -> dict[str, Any]:
    """Build a colour bar that lies between the title and the map of a figure, which leaves it a phone's width.

    It hangs from the top edge of the figure: plotly would move the title along with one that stands on the map. Its
    unit stands before it and takes part of its length.
    """
    return {"orientation": "h", "lenmode": "pixels", "len": 72 + 7.5 * len(unit), "thickness": 8, "tickvals": ticks,
            "x": 0, "xanchor": "left", "xpad": 0, "y": 1 - BAR_FROM_TOP / height, "yref": "container",
            "yanchor": "top", "ypad": 0,
            "title": {"text": plain(unit) + "&nbsp;", "side": "right", "font": {"size": 12}}}  # fmt: skip


def _of_overlap(record: Overlap, measure: Measure) -> go.Figure:
    signed = measure == "spearman"
    numbers = np.stack([record.p_value, record.q_value], axis=2)
    hover = f"{measure} %{{z:.3f}}<br>p %{{customdata[0]:.3g}}, q %{{customdata[1]:.3g}}"
    rows, columns = np.nonzero((record.q_value < SIGNIFICANT) & ~np.eye(len(record.names), dtype=bool))
    dots = go.Scatter(
        x=columns,
        y=rows,
        mode="markers",
        marker={"size": 4, "color": "#ffffff", "line": {"color": "#20242b", "width": 1}},
        hoverinfo="skip",
        showlegend=False,
    )
    figure = go.Figure([_cells(list(record.names), getattr(record, measure), numbers, hover), dots])
    _lay_out(figure, list(record.names))
    sets = f"top {record.k}" if record.threshold is None else f"above {record.threshold:g}"
    figure.update_layout(
        title=titled("similarity of head maps", f"dots: sets ({sets}) share more than chance, q < {SIGNIFICANT}"),
        coloraxis=_color_axis(measure, figure.layout.height, signed=signed),
    )
    return figure


def _of_clusters(record: TaskClusters | HeadClusters) -> go.Figure:
    names = [record.items[i] for i in record.order]
    correlation = 1 - record.distance[np.ix_(record.order, record.order)]
    labels = np.array(record.labels)[list(record.order)]
    numbers = np.stack(np.broadcast_arrays(labels[:, None], labels[None, :]), axis=2)
    hover = "correlation %{z:.3f}<br>clusters %{customdata[0]} and %{customdata[1]}"
    inner = _matrix_height(len(names)) + TREE + 4
    figure = make_subplots(
        2, 1, shared_xaxes=True, vertical_spacing=4 / inner, row_heights=[TREE, inner - TREE - 4],
        figure=go.Figure(layout={"template": TEMPLATE}),
    )  # fmt: skip
    figure.add_trace(_cells(names, correlation, numbers, hover), row=2, col=1)
    figure.add_trace(_tree(record), row=1, col=1)
    _lay_out(figure, names, tree=TREE + 4, row=2, col=1)
    figure.update_yaxes(title_text="distance", rangemode="tozero", nticks=3, showgrid=False, row=1, col=1)
    figure.update_xaxes(range=[-0.5, len(names) - 0.5], showgrid=False, row=1, col=1)
    what = "tasks" if isinstance(record, TaskClusters) else "heads"
    seeds = "one seed a task" if record.n_seeds == 1 else f"{record.n_seeds} seeds a task or more"
    figure.update_layout(
        title=titled(f"similarity of {what}", f"neighbours are alike; {seeds}"),
        coloraxis=_color_axis("correlation of alphas", figure.layout.height, signed=True),
    )
    return figure


def _cells(names: list[str], values: Float32, numbers: NDArray[Any], hover: str) -> go.Heatmap:
    """Build the matrix; its full names are in `text`, or, where they are many, read off the axes."""
    gap, full = 1 if len(names) <= 16 else 0, [plain(name) for name in names]
    named = len(names) <= MOST_NAMED
    return go.Heatmap(
        z=values,
        text=[[f"{row}<br>{column}" for column in full] for row in full] if named else None,
        customdata=numbers,
        coloraxis="coloraxis",
        xgap=gap,
        ygap=gap,
        hovertemplate=f"{'%{text}' if named else '%{y}<br>%{x}'}<br>{hover}<extra></extra>",
    )


def _tree(record: TaskClusters | HeadClusters) -> go.Scatter:
    """Build the lines of the tree: each merge is a bracket as high as its distance, over the middles of its parts."""
    n = len(record.order)
    middle, height = np.zeros(n + len(record.linkage)), np.zeros(n + len(record.linkage))
    middle[list(record.order)] = np.arange(n)
    x, y = [], []
    for merged, (left, right, distance, _) in enumerate(record.linkage, start=n):
        parts = [int(left), int(right)]
        x += [*np.repeat(middle[parts], 2), np.nan]
        y += [height[parts[0]], distance, distance, height[parts[1]], np.nan]
        middle[merged], height[merged] = middle[parts].mean(), distance
    return go.Scatter(
        x=np.array(x[:-1], dtype=np.float32),
        y=np.array(y[:-1], dtype=np.float32),
        mode="lines",
        line={"color": INK, "width": 1},
        hovertemplate="distance %{y:.3f}<extra></extra>",
        showlegend=False,
    )


def _lay_out(figure: go.Figure, names: list[str], *, tree: int = 0, **cell: int) -> None:
    columns = len(names) <= MOST_NAMED
    figure.update_layout(
        template=TEMPLATE,
        height=_matrix_height(len(names)) + tree + TOP + (130 if columns else 36),
        margin={"t": TOP, "b": 24, "l": 12},
        **at_least(COLUMN * len(names) + ROW_NAMES) if MOST_COLUMNS_NAMED < len(names) <= MOST_NAMED else {},
    )
    figure.update_yaxes(**named_axis(names) | {"range": [len(names) - 0.5, -0.5]}, **cell)
    figure.update_xaxes(**named_axis(names) | ({"tickangle": -90} if columns else {"showticklabels": False}), **cell)


def _matrix_height(n: int) -> int:
    return min(max(22 * n, 120), 360) if n <= 24 else 15 * n if n <= MOST_NAMED else 640


def _color_axis(unit: str, height: int, *, signed: bool) -> dict[str, Any]:
    ticks: list[float] = [-1, 0, 1] if signed else [0, 0.5, 1]
    return {
        "cmin": ticks[0],
        "cmax": 1,
        "colorscale": SIGNED_SCALE if signed else GATE_SCALE,
        "colorbar": bar_on_top(unit, height, ticks=ticks),
    }
