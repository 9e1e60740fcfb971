"""SITE beside every other way to inject a task, and to find heads.

    python -m analysis.compare_methods --page docs/comparison.md
    python -m analysis.compare_methods --page docs/comparison.md --labelled-rows 30 --out runs/equal-data

writes a run (fits, evaluations, scores, report.html) to runs/methods, and with `--page` the tables into that page; with
`--labelled-rows` every method is given the same rows, and selectors are left out.
"""

import argparse
import re
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import site_lens as sl
from analysis.pages import machine, put_into, table
from site_lens.diagnostics.selector_agreement import SelectorAgreement
from site_lens.methods.method_table import MethodSummary, MethodTable
from site_lens.methods.registry import comparable_methods
from site_lens.selectors.registry import SELECTORS

N_TASKS = 12

KEPT = re.compile(
    r"(?P<what>\w+) of .+ was kept after (?P<step>\d+) of (?P<n_steps>\d+) steps at learning rate (?P<lr>\S+), "
    r"chosen on valid \(rates tried: (?P<tried>[^)]+)\)"
)
"""What `choose_checkpoint` notes."""


def main() -> None:
    """Read the command line, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--tasks", default="demo", help="'demo', or a folder or file of tasks")
    parser.add_argument("--n-tasks", type=int, default=N_TASKS, help="tasks to draw by seed, evenly over families")
    parser.add_argument("--method", nargs="+", choices=comparable_methods(), default=list(comparable_methods()))
    parser.add_argument("--selector", nargs="+", choices=list(SELECTORS), default=list(SELECTORS))
    parser.add_argument("--labelled-rows", type=int, help="cut every task to so many labelled rows")
    parser.add_argument("--out", type=Path, default=Path("runs/methods"))
    parser.add_argument("--page", type=Path, help="a page whose measured part is to be replaced")
    chosen = parser.parse_args()
    tasks = sl.sample_tasks(sl.load_tasks(chosen.tasks).values(), chosen.n_tasks, seed=0)
    if chosen.labelled_rows is not None:
        tasks = {name: task.with_labelled(chosen.labelled_rows, seed=0) for name, task in tasks.items()}
    selectors = chosen.selector if chosen.labelled_rows is None else []
    model = sl.load_model(chosen.model)
    start = time.perf_counter()
    run = sl.run_methods(model, tasks, chosen.method, selectors=selectors, save_to=chosen.out)
    seconds = time.perf_counter() - start
    sl.write_report(run, chosen.out / "report.html")
    assert run.evaluations is not None
    rows = "" if chosen.labelled_rows is None else f" with {chosen.labelled_rows} labelled rows each"
    parts = [
        f"{machine()} {len(tasks)} tasks{rows}, seed 0, {seconds / 60:.1f} minutes in all.",
        methods_table(sl.method_table(run.evaluations)),
        "Trained rivals: the tasks that each learning rate won, and the median share of the steps that was kept:",
        choices_table(note for one in run.evaluations.values() for note in one.notes),
    ]
    if run.scores:
        parts += agreement_parts(sl.compare_selectors(run.scores))
    text = "\n\n".join(parts)
    if chosen.page is not None:
        put_into(chosen.page, text, part="measured" if chosen.labelled_rows is None else "equal data")
    print(text)


def choices_table(notes: Iterable[str]) -> str:
    """One row a trained rival, from the notes of evaluations: which learning rates won, and how early it was kept."""
    won: dict[str, dict[float, list[float]]] = {}
    for note in notes:
        found = KEPT.match(note)
        if found:
            rates = won.setdefault(found["what"], {float(rate): [] for rate in found["tried"].split(", ")})
            rates[float(found["lr"])].append(int(found["step"]) / int(found["n_steps"]))
    rows = []
    for what, rates in won.items():
        kept = [share for shares in rates.values() for share in shares]
        of_rates = ", ".join(f"{lr:g}: {len(shares) / len(kept):.0%}" for lr, shares in rates.items())
        rows.append([f"`{what}`", of_rates, f"{median(kept):.0%}"])
    return table(["trained", "rates and the tasks they won", "steps"], rows)


def agreement_parts(found: SelectorAgreement) -> list[str]:
    """Say what is compared, and show it."""
    what = f"Agreement with SITE's alphas, means over tasks, sets of the top {found.k} of {len(found.grid)} heads:"
    return [what, selectors_table(found)]


def methods_table(found: MethodTable) -> str:
    """One row a method, best first."""
    header = ["method", "accuracy", "95 % interval", "over 10-shot", "q", "over SITE", "q", "labelled rows",
              "seconds to make", "inference", "bytes", "trained"]  # fmt: skip
    return table(header, [_method(one) for one in found.ranked()])


def _method(one: MethodSummary) -> list[object]:
    row: list[object] = [f"`{one.method}`", one.value, f"{one.low:.3f} to {one.high:.3f}"]
    for reference in ("ten_shot", "site"):
        gap = one.over(reference)
        row += ["", ""] if gap is None else [f"{gap.value:+.3f}", f"{gap.q_value:.2g}"]
    rows = str(one.most_rows) if one.fewest_rows == one.most_rows else f"{one.fewest_rows} to {one.most_rows}"
    inference = "" if one.relative_inference is None else f"{one.relative_inference:.2f}"
    made = "" if one.fit_seconds is None else f"{one.fit_seconds:.1f}"
    stored, trained = ("" if value is None else f"{value:,.0f}" for value in (one.stored_bytes, one.n_trained))
    return [*row, rows, made, inference, stored, trained]


def selectors_table(found: SelectorAgreement) -> str:
    """One row a selector: how far it agrees with SITE, and what it took."""
    place = found.names.index("site")
    spearman, size, jaccard, chance = (
        found.mean(name)[place] for name in ("spearman", "spearman_size", "jaccard", "chance")
    )
    beyond = found.beyond()[place]
    rows = [
        [f"`{one.selector}`", float(spearman[i]), float(size[i]), float(jaccard[i]), float(chance[i]),
         f"{beyond[i]:.0%}", _count(one.n_forwards), _count(one.n_labelled)]
        for i, one in enumerate(found.selectors) if i != place
    ]  # fmt: skip
    header = ["selector", "rank correlation", "of sizes", "Jaccard of the top", "by chance", "tasks beyond chance",
              "forward passes", "labelled rows"]  # fmt: skip
    return table(header, rows)


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


if __name__ == "__main__":
    main()
