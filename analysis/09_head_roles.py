"""What the chosen heads attend to, copy and write; and whether head sets transfer where roles are alike."""

import site_lens as sl
from analysis import measurements
from analysis.claims import correlation_above_zero
from analysis.lab import Lab
from analysis.results import Findings, Table
from analysis.studies import run_this

QUESTION = "Do alphas transfer between tasks whose heads do the same?"
REPORTED = "A next check of the paper: attention patterns of similar tasks against transfer. Nothing is reported."

ASKED = {
    "roles": "Alphas transfer better between tasks whose heads are alike in role",
    "heads": "Alphas transfer better between tasks with more heads in common",
}

N_SHOWN = 20
"""Heads in the table."""


def study(lab: Lab) -> Findings:
    """Describe heads; correlate transfer with roles and with shared heads, leaving out one task at a time."""
    numbers, shared = lab.settings.head_roles, lab.settings.shared
    run, of_sets = measurements.fits(lab), measurements.transfer_of_sets(lab)
    fits, matrix = (run.fits, measurements.transfer(lab)) if of_sets is None else (run.head_fits, of_sets)
    heads = None if of_sets is None else sorted({head for fit in fits.values() for head in fit.gates.above(0.5)})
    profiles = lab.record(
        measurements.FITS, "profiles",
        lambda: sl.head_profiles(
            lab.model, [lab.tasks[task] for task in matrix.tasks], fits, heads=heads, n_prompts=numbers.n_prompts,
            n_shots=numbers.n_shots, seed=shared.seed,
        ),
        numbers.n_prompts, numbers.n_shots, shared.seed, list(map(str, heads or ())),
    )  # fmt: skip
    n_queries, n_top, missing = int(matrix.n_queries.sum()), min(numbers.n_top, len(profiles.heads)), ""
    try:
        whole, others = measurements.role_associations(matrix, profiles, n_top)
    except sl.InputError as error:
        whole, others, missing = None, [], str(error)
    claims, rows = [], []
    for name, statement in ASKED.items():
        found = None if whole is None else getattr(whole, name)
        left_out = [getattr(one, name).value for one in others]
        claims.append(
            correlation_above_zero(
                statement,
                found and found.value,
                left_out,
                p_value=found and found.p_value,
                n_queries=n_queries,
                missing=missing,
            )  # fmt: skip
        )
        rows += [] if found is None else [(name, found.value, found.p_value, found.n_tasks)]
    by_head = profiles.frame().groupby("head", sort=False).mean(numeric_only=True)
    shown = by_head.nlargest(N_SHOWN, "answer_gain").reset_index()
    columns = ("transfer along", "rank correlation", "permutation p", "tasks")
    tables = [
        Table(title="Association of transfer with what tasks share (Mantel):", columns=columns, rows=tuple(rows)),
        Table.of(f"Heads of largest answer gain, {len(shown)} of {len(by_head)}, means over tasks:", shown),
    ]
    figure = ("Where the last token of few-shot prompts attends, by head.", sl.plots.attention_shares(profiles))
    return Findings(matrix.tasks, claims, tables, {"attention": figure})


if __name__ == "__main__":
    run_this(__file__)
