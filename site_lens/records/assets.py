"""Files that are part of the package: demo model, demo tasks, style sheets and scripts."""

from pathlib import Path

ASSETS = Path(__file__).parent.parent / "assets"
DEMO_MODEL = ASSETS / "demo_model"
DEMO_TASKS = ASSETS / "demo_tasks.json"

DEMO, SMOLLM2 = "demo", "smollm2"
MODEL_NAMES = (DEMO, SMOLLM2)
"""Models that have names of their own, whatever files and folders are called like them."""


def asset(name: str) -> str:
    """Read a text that is part of the package."""
    return (ASSETS / name).read_text(encoding="utf-8")
