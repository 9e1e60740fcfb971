"""Progress bars: shown on a terminal and in notebooks, silent when the output goes elsewhere."""

import sys
from importlib.util import find_spec
from typing import Any

from tqdm import tqdm


def progress_bar(total: int, what: str, *, unit: str, progress: bool | None) -> "tqdm[Any]":
    """Open a bar; `progress` forces it on or off, None shows it to a person: on a terminal or in a notebook.

    In a notebook it is a widget where ipywidgets are installed: bars of text pile up in pages made of the notebook.
    """
    in_notebook = "ipykernel" in sys.modules
    watched = sys.stderr.isatty() or in_notebook
    shown = watched if progress is None else progress
    bar: type[tqdm[Any]] = tqdm
    if shown and in_notebook and find_spec("ipywidgets") is not None:
        from tqdm.notebook import tqdm as bar
    return bar(total=total, desc=what, unit=unit, disable=not shown, leave=False)
