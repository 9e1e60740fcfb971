"""Welcome screen of `site-lens` without a command: runs in the working folder, and the next commands."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from site_lens._version import __version__
from site_lens.cli.output import show_line
from site_lens.records.wording import listed
from site_lens.tasks.rows import is_table

MOST_SHOWN = 5


def show_welcome(folder: Path) -> None:
    """Print the runs in a folder, and the commands that lead on from there."""
    print(f"site_lens {__version__}: which attention heads carry a task?\n")
    runs = runs_in(folder)
    if runs:
        show_line(f"Runs here, newest first: {listed(runs, MOST_SHOWN)}")
        print()
    print("Next:")
    steps = list(_after(runs, folder) if runs else _first(folder))
    width = max(len(command) for command, _ in steps)
    for command, meaning in steps:
        show_line(f"  {command:{width}}  {meaning}")
    print("\nAll commands: site-lens --help. Completion for your shell: site-lens --install-completion")


def runs_in(folder: Path) -> list[Path]:
    """Find the runs in a folder and in its `runs/`, newest first, as paths from that folder."""
    fits = [path for pattern in ("*/fits", "runs/*/fits") for path in folder.glob(pattern) if any(path.glob("*.json"))]
    fits.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.parent.relative_to(folder) for path in fits]


def _first(folder: Path) -> Iterator[tuple[str, str]]:
    yield "site-lens demo", "fit tasks of the small model that comes with it, and write a report; downloads nothing"
    tables = sorted(path.name for path in folder.iterdir() if is_table(path))
    if tables:
        name = shlex.quote(tables[0])
        yield f"site-lens tasks audit {name}", "what is in that table: leaks, conflicts, repeats (name its columns)"
        yield f"site-lens fit {name} --out runs/mine", "fit your own pairs"
    else:
        yield "site-lens tasks list", "the tasks that come with it"
        yield "site-lens fit PAIRS.csv --out runs/mine", "fit your own pairs of input and output"
    yield "site-lens doctor MODEL", "whether your model can be used"


def _after(runs: list[Path], folder: Path) -> Iterator[tuple[str, str]]:
    run = shlex.quote(str(runs[0]))
    if (folder / runs[0] / "report.html").exists():
        yield f"{run}/report.html", "its report: open it in a browser"
    else:
        yield f"site-lens report {run}", "write its report: one page, no network"
    yield f"site-lens diagnose {run}", "what could mislead in it"
    yield f"site-lens faithfulness {run}", "are the heads sufficient, and are they necessary?"
    if len(runs) > 1:
        yield f"site-lens compare {run} {shlex.quote(str(runs[1]))}", "are they the same heads?"
    else:
        yield "site-lens methods TASKS --out runs/methods", "against prompting and the rival methods"
