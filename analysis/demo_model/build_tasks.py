"""Write the demo tasks into the package: `python -m analysis.demo_model.build_tasks`."""

import json
from collections.abc import Iterable

from analysis.demo_model.tasks import build_demo_tasks
from site_lens.records.assets import DEMO_TASKS
from site_lens.tasks.task import SPLITS, Task


def tasks_json(tasks: Iterable[Task]) -> str:
    """Return tasks as the text of the asset: a JSON list with one task a line, so that a change shows as few lines."""
    rows = [
        {"name": task.name, "family": task.family}
        | {split: [[row.input, row.output] for row in getattr(task, split)] for split in SPLITS}
        for task in tasks
    ]
    lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def main() -> None:
    """Build the demo tasks and overwrite the asset."""
    DEMO_TASKS.write_text(tasks_json(build_demo_tasks()), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
