"""Files that are part of the package: the demo model and the demo tasks."""

import json
from functools import cache
from pathlib import Path

from site_lens.core.tasks import Example, Task

ASSETS = Path(__file__).parent.parent / "assets"
DEMO_MODEL = ASSETS / "demo_model"
DEMO_TASKS = ASSETS / "demo_tasks.json"


def asset(name: str) -> str:
    """Read a text that is part of the package."""
    return (ASSETS / name).read_text(encoding="utf-8")


@cache
def _demo_tasks() -> dict[str, Task]:
    def examples(pairs: list[tuple[str, str]]) -> tuple[Example, ...]:
        return tuple(Example(x, (y,)) for x, y in pairs)

    rows = json.loads(asset(DEMO_TASKS.name))
    tasks = (
        Task(row["name"], examples(row["train"]), examples(row["valid"]), examples(row["test"]), row["family"])
        for row in rows
    )
    return {task.name: task for task in tasks}


def demo_tasks() -> dict[str, Task]:
    """Return the demo tasks by name, which the demo model learns in context."""
    return dict(_demo_tasks())
