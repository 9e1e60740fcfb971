"""Demo tasks: those that the demo model learns in context."""

import json
from functools import cache

from site_lens.records.assets import DEMO_TASKS, asset
from site_lens.tasks.task import SPLITS, Example, Task


@cache
def demo_tasks() -> dict[str, Task]:
    """Return the demo tasks by name, which the demo model learns in context."""
    tasks = {}
    for row in json.loads(asset(DEMO_TASKS.name)):
        train, valid, test = (tuple(Example(x, (y,)) for x, y in row[split]) for split in SPLITS)
        tasks[row["name"]] = Task(row["name"], train, valid, test, row["family"])
    return tasks
