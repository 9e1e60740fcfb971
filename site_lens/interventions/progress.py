"""Progress bars: shown on a terminal and in notebooks, silent when the output goes elsewhere."""

from tqdm.auto import tqdm


def progress_bar(total: int, what: str, *, unit: str, progress: bool | None) -> "tqdm[None]":
    """Open a bar; `progress` forces it on or off, None leaves it to whether there is a terminal."""
    return tqdm(total=total, desc=what, unit=unit, disable=None if progress is None else not progress, leave=False)
