"""Files that are part of the package: the demo model and the demo tasks."""

import json
from functools import cache
from pathlib import Path

from site_lens.core.tasks import SPLITS, Example, Task

ASSETS = Path(__file__).parent.parent / "assets"
DEMO_MODEL = ASSETS / "demo_model"
DEMO_TASKS = ASSETS / "demo_tasks.json"


@cache
def _demo_tasks() -> dict[str, Task]:
    rows = json.loads(DEMO_TASKS.read_text(encoding="utf-8"))
    return {
        row["name"]: Task(
            row["name"],
            **{split: tuple(Example(x, (y,)) for x, y in row[split]) for split in SPLITS},
            family=row["family"],
        )
        for row in rows
    }


def demo_tasks() -> dict[str, Task]:
    """Return the demo tasks by name, which the demo model learns in context."""
    return dict(_demo_tasks())
