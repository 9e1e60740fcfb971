"""Cell of the local page: show the explorer of the records, or the error, and load the model behind it."""

from dataclasses import asdict, dataclass, field
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from site_lens.explorer.opening import explore, live_model
from site_lens.records.assets import MODEL_NAMES, asset
from site_lens.records.errors import SiteLensError
from site_lens.records.limited_io import is_there
from site_lens.runs.run import Run
from site_lens.tasks.loading import load_tasks

if TYPE_CHECKING:
    from site_lens.explorer.view import Explorer
    from site_lens.methods.live import LiveModel


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
