"""A driver in a process of its own, to be killed: python -m tests.sweeps.drive FOLDER --n-tasks 10 ..."""

import argparse
import json
import sys
from pathlib import Path

import site_lens as sl
from site_lens.sweeps.engines import Engine
from site_lens.sweeps.worker import Worker
from tests.sweeps.faulty import Faulty, small_sweep


def command(folder: Path, n_tasks: int, **options: object) -> list[str]:
    """Write the command line of a driver that works in `folder` on as many made-up tasks."""
    given = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    return [sys.executable, "-m", "tests.sweeps.drive", str(folder), "--n-tasks", str(n_tasks), *given]


def main() -> None:
    """Sweep, and exit with 1 if a job failed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n-tasks", type=int, required=True)
    parser.add_argument("--n-seeds", type=int, default=1)
    parser.add_argument("--tasks-at-once", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--faults", type=json.loads, default={})
    parser.add_argument("--engine", choices=["local", "ray"], default="local")
    chosen = parser.parse_args()
    store, diary = chosen.folder / "store", chosen.folder / "diary"
    sweep = small_sweep(chosen.folder, chosen.n_tasks, n_seeds=chosen.n_seeds, tasks_at_once=chosen.tasks_at_once)
    engine: Engine | None = None
    if chosen.engine == "ray":
        from site_lens.sweeps.ray_engine import RayEngine

        engine = RayEngine(workers_per_model=2)
    worker = Worker(store, Faulty(diary, store, chosen.faults, chosen.seconds))
    found = sl.run_sweep(sweep, store, engine=engine, worker=worker)
    print(json.dumps({"stored": len(found.stored), "found": found.n_found, "failed": len(found.failed)}))
    sys.exit(0 if found.ok else 1)


if __name__ == "__main__":
    main()
