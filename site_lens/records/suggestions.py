"""Suggestions for misspelled names and paths."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Ask whether one of the nearest known names was meant; empty where none is near."""
    by_lower = {candidate.lower(): candidate for candidate in sorted(known)}
    near = [by_lower[lower] for lower in get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)]
    return f"did you mean {' or '.join(map(repr, near))}?" if near else ""


def did_you_mean_path(path: Path, wanted: Callable[[Path], bool], *, also: Iterable[str] = ()) -> str:
    """Ask whether something of a like name was meant that stands beside a path, or in `runs/` here; advice may follow.

    Args:
        path: The path that leads nowhere.
        wanted: Which of the files and folders that are there would do.
        also: Further names that would have worked.
    """
    beside = [file for folder in (path.parent, Path("runs")) for file in _inside(folder) if wanted(file)]
    by_name = {file.name: str(file) for file in reversed(beside)} | {name: name for name in also}
    near = get_close_matches(path.name, by_name, n=3, cutoff=0.7)
    return f"did you mean {' or '.join(repr(by_name[name]) for name in near)}? Or " if near else ""


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    except (OSError, ValueError):  # there is no such folder, there cannot be one, or it cannot be looked into
        return []
