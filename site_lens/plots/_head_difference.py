"""Head difference: one record less another, head by head."""

import numpy as np
import plotly.graph_objects as go

from site_lens.heads.scores import HeadGates, HeadScores
from site_lens.plots._head_map import colorbar, grid_traces, map_height, ranks
from site_lens.plots._similarity import short
from site_lens.plots.theme import SIGNED_SCALE, TEMPLATE, index_axis, plain, titled
from site_lens.records.errors import MismatchError
from site_lens.site.fit import SiteFit


def head_difference(
    first: HeadScores | SiteFit, second: HeadScores | SiteFit, *, title: str | None = None
) -> go.Figure:
    """Draw the first record less the second as a heat map, red where the first is higher, layer 0 at the bottom.

    Differences of gates are drawn on a fixed scale from -1 to 1, those of other scores on a scale centred on zero;
    places where the grid has no head are grey.

    Args:
        first: Scores or gates, or a fit, whose gates are drawn.
        second: What is taken off, over the same grid and in the same unit.
        title: Title of the figure; the names of both records when None.

    Returns:
        A figure whose first trace holds the differences (layer head), NaN where there is no head.

    Raises:
        MismatchError: The records have different grids or units.
    """
    one, two = (record.gates if isinstance(record, SiteFit) else record for record in (first, second))
    gates = _need_one_unit(one, two)
    difference = one.values - two.values
    limit = 1.0 if gates else float(np.abs(difference).max()) or 1.0
    unit = "alpha" if gates else "score"
    names = _names(first, second)
    lines = [f"difference %{{z:+.3f}}<br>{unit} (rank of {len(one.grid)}):"] + [
        f"{plain(name).replace('%{', '% {')}: %{{customdata[{i}]:.3f}} (%{{customdata[{i + 1}]}})"
        for i, name in zip((0, 2), names, strict=True)
    ]
    numbers = np.stack([one.values, ranks(one), two.values, ranks(two)], axis=2)
    figure = go.Figure(grid_traces(difference, one.grid, numbers, lines))
    n_layers, n_heads = one.grid.shape
    figure.update_layout(
        template=TEMPLATE,
        title=titled(
            title if title is not None else " minus ".join(short(name) for name in names),
            "red: higher in the first, blue: in the second",
        ),
        height=map_height(n_layers),
        coloraxis={"cmin": -limit, "cmax": limit, "colorscale": SIGNED_SCALE,
                   "colorbar": colorbar(f"difference of {unit if gates else one.meaning}")},
        xaxis={"title": {"text": "head"}, **index_axis(n_heads)},
        yaxis={"title": {"text": "layer"}, **index_axis(n_layers)},
    )  # fmt: skip
    return figure


def _need_one_unit(one: HeadScores, two: HeadScores) -> bool:
    """Return whether both are gates; refuse what cannot be subtracted."""
    if one.grid != two.grid:
        raise MismatchError(f"a record over {one.grid} cannot be compared head by head with one over {two.grid}")
    gates = [isinstance(scores, HeadGates) for scores in (one, two)]
    if not all(gates) and (any(gates) or one.meaning != two.meaning):
        raise MismatchError(
            f"numbers of different units have no difference: {one.meaning!r} and {two.meaning!r}; draw each by head_map"
        )
    return all(gates)


def _names(first: HeadScores | SiteFit, second: HeadScores | SiteFit) -> tuple[str, str]:
    """Name both records by task or selector, with what else tells them apart where these are the same."""
    names, details = [], []
    for record in (first, second):
        if isinstance(record, SiteFit):
            names.append(record.task)
            details.append(f"seed {record.seed}")
        else:
            names.append(record.task or record.selector)
            details.append(record.selector)
    if names[0] != names[1]:
        return names[0], names[1]
    return f"{names[0]} ({details[0]})", f"{names[1]} ({details[1]})"
