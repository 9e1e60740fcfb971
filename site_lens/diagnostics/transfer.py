"""Reading a transfer matrix: means over targets, chance, and what transfer goes along with."""

import numpy as np

from site_lens.core.errors import InputError
from site_lens.core.paired_tests import Paired
from site_lens.core.records import Float32
from site_lens.core.transfer import KINDS, TransferKind, TransferMatrix
from site_lens.core.transfer_reading import KindReading, TransferReading, TransferVerdict
from site_lens.diagnostics.grouping import average_tree
from site_lens.diagnostics.matrix_tests import FEWEST_TASKS, Association, family_gap, mantel
from site_lens.diagnostics.similarity import correlation, jaccard

ALL, NONE = 0.8, 0.2
"""Normalised scores that the mean must be found to lie above, or below, to be called transfer, or none."""

NULL_OF: dict[TransferKind, str] = {
    "alphas": "shuffled_heads",
    "embedding": "random_embedding",
    "both": "random_embedding",
}
"""What a kind of transfer must beat: the right layers with drawn heads, or an embedding of the right lengths."""


def read_transfer(matrix: TransferMatrix) -> TransferReading:
    """Say whether alphas, embeddings, or both transfer between tasks, and along which lines.

    Means are taken over the sources of each target first; tests and intervals are over targets. Associations are
    tested by permuting tasks (`diagnostics.matrix_tests`), with four tasks or more.

    Args:
        matrix: What `transfer_matrix` measured.

    Returns:
        A verdict for every kind, which is "too few" where fewer than six targets gain 0.1 or more by their own fit, and
        "not found" where no difference from the null is found.
    """
    heads = np.asarray(jaccard((matrix.alphas > 0.5).reshape(len(matrix.tasks), -1)))
    flat = [task for task, score in zip(matrix.tasks, matrix.normalised("both").T, strict=True) if np.isnan(score[0])]
    notes = [f"{task} gains less than 0.1 by its own fit and is left out of normalised scores" for task in flat]
    return TransferReading(
        tasks=matrix.tasks,
        kinds=tuple(_read(matrix, kind, heads) for kind in KINDS),
        order=_order(matrix.accuracies("alphas")),
        notes=tuple(notes),
    )


def _read(matrix: TransferMatrix, kind: TransferKind, heads: np.ndarray) -> KindReading:
    normalised = matrix.normalised(kind)
    known = np.isfinite(normalised[0])
    mean = _over_targets(normalised[:, known], np.nonzero(known)[0])
    null = matrix.reference(NULL_OF[kind])
    gaps = matrix.accuracies(kind) - null[None, :]
    above_null = _over_targets(gaps, np.arange(len(matrix.tasks)))
    n_queries = int(matrix.n_queries[known].sum())
    asymmetry = matrix.asymmetry(kind)
    overlap, family = _along(normalised, heads), _within_families(normalised, matrix.families)
    return KindReading(
        transferred=kind,
        verdict=_verdict(mean, above_null),
        mean=None if mean is None else mean.estimate,
        above_null=None if above_null is None else above_null.estimate,
        null=NULL_OF[kind],
        n_queries=n_queries,
        asymmetry=None if np.isnan(asymmetry) else asymmetry,
        overlap_correlation=None if overlap is None else overlap.value,
        overlap_p=None if overlap is None else overlap.p_value,
        family_gap=None if family is None else family.value,
        family_p=None if family is None else family.p_value,
    )


def _over_targets(values: np.ndarray, targets: np.ndarray) -> Paired | None:
    """Average (source target) over the other sources of each target, and test over targets; None without targets."""
    if not len(targets):
        return None
    others = np.arange(len(values))[:, None] != targets[None, :]
    return Paired.of((values * others).sum(0) / others.sum(0), over="tasks")


def _verdict(mean: Paired | None, above_null: Paired | None) -> TransferVerdict:
    if mean is None or above_null is None or mean.verdict == "too few":
        return "too few"
    if mean.beyond(NONE).verdict == "below":
        return "does not transfer"
    if above_null.verdict != "above":
        return "not found"
    return "transfers" if mean.beyond(ALL).verdict == "above" else "partly"


def _along(normalised: Float32, heads: np.ndarray) -> Association | None:
    return None if len(normalised) < FEWEST_TASKS else mantel(normalised, heads)


def _within_families(normalised: Float32, families: tuple[str | None, ...]) -> Association | None:
    try:
        return family_gap(normalised, families)
    except InputError:  # too few tasks, or no two families to compare: nothing to test
        return None


def _order(accuracies: Float32) -> tuple[int, ...]:
    """Order tasks by the tree over what they do as sources."""
    from scipy.cluster.hierarchy import leaves_list

    if len(accuracies) < 3:
        return tuple(range(len(accuracies)))
    distance = np.round(1 - correlation(accuracies), 6)
    np.fill_diagonal(distance, 0)
    return tuple(int(i) for i in leaves_list(average_tree(distance, ordered=True)))
