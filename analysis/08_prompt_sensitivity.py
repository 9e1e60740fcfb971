"""The tasks whose runs differ most, fitted again with other demonstrations, another template, and wrong labels."""

import numpy as np

import site_lens as sl
from analysis import measurements
from analysis.claims import over_queries, over_tasks
from analysis.lab import Lab
from analysis.results import Findings, Table
from analysis.studies import run_this

QUESTION = "How much hangs on which demonstrations were drawn?"
REPORTED = (
    "A next check of the paper: the same shots, other demonstrations, on tasks of high variance. An independent re-run "
    "found a standard deviation of 0.1 to 0.4 points between runs of the mean over 18 tasks."
)


def study(lab: Lab) -> Findings:
    """Choose the tasks that varied most in study 02, and measure them again with draws of their own."""
    numbers, shared = lab.settings.prompt_sensitivity, lab.settings.shared
    first = measurements.prompt_count(lab)
    order = np.argsort(-first.run_variance(), kind="stable")[: numbers.n_tasks]
    tasks = [lab.tasks[first.tasks[i]] for i in order]
    # Another seed than the one that chose them: the most variable of many are so by luck, in part.
    again = shared.seed + 1
    record = lab.record(
        measurements.FITS, "prompt_sensitivity",
        lambda: sl.prompt_sensitivity(
            lab.model, tasks, shared.site, n_prompts=(), n_shots=(), base=numbers.base,
            n_resamples=numbers.n_resamples, n_fit_seeds=numbers.n_fit_seeds, templates=numbers.templates,
            label_noise=numbers.label_noise, max_queries=shared.max_queries, seed=again,
        ),
        tasks, numbers, shared,
    )  # fmt: skip
    spread = np.sqrt(first.run_variance())
    claims = [
        over_tasks("Two runs of a task differ by a standard deviation of at most 2 points", spread, at_most=0.02,
                   n_queries=first.asked.sum(1)),
    ]  # fmt: skip
    base, n = record.base, len(tasks)
    for one in (*record.along("template")[1:], *record.along("label_noise")[1:]):
        name = (
            f"answers permuted among {one.label_noise:.0%} of the rows that are shown"
            if one.label_noise
            else f"the template {one.template.query_text('x')!r}"
        )
        loss = record.compare(base, one)
        claims.append(
            over_queries(f"On these tasks, {name} cost more than {numbers.tolerance:.0%}", loss,
                         above=numbers.tolerance, n_tasks=n)
        )  # fmt: skip
    runs = record.frame()[["task", "template", "label_noise", "accuracy", "lowest_draw", "highest_draw",
                           "embedding_variance", "alpha_variance", "run_variance", "n"]]  # fmt: skip
    parts = record.variance_frame()[["task", "quantity", "part", "variance", "share"]]
    tables = [
        Table.of("Accuracy over prompt sets of the tasks that varied most:", runs),
        Table.of("Parts of the variance of a run:", parts[parts["quantity"] == "accuracy"]),
    ]
    return Findings(record.tasks, claims, tables)


if __name__ == "__main__":
    run_this(__file__)
