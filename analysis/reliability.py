"""Reliability of sweeps: inject faults, and count what the run store holds afterwards.

    python -m analysis.reliability --page docs/reliability.md

takes some minutes; needs Ray, and the right to mount small file systems (else those rows say that they were left out).
Every row is kept in runs/reliability as soon as it is there; with `--add` those that are there are not played again.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from analysis.pages import machine, put_into, table
from site_lens.records.collections import file_name
from site_lens.sweeps.ray_engine import RayEngine
from tests.sweeps import scenarios
from tests.sweeps.faulty import Tally
from tests.sweeps.ray_session import ray_session

N_WORKERS = 4
FAULTS = ("raise once", "die once", "memory once")


@dataclass(frozen=True)
class Row:
    """What came out of a scenario."""

    scenario: str
    tally: Tally | None
    """None where the scenario could not be played."""
    seconds: float


def main() -> None:
    """Play every scenario, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, help="page whose measured part is replaced")
    parser.add_argument("--out", type=Path, default=Path("runs/reliability"))
    parser.add_argument("--add", action="store_true", help="keep the rows that --out has")
    parser.add_argument("--share", type=float, default=1, help="share of the tasks to sweep over, for a quick look")
    options = parser.parse_args()
    rows = read(options.out) if options.add else {}

    def play(scenarios: dict[str, Callable[[Path], Tally]]) -> None:
        for name, scenario in scenarios.items():
            rows[name] = rows.get(name) or played(name, scenario, options.out)

    play(local(options.share))
    with ray_session(n_cores=N_WORKERS):
        play(ray(options.share))
    text = f"{machine()}\n\n{table_of(list(rows.values()))}"
    if options.page is not None:
        put_into(options.page, text)
    print(text)
    broken = [row.scenario for row in rows.values() if row.tally is not None and not row.tally.holds]
    if broken:
        raise SystemExit(f"did not hold: {', '.join(broken)}")


def local(share: float) -> dict[str, Callable[[Path], Tally]]:
    """Return the scenarios without Ray, by name."""

    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    def cut(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:-1])

    sixty, forty, twenty = (max(8, round(n * share)) for n in (60, 40, 20))
    kills = [5, 1, 10, 3, 8] if share == 1 else [2, 1, 2]
    return {
        f"driver killed (SIGKILL) {len(kills)} times": lambda f: scenarios.killed_driver(
            f, n_tasks=sixty, kill_after=kills
        ),
        "two drivers on one store": lambda f: scenarios.two_drivers(f, n_tasks=sixty),
        "one of two drivers killed": lambda f: scenarios.one_driver_dies_beside_another(f, n_tasks=twenty),
        "a byte flipped in every fifth result": lambda f: scenarios.harmed_files(f, flip, n_tasks=forty, every=5),
        "every fifth result cut short": lambda f: scenarios.harmed_files(f, cut, n_tasks=forty, every=5),
        "disk full, then room again": lambda f: scenarios.full_disk(f, n_tasks=forty, kilobytes=900)[0],
        "store read-only, then writable again": lambda f: scenarios.read_only(f, n_tasks=twenty)[0],
    }


def ray(share: float) -> dict[str, Callable[[Path], Tally]]:
    """Return the scenarios on Ray, by name: a soak of 500 jobs, with and without faults."""
    n_tasks = max(3, round(50 * share))

    def soak(faults: dict[str, str]) -> Callable[[Path], Tally]:
        return lambda folder: scenarios.on_ray(
            folder, RayEngine(workers_per_model=N_WORKERS), n_tasks=n_tasks, n_seeds=10, faults=faults
        )

    title = f"{10 * n_tasks} jobs on {N_WORKERS} Ray workers"
    return {
        f"{title}, no fault": soak({}),
        f"{title}; in every task one of raise, SIGKILL, out of memory": soak(
            {f"task_{i}": FAULTS[i % 3] for i in range(n_tasks)}
        ),
    }


def read(folder: Path) -> dict[str, Row]:
    """Read the rows that `played` kept."""
    fields = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    return {
        row["scenario"]: Row(row["scenario"], row["tally"] and Tally(**row["tally"]), row["seconds"]) for row in fields
    }


def played(name: str, scenario: Callable[[Path], Tally], out: Path) -> Row:
    """Play a scenario in a folder of its own, and keep what came out."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            tally = scenario(Path(folder))
        except PermissionError:  # file systems cannot be mounted
            tally = None
    seconds = time.perf_counter() - start
    print(f"{name}: {tally}, {seconds:.0f} s", flush=True)
    row = Row(name, tally, seconds)
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{file_name(name)}.json").write_text(json.dumps(asdict(row)) + "\n", encoding="utf-8")
    return row


def table_of(rows: list[Row]) -> str:
    """One row a scenario."""
    header = ["scenario", "jobs", "results", "lost", "again", "corrupt", "computations", "faults injected", "seconds"]
    absent = ["left out", *[""] * (len(header) - 3)]
    return table(
        header,
        [[row.scenario, *(absent if row.tally is None else astuple(row.tally)), f"{row.seconds:.0f}"] for row in rows],
    )


if __name__ == "__main__":
    main()
