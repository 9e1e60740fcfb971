"""Every task under the alphas, the embedding, or both, of every other task, beside nulls."""

import numpy as np

import site_lens as sl
from analysis import measurements
from analysis.claims import Claim, over_tasks
from analysis.lab import Lab
from analysis.results import Findings, Table
from analysis.studies import run_this

QUESTION = "Do alphas of one task work for another, and along which lines?"
REPORTED = (
    "Alphas of a task work with the embedding of a similar task and fail with that of a dissimilar one: where to "
    "inject matters more than what. The matrix itself could not be recovered."
)


def study(lab: Lab) -> Findings:
    """Average the cells of each target over its sources; intervals over targets. 0 is zero-shot, 1 the own fit."""
    numbers = lab.settings.transfer
    soft, hard = measurements.transfer(lab), measurements.transfer(lab, hard=True)
    similar, dissimilar = measurements.kinship(soft.families)
    missing = "no two tasks of one family" if np.isnan(similar).all() else "no task gains anything by its own fit"

    def claim(statement: str, values: np.ndarray, reported: str = "", **side: float) -> Claim:
        return over_tasks(statement, values, n_queries=soft.n_queries, reported=reported, missing=missing, **side)

    alphas, embedding = soft.normalised("alphas"), soft.normalised("embedding")
    near, far = _over_sources(alphas, similar), _over_sources(alphas, dissimilar)
    above_null = _over_sources(soft.accuracies("alphas") - soft.reference("shuffled_heads"), dissimilar)
    claims = [
        claim(f"Alphas of a similar task do more than {numbers.works:.0%} of what a task's own do", near,
              "they work", above=numbers.works),
        claim(f"Alphas of dissimilar tasks do at most {numbers.fails:.0%} of what a task's own do", far,
              "they fail", at_most=numbers.fails),
        claim(f"Rounded alphas of dissimilar tasks do at most {numbers.fails:.0%} of what a task's own do",
              _over_sources(hard.normalised("alphas"), dissimilar), at_most=numbers.fails),
        claim("Alphas of similar tasks do more than those of dissimilar ones", near - far,
              "similar tasks alone", above=0),
        claim("Alphas of dissimilar tasks do more than the task's own, heads shuffled within layers", above_null,
              above=0),
        claim("Other tasks' alphas cost a task more than other tasks' embeddings",
              _over_sources(embedding - alphas, dissimilar), "where matters more than what", above=0),
    ]  # fmt: skip
    sets = measurements.transfer_of_sets(lab)
    along = np.full(1, np.nan) if sets is None else _nearness(sets)
    claims.append(
        over_tasks("Chosen heads of similar tasks do more than those of dissimilar ones", along,
                   n_queries=soft.n_queries if sets is None else sets.n_queries, above=0,
                   missing="too few tasks of a family have a head set"),
    )  # fmt: skip
    columns = ["kind", "verdict", "mean", "mean_low", "mean_high", "above_null", "above_null_low", "above_null_high",
               "null", "overlap_correlation", "overlap_p", "family_gap", "family_p"]  # fmt: skip
    matrices = {"soft alphas": soft, "rounded alphas": hard} | ({} if sets is None else {"chosen heads": sets})
    readings = {name: sl.summarize_transfer(matrix) for name, matrix in matrices.items()}
    tables = [
        Table.of(f"Mean normalised score of other tasks' parts, {name}:", reading.frame(), columns)
        for name, reading in readings.items()
    ]
    shown = sl.plots.transfer(soft, order=readings["soft alphas"].order)
    figure = ("Accuracy of every task (columns) under the alphas of every task (rows).", shown)
    return Findings(soft.tasks, claims, tables, {"alphas": figure})


def _nearness(matrix: sl.TransferMatrix) -> np.ndarray:
    """(target): mean normalised score under sources of its family, less that under sources of other ones."""
    scores, (similar, dissimilar) = matrix.normalised("alphas"), measurements.kinship(matrix.families)
    return np.asarray(_over_sources(scores, similar) - _over_sources(scores, dissimilar))


def _over_sources(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """(target): mean of (source target) over the chosen sources; NaN where there are none, or nothing is known."""
    kept = np.where(np.isfinite(values * chosen), values, 0.0)
    n = np.isfinite(values * chosen).sum(0)
    return np.where(n > 0, kept.sum(0) / np.maximum(n, 1), np.nan)


if __name__ == "__main__":
    run_this(__file__)
