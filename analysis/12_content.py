"""The same fit with no embedding, another task's, the mean of all tasks', and a random one; alphas retrained."""

import site_lens as sl
from analysis import measurements
from analysis.claims import over_queries, over_tasks
from analysis.lab import Lab
from analysis.results import Findings, Table
from analysis.studies import run_this
from site_lens.methods.registry import ZERO_EMBEDDING

QUESTION = "What does the embedding contribute, beside the gates?"
REPORTED = (
    "No such control is reported; the paper concludes that where to inject matters more than what. SITE above 10-shot "
    "prompting says nothing of the embedding until gates alone stand beside it."
)

CONTENTS = {
    "site_zero_embedding": "Gates alone",
    "site_other_embedding": "Another task's embedding",
    "site_mean_embedding": "The mean embedding of all tasks",
    "site_random_embedding": "A random embedding of the same lengths",
}


def study(lab: Lab) -> Findings:
    """Share SITE's gain over zero-shot out; intervals over queries within these tasks, and over tasks."""
    run, half = measurements.fits(lab), lab.settings.content.half
    assert run.evaluations is not None
    record, n_queries = sl.ContentControls.of(run.evaluations), measurements.asked(run.evaluations)
    missing = "SITE gains too little over zero-shot to be shared out"
    claims = [
        over_queries(f"{what}: at most {half:.0%} of SITE's gain on these tasks", record.share(name),
                     at_most=half, p_value=record.beyond(half, name).p_value, n_tasks=len(record.tasks),
                     missing=missing)
        for name, what in CONTENTS.items()
    ]  # fmt: skip
    claims += [
        over_tasks("SITE is above gates alone", measurements.gains(run.evaluations, "site", ZERO_EMBEDDING),
                   n_queries=n_queries, above=0),
        over_tasks("Gates alone are above 10-shot prompting",
                   measurements.gains(run.evaluations, ZERO_EMBEDDING, "ten_shot"), n_queries=n_queries, above=0),
    ]  # fmt: skip
    few, few_queries = measurements.of_chosen_sets(run.evaluations, "gates_sparse")
    claims.append(
        over_tasks("The chosen heads are above no more heads without the embedding, both rounded", few,
                   n_queries=few_queries, above=0, missing="no head set found"),
    )  # fmt: skip
    found = record.frame()
    columns = ["method", "accuracy", "low", "high", "gain", "share", "share_low", "share_high", "verdict", "n"]
    table = Table.of("Means over tasks, and shares of SITE's gain:", found[found["task"] == "mean"], columns)
    figure = ("Share of SITE's gain over zero-shot, task by task.", sl.plots.content_shares(record))
    return Findings(record.tasks, claims, [table], {"shares": figure})


if __name__ == "__main__":
    run_this(__file__)
