"""What the local page runs in its kernel: load the records and the model, and show the explorer or what is wrong."""

from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from site_lens.explorer.opening import explore
from site_lens.records.assets import asset
from site_lens.records.errors import SiteLensError
from site_lens.records.limited_io import is_there
from site_lens.runs.run import Run
from site_lens.tasks.loading import load_tasks

if TYPE_CHECKING:
    from site_lens.explorer.view import Explorer


@dataclass(frozen=True, slots=True)
class PageSource:
    """What a page shows, in words that survive a notebook."""

    run: str
    """Folder of the run."""
    folder: str
    """Where relative paths begin."""
    model: str | None = None
    """Name or folder of the model; none is loaded when None."""
    tasks: str | None = None
    """Where the tasks are; the package's own when None."""
    input_column: str = "input"
    output_column: str = "output"
    loading: dict[str, Any] = field(default_factory=dict)
    """How the model is loaded: further arguments of `load_model`."""

    def code(self) -> str:
        """Write the cell that shows this page."""
        return f"from site_lens.explorer.page import show_page\nshow_page(**{asdict(self)!r})"


def show_page(**source: Any) -> "Explorer | Complaint":
    """Build the explorer of a page; a user's mistake becomes a sentence on it. Arguments are those of `PageSource`."""
    try:
        return _opened(PageSource(**source))
    except SiteLensError as error:
        return Complaint(str(error))


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong, in place of the explorer."""

    text: str

    def _repr_html_(self) -> str:
        style = asset("explorer.css")
        return f'<style>{style}</style><div class="site-lens"><p class="complaint">{escape(self.text)}</p></div>'


def _there(folder: str, name: str) -> str:
    """Read a name as a path that begins in a folder, where there is such a file or folder; "demo" is none."""
    path = Path(folder) / name
    return str(path) if name != "demo" and is_there(path) else name


def _opened(page: PageSource) -> "Explorer":
    run = Run.load(Path(page.folder) / page.run)
    if page.model is None:
        return explore(run)
    from site_lens.models.loading import load_model  # needs torch

    names = list(dict.fromkeys(fit.task for fit in run.fits.values()))
    tasks = None
    if page.tasks is not None:
        found = _there(page.folder, page.tasks)
        tasks = load_tasks(found, names, input_column=page.input_column, output_column=page.output_column)
    model = load_model(_there(page.folder, page.model), **page.loading)
    return explore(run, model, tasks=tasks)
