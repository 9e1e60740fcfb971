"""Local page: its cell, which shows the explorer or an error and loads the model behind it, and its first view."""

from dataclasses import dataclass, field
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from site_lens.explorer.opening import explore, live_model
from site_lens.records.assets import asset
from site_lens.records.errors import SiteLensError
from site_lens.records.terminal_escape import visible
from site_lens.runs.run import Run
from site_lens.tasks.loading import load_tasks

if TYPE_CHECKING:
    from site_lens.methods.live import LiveModel

HEAD_PIXELS = 26
"""Pixels of a head of the first view at most."""
MAP_PIXELS = 560, 320
"""Pixels of its map at most, wide and high."""


@dataclass(frozen=True, slots=True)
class PageSource:
    """Source of a page, in values that can be written into a notebook."""

    run: str
    """Folder of the run; as all paths here, an absolute one."""
    model: str | None = None
    """Name or folder of the model; none is loaded when None."""
    tasks: tuple[str, ...] = ()
    """Where the tasks are; the package's own when there are none."""
    input_column: str = "input"
    output_column: str = "output"
    loading: dict[str, Any] = field(default_factory=dict)
    """How the model is loaded: further arguments of `load_model`."""

    def code(self) -> str:
        """Write the cell that shows this page."""
        return f"from site_lens.explorer.page import PageSource, show_page\nshow_page({self!r})"


def show_page(page: PageSource) -> Any:
    """Build the explorer of a page, or the message of a user's mistake; a model comes in once it is loaded."""
    try:
        run = Run.load(page.run)
        explorer = explore(run)
        if page.model is not None:
            explorer.await_model(page.model, partial(_load, page, page.model, run))
        return explorer
    except SiteLensError as error:
        from ipywidgets import HTML  # type: ignore[import-untyped]

        style = asset("explorer.css")
        return HTML(f'<style>{style}</style><div class="site-lens"><p class="complaint">{escape(str(error))}</p></div>')


def _load(page: PageSource, name: str, run: Run) -> "LiveModel":
    """Load the model of a page, and its tasks."""
    from site_lens.models.loading import load_model  # needs torch

    tasks = None
    if page.tasks:
        names = list(dict.fromkeys(fit.task for fit in run.fits.values()))
        tasks = load_tasks(page.tasks, names, input_column=page.input_column, output_column=page.output_column)
    return live_model(run, load_model(name, **page.loading), tasks)


def first_view(run: Run) -> str:
    """Draw the map that the explorer opens with as HTML without a script, to be seen while its kernel starts.

    It has the alphas of the first fit, with dots on chosen heads, and names these.
    """
    name, fit = next(iter(run.fits.items()))
    path = run.paths.get(fit.task)
    if path is None and fit.kept_start:
        return f"<p>{escape(visible(name))}: no map, the start was kept</p>"
    said = f"{name}: alphas of the heads" if path is None else path.sentence
    grid, chosen = fit.gates.grid, () if path is None or path.chosen is None else path.chosen.heads
    cells = "".join(
        f'<rect x="{head.head}" y="{grid.n_layers - 1 - head.layer}" width="1" height="1" '
        f'fill-opacity="{fit.gates[head]:.2f}"/>'
        for head in grid
    )
    dots = "".join(
        f'<circle cx="{head.head + 0.5}" cy="{grid.n_layers - 0.5 - head.layer}" r="0.18"/>' for head in chosen
    )
    size = min(HEAD_PIXELS, MAP_PIXELS[0] / grid.n_heads, MAP_PIXELS[1] / grid.n_layers)
    return (
        f'<svg role="img" aria-label="Head map" width="{size * grid.n_heads:.0f}" height="{size * grid.n_layers:.0f}" '
        f'viewBox="0 0 {grid.n_heads} {grid.n_layers}" style="background: #f1f1f1"><g fill="#0072b2">{cells}</g>'
        f'<g fill="#fff" stroke="#000" stroke-width="0.05">{dots}</g></svg><p>{escape(visible(said))}</p>'
    )
