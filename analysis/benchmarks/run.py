"""Run benchmarks and write what they measured.

    python -m analysis.benchmarks.run --rows 1 4 6 7 8 --ag-news ../shared/data/tasks57

writes `summary.json`, `timings.json` and `table.md` into runs/bench; with `--page docs/benchmarks.md` the table goes
into that page, too.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from analysis.benchmarks import (
    alpha_step,
    demo_fits,
    embeddings,
    gpu,
    growth,
    inference,
    memory,
    prompt_pool,
    real_model,
    startup,
    transfer,
    two_parts,
)
from analysis.benchmarks.measuring import Result
from analysis.benchmarks.settings import Settings
from analysis.benchmarks.subjects import SIZES
from analysis.pages import machine, put_into, table

ROWS: dict[int, Callable[[Settings], list[Result]]] = {
    1: alpha_step.measure,
    2: demo_fits.measure,
    3: prompt_pool.measure,
    4: embeddings.measure,
    5: transfer.measure,
    6: memory.measure,
    7: inference.measure,
    8: startup.measure,
    9: growth.measure,
    10: two_parts.measure,
    11: real_model.measure,
    12: gpu.measure,
}


def main() -> None:
    """Read the command line, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", choices=sorted(ROWS), default=sorted(ROWS))
    parser.add_argument("--ag-news", type=Path, default=Path("../shared/data/tasks57"), help="the paper's tasks")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", choices=sorted(SIZES), default="100M")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    parser.add_argument("--add", action="store_true", help="keep what --out has of other rows, measured before")
    parser.add_argument("--page", type=Path, help="a page whose table is to be replaced")
    chosen = parser.parse_args()
    settings = Settings(ag_news=chosen.ag_news, device=chosen.device, size=chosen.size, pairs=chosen.pairs)
    results = [one for one in read(chosen.out) if one.row not in chosen.rows] if chosen.add else []
    chosen.out.mkdir(parents=True, exist_ok=True)
    page = ""
    for row in chosen.rows:
        start = time.perf_counter()
        results += ROWS[row](settings)
        print(f"row {row}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
        results.sort(key=lambda result: result.row)
        page = f"{machine(chosen.device)}\n\n{table_of(results)}\n"
        write(chosen.out, results, page)
    if chosen.page is not None:
        put_into(chosen.page, page.rstrip())
    print(page)


def write(folder: Path, results: list[Result], page: str) -> None:
    """Write the summary, every single timing, and the table."""
    parts = {
        "summary.json": [result.row_of_table() for result in results],
        "timings.json": [result.row_of_timings() for result in results],
    }
    for name, rows in parts.items():
        (folder / name).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    (folder / "table.md").write_text(page, encoding="utf-8")


def read(folder: Path) -> list[Result]:
    """Read what `write` wrote."""
    summary, timings = (
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in ("summary", "timings")
    )
    sides = ("rival", "ours")
    return [
        Result(**line, timings={side: one[side] for side in sides if side in one})
        for line, one in zip(summary, timings, strict=True)
    ]


def table_of(results: list[Result]) -> str:
    """Write the lines as a markdown table."""
    header = ["row", "question", "unit", "rival", "ours", "ratio", "spread", "target", "met"]
    met = {True: "yes", False: "**no**", None: ""}
    return table(
        header,
        [
            [r.row, r.question, r.unit, shown(r.rival), shown(r.ours), shown(r.ratio), f"{r.low:.3g} to {r.high:.3g}",
             shown(r.target), met[r.met]]
            for r in results
        ],
    )  # fmt: skip


def shown(value: float | None) -> str:
    """Three digits, or nothing."""
    return "" if value is None else f"{value:.3g}"


if __name__ == "__main__":
    main()
