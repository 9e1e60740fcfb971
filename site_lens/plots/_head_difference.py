"""Head difference: one record less another, head by head."""

import numpy as np
import plotly.graph_objects as go

from site_lens.heads.scores import HeadGates, HeadScores
from site_lens.plots.head_grid import grid_traces, map_figure, ranks
from site_lens.plots.theme import in_template, short
from site_lens.records.errors import MismatchError
from site_lens.site.fit import SiteFit


def head_difference(
    first: HeadScores | SiteFit,
    second: HeadScores | SiteFit,
    *,
    names: tuple[str, str] | None = None,
    title: str | None = None,
) -> go.Figure:
    """Draw the first record less the second as a heat map, red where the first is higher, layer 0 at the bottom.

    Differences of gates are drawn on a fixed scale from -1 to 1, those of other scores on a scale centred on zero;
    places where the grid has no head are grey.

    Args:
        first: Scores or gates, or a fit, whose gates are drawn.
        second: What is taken off, over the same grid and in the same unit.
        names: What to call the two; their tasks or selectors, and seeds where these are the same, when None.
        title: Title of the figure; both names when None.

    Returns:
        A figure whose first trace holds the differences (layer head), NaN where there is no head.

    Raises:
        MismatchError: The records have different grids or units.
    """
    minuend, subtrahend = (record.gates if isinstance(record, SiteFit) else record for record in (first, second))
    is_gates = _need_same_unit(minuend, subtrahend)
    difference, grid = minuend.values - subtrahend.values, minuend.grid
    limit = 1.0 if is_gates else float(np.abs(difference).max()) or 1.0
    names = names or _names(first, second)
    lines = [
        f"difference %{{z:+.3f}}<br>{'alpha' if is_gates else 'score'} (rank of {len(grid)}):",
        f"{in_template(names[0])}: %{{customdata[0]:.3f}} (%{{customdata[1]}})",
        f"{in_template(names[1])}: %{{customdata[2]:.3f}} (%{{customdata[3]}})",
    ]
    numbers = np.stack([minuend.values, ranks(minuend), subtrahend.values, ranks(subtrahend)], axis=2)
    traces = grid_traces(difference, grid, numbers, lines)
    title = title if title is not None else " minus ".join(map(short, names))
    subtitle = "Red: higher in the first, blue: in the second" + ("" if is_gates else f"; {minuend.meaning}")
    unit = "Difference of alpha" if is_gates else "Difference"
    return map_figure(traces, grid, title, subtitle, unit, (-limit, limit))


def _need_same_unit(minuend: HeadScores, subtrahend: HeadScores) -> bool:
    """Return whether both are gates; refuse what cannot be subtracted."""
    if minuend.grid != subtrahend.grid:
        raise MismatchError(
            f"a record over {minuend.grid} cannot be compared head by head with one over {subtrahend.grid}"
        )
    gates = [isinstance(scores, HeadGates) for scores in (minuend, subtrahend)]
    if not all(gates) and (any(gates) or minuend.meaning != subtrahend.meaning):
        raise MismatchError(
            f"numbers of different units have no difference: {minuend.meaning!r} and {subtrahend.meaning!r}; draw each "
            "by head_map"
        )
    return all(gates)


def _names(first: HeadScores | SiteFit, second: HeadScores | SiteFit) -> tuple[str, str]:
    """Name both records by task or selector, with what else tells them apart where these are the same."""
    records = first, second
    details = [f"seed {record.seed}" if isinstance(record, SiteFit) else record.selector for record in records]
    one, other = (record.task or detail for record, detail in zip(records, details, strict=True))
    return (one, other) if one != other else (f"{one} ({details[0]})", f"{other} ({details[1]})")
