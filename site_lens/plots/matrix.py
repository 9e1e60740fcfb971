"""Matrix plot: one coloured cell for each pair of a row and a column; every figure of this kind is drawn here."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from site_lens.plots.theme import TOP, color_axis, figure, plain, short

MOST_NAMED, MOST_COLUMNS_NAMED = 60, 20
"""Rows or columns up to which an axis has names; and columns whose names stay apart in a phone's width."""

COLUMN, ROW_NAMES, COLUMN_NAMES = 12, 150, 130
"""Pixels of a column that has a name, of the rows' names with the margins beside them, of the columns' names."""


def matrix(
    values: NDArray[Any],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str,
    subtitle: str,
    unit: str,
    hover: str,
    numbers: NDArray[Any] | None = None,
    text: Sequence[Sequence[str]] | None = None,
    low: float = 0,
    dots: tuple[NDArray[np.int_], ...] | None = None,
    breaks: tuple[Iterable[int], Iterable[int]] = ((), ()),
    most_columns: int = MOST_NAMED,
    above: int = 0,
    xaxis: Mapping[str, Any] | None = None,
    yaxis: Mapping[str, Any] | None = None,
) -> go.Figure:
    """Draw a matrix with the first row on top.

    Axes have short names, or none where there are too many; hover labels have the full ones.

    Args:
        values: (row column): NaN leaves a cell blank.
        rows: Names of the rows.
        columns: Names of the columns.
        title: Title of the figure.
        subtitle: What the cells are.
        unit: Unit of the colour bar.
        hover: Template of the hover label below the names, with `%{z}` and `%{customdata}`.
        numbers: (row column) or (row column number): what the template calls customdata.
        text: Text of every cell above the template, escaped; the names of row and column when None.
        low: Lower end of the colour scale, 0 or -1; the upper one is 1.
        dots: Rows and columns of the cells that are marked with a white dot.
        breaks: Indices of rows and of columns before which a white line runs.
        most_columns: Columns up to which these have names.
        above: Pixels left free above the matrix.
        xaxis: Further parts of the axis of the columns.
        yaxis: Further parts of the axis of the rows.

    Returns:
        A figure whose first trace is the matrix, and whose second is the dots, if any.
    """
    is_named = len(columns) <= most_columns, len(rows) <= MOST_NAMED
    if text is None and len(rows) * len(columns) <= MOST_NAMED**2:
        text = [[f"{plain(row)}<br>{plain(column)}" for column in columns] for row in rows]
    gap = 1 if len(columns) <= 16 else 0
    cells = go.Heatmap(
        z=values,
        text=text,
        customdata=numbers,
        coloraxis="coloraxis",
        xgap=gap,
        ygap=gap,
        hoverongaps=False,
        hovertemplate=f"{'%{y}<br>%{x}' if text is None else '%{text}'}{hover}<extra></extra>",
    )
    traces = [cells]
    if dots is not None:
        marker = {"size": 4, "color": "#ffffff", "line": {"color": "#20242b", "width": 1}}
        y, x = dots
        traces.append(go.Scatter(x=x, y=y, mode="markers", marker=marker, hoverinfo="skip", showlegend=False))
    inner = _height(len(rows)) + above
    height = inner + TOP + (COLUMN_NAMES if is_named[0] else 36)
    scrolls = is_named[0] and len(columns) > MOST_COLUMNS_NAMED
    least = COLUMN * len(columns) + ROW_NAMES
    shapes = [
        {"type": "line", f"{along}0": at - 0.5, f"{along}1": at - 0.5, f"{across}ref": "paper", f"{across}0": 0,
         f"{across}1": 1, "line": {"color": "#ffffff", "width": 2}}
        for along, across, places in (("y", "x", breaks[0]), ("x", "y", breaks[1])) for at in places
    ]  # fmt: skip
    return figure(
        traces,
        title,
        subtitle,
        width=max(420, ROW_NAMES + min(max(40 * len(columns), 200), 700), least if scrolls else 0),
        height=height,
        top=TOP,
        margin={"b": 24, "l": 12},
        coloraxis=color_axis(unit, height, low=low),
        xaxis=named_axis(columns, named=is_named[0]) | {"tickangle": -90} | dict(xaxis or {}),
        yaxis=named_axis(rows, named=is_named[1])
        | {"range": [len(rows) - 0.5, -0.5], "domain": [0, 1 - above / inner]}
        | dict(yaxis or {}),
        shapes=shapes,
        **{"meta": {"least_width": least}} if scrolls else {},
    )


def named_axis(names: Sequence[str], *, named: bool = True) -> dict[str, Any]:
    """Build an axis over names at 0 to n - 1; without visible names hover labels still read the full ones off it."""
    texts = [plain(short(name) if named else name) for name in names]
    ticks = {"tickmode": "array", "tickvals": list(range(len(names))), "ticktext": texts, "showticklabels": named}
    return ticks | {"tickfont": {"size": 11}, "range": [-0.5, len(names) - 0.5], "showgrid": False}


def _height(n_rows: int) -> int:
    """Return the pixels of the rows alone."""
    return min(max(22 * n_rows, 120), 360) if n_rows <= 24 else 15 * n_rows if n_rows <= MOST_NAMED else 640
