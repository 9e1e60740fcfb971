"""Progress bars: shown on a terminal and in notebooks, silent when the output goes elsewhere."""

from typing import Any

from tqdm.auto import tqdm


def progress_bar(total: int, what: str, *, unit: str, progress: bool | None) -> "tqdm[Any]":
    """Open a bar; `progress` forces it on or off, None leaves it to whether there is a terminal."""
    shown = None if progress is None else not progress
    return tqdm(total=total, desc=what, unit=unit, disable=shown, leave=False)
