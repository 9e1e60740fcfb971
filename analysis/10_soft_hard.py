"""Soft alphas against rounded ones, and alphas of each task against one map for all tasks."""

import site_lens as sl
from analysis import measurements
from analysis.claims import over_tasks
from analysis.lab import Lab
from analysis.results import Findings, Table
from analysis.studies import run_this
from site_lens.methods.registry import TASK_AGNOSTIC

QUESTION = "Do intermediate alphas matter, and is there one map for all tasks?"
REPORTED = (
    "Soft injection 90.0, hard replacement 88.9; with one map for all tasks 75.3 instead of 90.0. A gap of more than 5 "
    "points by rounding means that intermediate alphas matter for a task."
)


def study(lab: Lab) -> Findings:
    """Compare on all test rows, task by task; intervals over tasks."""
    run, limit = measurements.fits(lab), lab.settings.soft_hard.gap
    found = run.evaluations
    assert found is not None
    n_queries = measurements.asked(found)
    rounding, sharing = (measurements.gains(found, "site", other) for other in ("site_hard", TASK_AGNOSTIC))
    claims = [
        over_tasks("Soft alphas are above rounded ones", rounding, n_queries=n_queries, above=0,
                   reported="90.0 against 88.9"),
        over_tasks(f"Rounding costs at most {limit:.0%}", rounding, n_queries=n_queries, at_most=limit,
                   reported="1.1 points"),
        over_tasks("Alphas of each task are above one map for all tasks", sharing, n_queries=n_queries, above=0,
                   reported="90.0 against 75.3"),
        over_tasks("One map for all tasks is above 10-shot prompting",
                   measurements.gains(found, TASK_AGNOSTIC, "ten_shot"), n_queries=n_queries, above=0),
    ]  # fmt: skip
    few, few_queries = measurements.of_chosen_sets(found, "site")
    claims.append(
        over_tasks(f"The chosen heads alone lose at most {limit:.0%} against soft alphas of all heads",
                   [-gain for gain in few], n_queries=few_queries, at_most=limit, missing="no head set found"),
    )  # fmt: skip
    methods = ["zero_shot", "ten_shot", "site", "site_hard", "site_top_k", "site_sparse", "gates_sparse", TASK_AGNOSTIC]
    rows = tuple(
        (task, *(one.accuracy(name).value if name in one.methods else None for name in methods), len(one.queries))
        for task, one in found.items()
    )
    table = Table(title="First answer token right:", columns=("task", *methods, "queries"), rows=rows)
    compared = sl.method_table(found, methods=[name for name in methods if name in found.methods])
    figure = ("Mean accuracy of every method, and each task as a dot.", sl.plots.method_means(compared))
    return Findings(tuple(found), claims, [table], {"methods": figure})


if __name__ == "__main__":
    run_this(__file__)
