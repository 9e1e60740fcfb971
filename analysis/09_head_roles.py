"""What the heads of highest alpha attend to, copy and write; and whether alphas transfer where roles are alike."""

from typing import TYPE_CHECKING

import numpy as np

import site_lens as sl
from analysis import measurements
from analysis.claims import Claim, correlation_above_zero
from analysis.lab import Lab
from analysis.results import Findings, Table
from analysis.studies import run_this

if TYPE_CHECKING:
    import pandas as pd

QUESTION = "Do alphas transfer between tasks whose heads do the same?"
REPORTED = "A next check of the paper: attention patterns of similar tasks against transfer. Nothing is reported."

ASKED = {
    "roles": "Alphas transfer better between tasks whose heads are alike in role",
    "heads": "Alphas transfer better between tasks with more heads in common",
}


def study(lab: Lab) -> Findings:
    """Describe heads; correlate transfer with roles and with shared heads, leaving out one task at a time."""
    numbers, shared = lab.settings.head_roles, lab.settings.shared
    run, matrix = measurements.fits(lab), measurements.transfer(lab)
    profiles = lab.record(
        measurements.FITS, "profiles",
        lambda: sl.head_profiles(
            lab.model, lab.tasks, run.fits, n_prompts=numbers.n_prompts, n_shots=numbers.n_shots, seed=shared.seed
        ),
        numbers.n_prompts, numbers.n_shots, shared.seed,
    )  # fmt: skip
    claims, rows = _associations(matrix, profiles, min(numbers.n_top, len(profiles.heads)))
    columns = ("transfer along", "rank correlation", "permutation p", "tasks")
    tables = [
        Table(title="Association of transfer with what tasks share (Mantel):", columns=columns, rows=tuple(rows)),
        Table.of("Heads, means over tasks:", _means(profiles)),
    ]
    figure = ("Where the last token of few-shot prompts attends, by head.", sl.plots.attention_shares(profiles))
    return Findings(matrix.tasks, claims, tables, {"attention": figure})


def _associations(
    matrix: sl.TransferMatrix, profiles: sl.HeadProfiles, n_top: int
) -> tuple[list[Claim], list[tuple[str, float, float, int]]]:
    """Return claims with jackknife intervals over tasks, and the permutation tests beside them."""
    n_queries = int(matrix.n_queries.sum())
    gaining = [
        task for task, to in zip(matrix.tasks, matrix.normalised("alphas").T, strict=True) if np.isfinite(to).all()
    ]
    try:
        whole = sl.associate_roles(matrix, profiles, n_top=n_top)
        others = [sl.associate_roles(measurements.without(matrix, task), profiles, n_top=n_top) for task in gaining]
    except sl.InputError as error:  # too few tasks that gain by their own fit: said in the claims
        return [
            correlation_above_zero(said, None, [], n_queries=n_queries, missing=str(error)) for said in ASKED.values()
        ], []
    claims = [
        correlation_above_zero(
            said, getattr(whole, name).value, [getattr(one, name).value for one in others], n_queries=n_queries
        )
        for name, said in ASKED.items()
    ]
    tests = [getattr(whole, name) for name in ASKED]
    return claims, [(name, one.value, one.p_value, one.n_tasks) for name, one in zip(ASKED, tests, strict=True)]


def _means(profiles: sl.HeadProfiles) -> "pd.DataFrame":
    """One row a head: means over tasks of what is a number."""
    return profiles.frame().groupby("head", sort=False).mean(numeric_only=True).reset_index()


if __name__ == "__main__":
    run_this(__file__)
