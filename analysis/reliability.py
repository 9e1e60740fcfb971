"""Put sweeps through faults, and write down what the run store holds afterwards.

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
    """Play every scenario, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, help="a page whose measured part is to be replaced")
    parser.add_argument("--out", type=Path, default=Path("runs/reliability"))
    parser.add_argument("--add", action="store_true", help="keep the rows that --out has")
    chosen = parser.parse_args()
    kept = read(chosen.out) if chosen.add else {}
    rows = [kept.get(name) or played(name, scenario, chosen.out) for name, scenario in local().items()]
    with ray_session(n_cores=N_WORKERS):
        rows += [kept.get(name) or played(name, scenario, chosen.out) for name, scenario in ray().items()]
    text = f"{machine()}\n\n{table_of(rows)}"
    if chosen.page is not None:
        put_into(chosen.page, text)
    print(text)
    broken = [row.scenario for row in rows if row.tally is not None and not row.tally.holds]
    if broken:
        raise SystemExit(f"did not hold: {', '.join(broken)}")


def local() -> dict[str, Callable[[Path], Tally]]:
    """Name the scenarios without Ray."""

    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    def cut(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:-1])

    return {
        "driver killed (SIGKILL) five times": lambda f: scenarios.killed_driver(
            f, n_tasks=60, kill_after=[5, 1, 10, 3, 8]
        ),
        "two drivers on one store": lambda f: scenarios.two_drivers(f, n_tasks=60),
        "one of two drivers killed": lambda f: scenarios.one_driver_dies_beside_another(f, n_tasks=20),
        "a byte flipped in every fifth result": lambda f: scenarios.harmed_files(f, flip, n_tasks=40, every=5),
        "every fifth result cut short": lambda f: scenarios.harmed_files(f, cut, n_tasks=40, every=5),
        "disk full, then room again": lambda f: scenarios.full_disk(f, n_tasks=40, kilobytes=900)[0],
        "store read-only, then writable again": lambda f: scenarios.read_only(f, n_tasks=20)[0],
    }


def ray() -> dict[str, Callable[[Path], Tally]]:
    """Name the scenarios on Ray: a soak of 500 jobs, with and without faults."""

    def soak(faults: dict[str, str]) -> Callable[[Path], Tally]:
        return lambda folder: scenarios.on_ray(
            folder, RayEngine(workers_per_model=N_WORKERS), n_tasks=50, n_seeds=10, faults=faults
        )

    return {
        f"500 jobs on {N_WORKERS} Ray workers, no fault": soak({}),
        f"500 jobs on {N_WORKERS} Ray workers; in every task one of raise, SIGKILL, out of memory": soak(
            {f"task_{i}": FAULTS[i % 3] for i in range(50)}
        ),
    }


def read(folder: Path) -> dict[str, Row]:
    """Read the rows that `played` kept."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    rows = [Row(one["scenario"], one["tally"] and Tally(**one["tally"]), one["seconds"]) for one in found]
    return {row.scenario: row for row in rows}


def played(name: str, scenario: Callable[[Path], Tally], out: Path) -> Row:
    """Play a scenario in a folder of its own, and keep what came out."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = scenario(Path(folder))
        except PermissionError:  # file systems cannot be mounted
            found = None
    seconds = time.perf_counter() - start
    print(f"{name}: {found}, {seconds:.0f} s", flush=True)
    row = Row(name, found, seconds)
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
