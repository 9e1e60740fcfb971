"""Demo tasks: those that the demo model learns in context."""

import json
from functools import cache

from site_lens.records.assets import DEMO_TASKS, asset
from site_lens.tasks.task import Example, Task


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
