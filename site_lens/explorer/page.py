"""Local page: its cell, which shows the explorer or an error and loads the model behind it, and its first view."""

from dataclasses import asdict, dataclass, field
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from site_lens.explorer.opening import explore, live_model
from site_lens.records.assets import MODEL_NAMES, asset
from site_lens.records.errors import SiteLensError
from site_lens.records.limited_io import is_there
from site_lens.records.terminal_escape import visible
from site_lens.runs.run import Run
from site_lens.tasks.loading import load_tasks

if TYPE_CHECKING:
    from site_lens.explorer.view import Explorer
    from site_lens.methods.live import LiveModel

HEAD_PIXELS = 26
"""Pixels of a head of the first view at most."""
MAP_PIXELS = 560, 320
"""Pixels of its map at most, wide and high."""


@dataclass(frozen=True, slots=True)
class PageSource:
    """Source of a page, in values that can be written into a notebook."""

    run: str
    """Folder of the run."""
    folder: str
    """Where relative paths begin."""
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
        return f"from site_lens.explorer.page import show_page\nshow_page(**{asdict(self)!r})"


def show_page(**source: Any) -> "Explorer | Complaint":
    """Build the explorer of a page, or the message of a user's mistake; a model comes in once it is loaded.

    Arguments are those of `PageSource`.
    """
    page = PageSource(**source)
    try:
        run = Run.load(Path(page.folder) / page.run)
        explorer = explore(run)
        if page.model is not None:
            explorer.await_model(page.model, partial(_load, page, page.model, run))
        return explorer
    except SiteLensError as error:
        return Complaint(str(error))


def _load(page: PageSource, name: str, run: Run) -> "LiveModel":
    """Load the model of a page, and its tasks."""
    from site_lens.models.loading import load_model  # needs torch

    tasks = None
    if page.tasks:
        names = list(dict.fromkeys(fit.task for fit in run.fits.values()))
        sources = [_beside(page.folder, source) for source in page.tasks]
        tasks = load_tasks(sources, names, input_column=page.input_column, output_column=page.output_column)
    return live_model(run, load_model(_beside(page.folder, name), **page.loading), tasks)


@dataclass(frozen=True, slots=True)
class Complaint:
    """Message of a mistake, in place of the explorer."""

    text: str

    def _repr_html_(self) -> str:
        style = asset("explorer.css")
        return f'<style>{style}</style><div class="site-lens"><p class="complaint">{escape(self.text)}</p></div>'


def _beside(folder: str, name: str) -> str:
    """Return a name as a path in a folder if such a file or folder exists, else unchanged."""
    path = Path(folder) / name
    return str(path) if name not in MODEL_NAMES and is_there(path) else name


def first_view(run: Run) -> str:
    """Draw the map that the explorer opens with as HTML without a script, to be seen while its kernel starts.

    It has the alphas of the first fit, with dots on chosen heads, and names these.
    """
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
    size = min(HEAD_PIXELS, MAP_PIXELS[0] / grid.n_heads, MAP_PIXELS[1] / grid.n_layers)
    return (
        f'<svg role="img" aria-label="Head map" width="{size * grid.n_heads:.0f}" height="{size * grid.n_layers:.0f}" '
        f'viewBox="0 0 {grid.n_heads} {grid.n_layers}" style="background: #f1f1f1"><g fill="#0072b2">{cells}</g>'
        f'<g fill="#fff" stroke="#000" stroke-width="0.05">{dots}</g></svg>{text}'
    )
