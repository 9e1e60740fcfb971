"""Did alphas become binary because of the task, and do fits from other starts lie in one basin?"""

import math

import site_lens as sl
from analysis import measurements
from analysis.claims import over_fits, over_tasks
from analysis.lab import Lab
from analysis.results import Findings, Table
from analysis.studies import run_this
from site_lens.methods.registry import SHUFFLED_ANSWERS
from site_lens.studies.loss_landscape.result import VERDICTS

QUESTION = "Did it converge, or was it the optimiser?"
REPORTED = "80 to 90 % of the alphas end near 0 or 1. The landscape from random starts is a next check, not reported."


def study(lab: Lab) -> Findings:
    """Read the last alphas of fits and null fits; compare fits of several seeds; fit some tasks from many starts."""
    run, numbers = measurements.fits(lab), lab.settings.convergence
    assert run.evaluations is not None
    n_queries = measurements.asked(run.evaluations)
    decided, null = (
        [1 - float(sl.check_convergence(fit).undecided[-1]) for fit in fits.values()]
        for fits in (run.fits, run.controls[SHUFFLED_ANSWERS])
    )
    agreement = sl.seed_agreement(measurements.seeds(lab).fits)
    pairs = [(one.own, one.elsewhere) for one in agreement.tasks]
    apart = [math.nan if own is None or other is None else own - other for own, other in pairs]
    landscapes = [measurements.landscape(lab, task) for task in list(lab.tasks.values())[: numbers.n_landscapes]]
    claims = [
        over_tasks(f"More than {numbers.binary:.0%} of the alphas end below 0.1 or above 0.9", decided,
                   n_queries=n_queries, above=numbers.binary, reported="80 to 90 %"),
        over_tasks("Fits become more binary than fits to shuffled answers",
                   [own - other for own, other in zip(decided, null, strict=True)], n_queries=n_queries, above=0),
        over_tasks("Fits of one task from other starts correlate more than fits of different tasks", apart,
                   n_queries=n_queries, above=0),
    ]  # fmt: skip
    rows = []
    for found in landscapes:
        told, free = found.verdict in ("one basin", "several basins"), found.free
        claims.append(
            over_fits(f"{found.task}: more than {numbers.one_basin:.0%} of the lines between fits have no barrier",
                      free if told else None, n_queries=found.n_rows, above=numbers.one_basin,
                      missing=VERDICTS[found.verdict])
        )  # fmt: skip
        binary = [None if one is None else one.value for one in (found.binary(), found.binary(null=True))]
        rows.append((found.task, int((~found.null).sum()), found.gain, found.verdict, free and free.value,
                     len(found.always_open()), *binary))  # fmt: skip
    columns = ("task", "fits", "gain in nats", "verdict", "lines free", "heads open in all", "share of fits binary",
               "share of nulls binary")  # fmt: skip
    tables = [
        Table.of("Agreement of several fits of a task, and with fits of other tasks:", agreement.frame(),
                 ["task", "n_fits", "starts", "lowest", "jaccard", "elsewhere"]),
        Table(title="Fits of one task from many starts, rates and step counts:", columns=columns, rows=tuple(rows)),
    ]  # fmt: skip
    caption = f"{landscapes[0].task}: agreement of every two fits, and the loss on lines between them."
    return Findings(tuple(lab.tasks), claims, tables, {"landscape": (caption, sl.plots.landscape(landscapes[0]))})


if __name__ == "__main__":
    run_this(__file__)
