"""The embedding of one task with the alphas of a dissimilar one: the paper's sanity check."""

from functools import partial

import numpy as np

import site_lens as sl
from analysis import measurements
from analysis.claims import Claim, over_queries
from analysis.lab import Lab
from analysis.results import Findings, Table
from analysis.studies import run_this
from site_lens.stats.paired_tests import Paired

QUESTION = "Do alphas of a dissimilar task spoil a task?"
REPORTED = (
    "The embedding of AG News with the alphas of VerbVAdjective5: a dramatic drop (no number could be recovered)."
)

RUN = "swapped_alphas"


def study(lab: Lab) -> Findings:
    """Fit both tasks; answer the first one's test queries under the second one's alphas, soft and rounded."""
    shared, numbers = lab.settings.shared, lab.settings.swap
    tasks = [lab.task(numbers.embedding), lab.task(numbers.alphas)]
    run = lab.run(
        RUN, lambda folder: sl.fit_and_evaluate(lab.model, tasks, shared.site, save_to=folder), tasks, shared.site
    )
    n_queries, n_draws = len(tasks[0].test), lab.settings.transfer.n_draws

    def transfer(hard: bool) -> sl.TransferMatrix:
        return sl.transfer_matrix(lab.model, tasks, run.fits, hard=hard, max_queries=n_queries, n_draws=n_draws)

    claims, rows = [], []
    for name, hard in (("soft", False), ("rounded", True)):
        matrix = lab.record(RUN, f"transfer_{'hard' if hard else 'soft'}", partial(transfer, hard), n_draws)
        found = measurements.answers_under(matrix)
        claims += _claims(found, tasks[0].name, tasks[1].name, name)
        rows += [(what, name, float(right.mean()), len(right)) for what, right in found.items()]
    table = Table(
        title=f"Accuracy on {tasks[0].name}:", columns=("alphas", "as", "accuracy", "queries"), rows=tuple(rows)
    )
    maps = ("Alphas of both tasks.", sl.plots.head_maps(run.fits))
    return Findings([task.name for task in tasks], claims, [table], {"heads": maps})


def _claims(found: dict[str, np.ndarray], task: str, other: str, name: str) -> list[Claim]:
    zero, own, swapped, shuffled = found.values()
    half = Paired.of(swapped, (zero + own) / 2, over="queries")
    return [
        over_queries(
            f"{task} keeps less than half of its gain under the {name} alphas of {other}", half, at_most=0,
            reported="a dramatic drop",
        ),
        over_queries(
            f"The {name} alphas of {other} do better for {task} than its own, heads shuffled within layers",
            Paired.of(swapped, shuffled, over="queries"), above=0,
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    run_this(__file__)
