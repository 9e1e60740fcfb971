"""Role association: whether tasks whose alphas transfer use heads of the same role."""

from dataclasses import asdict, dataclass

import numpy as np

from site_lens.records.errors import InputError
from site_lens.records.lazy_pandas import pd
from site_lens.stats.intervals import rounded_up
from site_lens.stats.paired_tests import SIGNIFICANT
from site_lens.stats.permutation_tests import Association, mantel
from site_lens.stats.similarity import jaccard
from site_lens.studies.head_profiles.result import HeadProfiles
from site_lens.studies.transfer.result import TransferMatrix

FEWEST_TASKS = 5
"""Tasks below which roles are not tested: of four tasks there are 24 permutations and six pairs."""

FEWEST_PAIRS = 20
"""Pairs of tasks, in order, without a head in common below which they are not tested by themselves."""

VERDICTS = {
    "same_role": "Tasks whose heads do the same transfer, also where they share no head.",
    "not_found": "No association of transfer with the roles of heads was found.",
    "cannot_tell": "Transfer goes along with roles, but it may be for shared heads: too few pairs of tasks share none.",
}
"""Meaning of each verdict."""


@dataclass(frozen=True, slots=True)
class RoleAssociation:
    """Rank correlations of transfer with what tasks have in common; each with its statistic, p and tasks."""

    roles: Association
    """With the likeness of the roles of the tasks' heads."""
    heads: Association
    """With the share of heads that two tasks have in common. Shared heads have the same roles, too, so that roles say
    something of their own only where they go along with transfer more closely than this, or in `apart`."""
    apart: Association | None
    """With the likeness of roles over pairs of tasks without a head in common; None where there are fewer than 20."""
    n_apart: int
    """These pairs, each in both directions."""

    @property
    def verdict(self) -> str:
        """Whether tasks whose heads do the same transfer, beyond their having heads in common; see `VERDICTS`."""
        if self.apart is not None:
            return "same_role" if self.apart.p_value < SIGNIFICANT else "not_found"
        if self.roles.p_value >= SIGNIFICANT:
            return "not_found"
        return "cannot_tell"

    @property
    def meaning(self) -> str:
        """Verdict in words; where nothing was found, the association that a verdict takes."""
        if self.verdict != "not_found":
            return VERDICTS[self.verdict]
        tested = self.roles if self.apart is None else self.apart
        return (
            f"{VERDICTS['not_found']} The rank correlation is {tested.value:+.2f} (p = {tested.p_value:.2g}); a "
            f"verdict takes one above +{rounded_up(tested.findable, 2)}."
        )

    def frame(self) -> "pd.DataFrame":
        """One row a comparison: with what, rank correlation, p (one-sided, of permuted tasks), findable, tasks."""
        tested = {"roles": self.roles, "shared heads": self.heads, "roles, no head shared": self.apart}
        rows = [{"with": name, "correlation": test.value, **asdict(test)} for name, test in tested.items() if test]
        return pd.DataFrame(rows).drop(columns="value")


def associate_roles(
    transfer: TransferMatrix, profiles: HeadProfiles, *, n_top: int = 4, seed: int = 0
) -> RoleAssociation:
    """Test whether alphas transfer between tasks whose heads do the same.

    The heads of a task are its open heads where its alphas are rounded, as those of a chosen set are, and else the
    `n_top` of highest alpha, of the profiled heads in both cases. Their role is the mean of their shares of attention
    on that task, their induction, previous-token and duplicate-token scores, and their copying score where it is known.
    Every feature is scaled to unit variance over tasks; likeness is the negative distance. Transfer is the normalised
    score of the target under the source's alphas. Tasks are permuted, all ways where they are few (Mantel); targets
    that gain nothing by their own fit are left out.

    Args:
        transfer: What `transfer_matrix` measured.
        profiles: What `head_profiles` measured on the same model.
        n_top: Heads of a task whose alphas are soft.
        seed: Seed of the permutations, where they are drawn.

    Raises:
        InputError: There are fewer than five tasks in both whose fit gains anything and that have a profiled head, or
            fewer profiled heads than `n_top`.

    Reference: Mantel 1967; see `stats.permutation_tests.mantel`.
    """
    scores = transfer.normalised("alphas")
    gains = [bool(np.isfinite(column).all()) for column in scores.T]
    heads = dict(zip(profiles.tasks, _heads_of_tasks(profiles.alphas, n_top), strict=True))
    shared = [
        task for task, gain in zip(transfer.tasks, gains, strict=True) if gain and task in heads and heads[task].any()
    ]
    if len(shared) < FEWEST_TASKS:
        raise InputError(
            f"needs {FEWEST_TASKS} tasks that were profiled and gain by their own fit, got {len(shared)}: "
            f"{', '.join(shared) or 'none'}"
        )
    at = [transfer.tasks.index(task) for task in shared]
    of = [profiles.tasks.index(task) for task in shared]
    moved = scores[np.ix_(at, at)].astype(np.float64)
    marked = np.stack([heads[task] for task in shared])
    alike, common = likeness(roles(profiles, marked, of)), jaccard(marked)
    apart = np.where(common == 0, alike, np.nan)
    n_apart = int(np.isfinite(apart).sum())
    of_apart = mantel(moved, apart, seed=seed) if n_apart >= FEWEST_PAIRS else None
    return RoleAssociation(mantel(moved, alike, seed=seed), mantel(moved, common, seed=seed), of_apart, n_apart)


def _heads_of_tasks(alphas: np.ndarray, n_top: int) -> np.ndarray:
    """(task head): whether a head is open in rounded alphas, or among the highest of soft ones, ties in order."""
    rounded = np.isin(alphas, (0, 1)).all(axis=1)
    if not rounded.all() and not 1 <= n_top <= alphas.shape[1]:
        raise InputError(f"cannot take {n_top} of {alphas.shape[1]} profiled heads")
    marked = alphas == 1
    highest = np.argsort(-alphas[~rounded], axis=1, kind="stable")[:, :n_top]
    marked[~rounded] = np.eye(alphas.shape[1], dtype=np.bool_)[highest].any(axis=1)
    return marked


def roles(profiles: HeadProfiles, marked: np.ndarray, tasks: list[int]) -> np.ndarray:
    """(task feature): the mean role of the heads marked in (task head), of some tasks."""
    scores = profiles.patterns if profiles.copying is None else np.vstack([profiles.patterns, profiles.copying])
    weights = marked / marked.sum(1, keepdims=True)
    seen = np.einsum("th,thp->tp", weights, profiles.attention[tasks])
    return np.hstack([seen, weights @ scores.T.astype(np.float64)])


def likeness(features: np.ndarray) -> np.ndarray:
    """(task task): negative distance between tasks, every feature scaled to unit variance over them."""
    from scipy.spatial.distance import cdist

    spread = features.std(0)
    scaled = (features - features.mean(0)) / np.where(spread > 1e-9, spread, np.inf)
    return -cdist(scaled, scaled)
