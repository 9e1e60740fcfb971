"""Progress bars: shown on a terminal and in notebooks, silent when the output goes elsewhere."""

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(total: int, what: str, *, unit: str, progress: bool | None) -> "tqdm[Any]":
    """Open a bar; `progress` forces it on or off, None shows it to a person: on a terminal or in a notebook."""
    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    return tqdm(total=total, desc=what, unit=unit, disable=not (watched if progress is None else progress), leave=False)
