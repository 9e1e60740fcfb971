"""Progress: a bar on a terminal and in notebooks, a line a minute where the output goes elsewhere."""

import sys
from importlib.util import find_spec
from io import StringIO
from typing import Any

from tqdm import tqdm

LOG_SECONDS = 60.0
"""Seconds between two lines where nobody watches; what is done sooner prints none."""


class LoggedProgress(tqdm):  # type: ignore[type-arg]  # generic in its stubs alone
    """Progress as whole lines on stderr, for logs."""

    def __init__(self, **settings: Any) -> None:
        pace: dict[str, Any] = dict.fromkeys(("delay", "mininterval", "maxinterval"), LOG_SECONDS)
        super().__init__(**settings, **pace, file=StringIO())  # what tqdm itself writes moves the cursor of a terminal

    def display(self, msg: str | None = None, pos: int | None = None) -> None:  # noqa: ARG002  # a line has no place
        """Print what is done and the time left as a line; tqdm clears a bar by an empty message."""
        if msg is None:
            state = self.format_dict
            left = (self.total - self.n) / state["rate"] if state["rate"] and self.total else None
            known = "" if left is None else f", {self.format_interval(left)} left"
            took = self.format_interval(state["elapsed"])
            sys.stderr.write(f"{self.desc}: {self.n} of {self.total} {self.unit}, {took}{known}\n")
            sys.stderr.flush()


def progress_bar(total: int, what: str, *, unit: str, progress: bool | None) -> "tqdm[Any]":
    """Open a bar; `progress` forces it on or off, None shows it to a person, and writes lines where nobody watches.

    In a notebook it is a widget where ipywidgets are installed: bars of text pile up in pages made of the notebook.
    """
    in_notebook = "ipykernel" in sys.modules
    watched = sys.stderr.isatty() or in_notebook
    shown = watched if progress is None else progress
    if progress is None and not watched:
        return LoggedProgress(total=total, desc=what, unit=unit, leave=False)
    bar: type[tqdm[Any]] = tqdm
    if shown and in_notebook and find_spec("ipywidgets") is not None:
        from tqdm.notebook import tqdm as bar
    return bar(total=total, desc=what, unit=unit, disable=not shown, leave=False)
