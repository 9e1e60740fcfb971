"""First view of the local page: the head map that the explorer opens with, drawn while its kernel starts."""

from html import escape

from site_lens.records.terminal_escape import visible
from site_lens.runs.run import Run

CELL = 26
"""Pixels of a head at most."""
MOST_SIZE = 560, 320
"""Pixels of the map at most, wide and high."""


def first_view(run: Run) -> str:
    """Draw the alphas of the first fit as HTML without a script, with dots on chosen heads, and name these."""
    name, fit = next(iter(run.fits.items()))
    path = run.paths.get(fit.task)
    said = f"{name}: no map, the start was kept" if fit.kept_start else f"{name}: alphas of the heads"
    said = said if path is None else path.sentence
    text = f"<p>{escape(visible(said))}</p>"
    if fit.kept_start and path is None:
        return text
    grid, chosen = fit.gates.grid, () if path is None or path.chosen is None else path.chosen.heads
    cells = "".join(
        f'<rect x="{head.head}" y="{grid.n_layers - 1 - head.layer}" width="1" height="1" '
        f'fill-opacity="{fit.gates[head]:.2f}"/>'
        for head in grid
    )
    dots = "".join(
        f'<circle cx="{head.head + 0.5}" cy="{grid.n_layers - 0.5 - head.layer}" r="0.18"/>' for head in chosen
    )
    size = min(CELL, MOST_SIZE[0] / grid.n_heads, MOST_SIZE[1] / grid.n_layers)
    return (
        f'<svg role="img" aria-label="Head map" width="{size * grid.n_heads:.0f}" height="{size * grid.n_layers:.0f}" '
        f'viewBox="0 0 {grid.n_heads} {grid.n_layers}" style="background: #f1f1f1"><g fill="#0072b2">{cells}</g>'
        f'<g fill="#fff" stroke="#000" stroke-width="0.05">{dots}</g></svg>{text}'
    )
