"""Measured tables inside pages: what stands between two marks is made by a script, never typed."""

import platform
from collections.abc import Iterable, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

START, END = "<!-- measured: start -->", "<!-- measured: end -->"


def put_into(page: Path, text: str, *, part: str = "measured") -> None:
    """Replace a measured part of a page.

    Raises:
        ValueError: The page does not have both marks.
    """
    start, end = START.replace("measured", part), END.replace("measured", part)
    before, rest = page.read_text(encoding="utf-8").split(start)
    _, after = rest.split(end)
    page.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write rows as a markdown table; a missing value is an empty cell."""
    lines = [f"| {' | '.join(header)} |", "|" + " --- |" * len(header)]
    lines += [f"| {' | '.join(cell(value) for value in row)} |" for row in rows]
    return "\n".join(lines)


def cell(value: object) -> str:
    """Write a number with three digits, and anything else as it is but for what would end its cell."""
    if value is None or value != value:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value).replace("|", "\\|").replace("\n", "\\n")


def machine(device: str = "cpu") -> str:
    """Say where, when and with what it was measured."""
    import torch  # not needed to write pages

    names = ("torch", "transformers", "transformer-lens", "site_lens")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    where = (
        torch.cuda.get_device_name()
        if device.startswith("cuda")
        else f"{processor()}, {torch.get_num_threads()} threads"
    )
    return f"Measured on {date.today().isoformat()} on {where}; Python {platform.python_version()}, {versions}."


def processor() -> str:
    """The processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
