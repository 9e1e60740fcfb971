"""Which tasks share heads: sets above alpha 0.5, clusters of tasks, against families and layer-matched chance."""

import numpy as np

import site_lens as sl
from analysis import measurements
from analysis.claims import over_tasks
from analysis.lab import Lab
from analysis.results import Findings, Table
from analysis.studies import run_this

QUESTION = "Do similar tasks use the same heads, and dissimilar ones others?"
REPORTED = "Important heads of dissimilar tasks do not overlap (no number could be recovered)."


def study(lab: Lab) -> Findings:
    """Compare one fit of every task pair by pair; cluster the mean alphas of several fits."""
    run = measurements.fits(lab)
    assert run.evaluations is not None
    fits, n_queries = run.fits, measurements.asked(run.evaluations)
    overlap = sl.head_overlap(fits)
    clusters = sl.cluster_tasks(measurements.seeds(lab).fits)
    similar, dissimilar = measurements.kinship(tuple(fits[name].family for name in overlap.names))
    missing = "no two tasks of known families"

    def mean(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """(task): mean over its chosen partners; NaN without any."""
        counts = np.isfinite(chosen).sum(1)
        return np.where(counts > 0, np.nansum(values * chosen, axis=1) / np.maximum(counts, 1), np.nan)

    limit = lab.settings.head_clusters.disjoint
    near, far = mean(overlap.jaccard, similar), mean(overlap.jaccard, dissimilar)
    beyond = (overlap.q_value < 0.05).astype(float)
    claims = [
        over_tasks(f"Head sets of dissimilar tasks have a Jaccard index of at most {limit:g}", far, at_most=limit,
                   n_queries=n_queries, reported="they do not overlap", missing=missing),
        over_tasks("Tasks of one family share more heads than tasks of different ones", near - far, above=0,
                   n_queries=n_queries, reported="dissimilar tasks do not share them", missing=missing),
        over_tasks("At most 5 % of the dissimilar pairs share more heads than layer-matched chance gives",
                   mean(beyond, dissimilar), at_most=0.05, n_queries=n_queries, missing=missing),
        over_tasks("At most 5 % of the pairs of one family share more heads than layer-matched chance gives",
                   mean(beyond, similar), at_most=0.05, n_queries=n_queries, missing=missing),
    ]  # fmt: skip
    rows = [
        (name, None, None, None, None) if one is None else (name, one.value, one.low, one.high, one.p_value)
        for name, one in (
            ("with families", clusters.family_agreement),
            ("of resampled seeds and heads", clusters.stability),
        )
    ]
    tables = [
        Table(title=f"Adjusted Rand index of the {clusters.n_clusters} clusters of tasks:",
              columns=("agreement", "value", "low", "high", "p"), rows=tuple(rows)),
        Table.of("Clusters of tasks, in leaf order:", clusters.frame().sort_values("place"),
                 ["task", "family", "cluster"]),
    ]  # fmt: skip
    figure = (
        "Jaccard index of the heads of every two tasks; a dot marks more than chance.",
        sl.plots.similarity(overlap),
    )
    return Findings(overlap.names, claims, tables, {"overlap": figure})


if __name__ == "__main__":
    run_this(__file__)
