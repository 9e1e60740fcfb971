"""How much head maps of tasks, seeds or selectors agree: as sets, as rankings, and beyond chance."""

from collections.abc import Iterable, Mapping
from functools import cache, reduce
from math import comb
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from site_lens.diagnostics.overlap import Overlap, chosen
from site_lens.heads.head_set import HeadGrid
from site_lens.heads.scores import HeadGates, HeadScores
from site_lens.records.base import Float32
from site_lens.records.errors import InputError, MismatchError
from site_lens.site.fit import SiteFit
from site_lens.stats.paired_tests import SIGNIFICANT, SMALLEST, control_false_discoveries
from site_lens.stats.similarity import jaccard, n_shared, overlap_coefficient, rank_correlation

Scored: TypeAlias = SiteFit | HeadScores
"""What has one number per head: scores, gates, or a fit, which stands for its gates."""

Float64: TypeAlias = NDArray[np.float64]
Masks: TypeAlias = NDArray[np.bool_]

PERSISTENCE = 0.9
"""p of rank-biased overlap: under it the first ten ranks carry 86 percent of the weight."""


def head_overlap(
    *records: Scored | Mapping[str, Scored] | Iterable[Scored],
    threshold: float | Literal["auto"] | None = "auto",
    k: int | None = None,
) -> Overlap:
    """Compare head maps pair by pair: which heads they share, how alike they rank heads, and what chance would give.

    Carriers of any task gather in some layers, so sets that merely lie in the same layers share heads by chance. The
    p-value therefore compares with random sets that have as many heads in each layer: what two of them share in a
    layer is hypergeometric, and the sum over layers is convolved exactly. Being discrete it is conservative: where
    there is nothing but chance, P(p <= a) <= a.

    Args:
        records: Fits, gates or scores over one grid: one mapping from name to record (`SiteFits` is one), one
            sequence, or one argument each. Without a mapping a record is called by its task, or by its selector if it
            has none; where two would share the name, by `task#seed` (fits) or `task (selector)`, numbered if need be.
        threshold: A head is in a record's set when its gate is above it, in [0, 1); None takes the top k. "auto" is 0.5
            where all records are gates, else None, for other scores know no common threshold.
        k: Size of the top sets. When None, the median size of the sets above the threshold; where there is no
            threshold, a tenth of the heads. At least 1 either way.

    Raises:
        InputError: There is no record, something is no record, `k` is more than there are heads, or the threshold
            is not in [0, 1) or was given for records that are not all gates.
        MismatchError: The records stand over different grids.

    Reference: Webber, Moffat and Zobel 2010 (rank-biased overlap); Benjamini and Hochberg 1995.

    Example:
        >>> import site_lens as sl
        >>> model, tasks = sl.load_model("demo"), sl.load_tasks("demo", ["antonym", "english-french"])
        >>> fits = sl.fit_site(model, tasks, sl.SiteConfig(n_prompts=4, n_shots=3, n_steps=10))
        >>> sl.head_overlap(fits, threshold=None, k=5).frame()["n_record"].item()
        5
    """
    given = _given(records)
    named = {name: one.gates if isinstance(one, SiteFit) else one for name, one in given.items()}
    grid = _one_grid(named)
    gates = all(isinstance(scores, HeadGates) for scores in named.values())
    if threshold == "auto":
        threshold = 0.5 if gates else None
    if threshold is not None and not gates:
        other = next(name for name, scores in named.items() if not isinstance(scores, HeadGates))
        raise InputError(
            f"threshold={threshold} needs gates in [0, 1], and {other!r} holds scores of another scale; leave "
            "threshold out, and choose k"
        )
    k = _top_size(list(named.values()), threshold) if k is None else k
    if not 1 <= k <= len(grid):
        raise InputError(f"cannot compare the top {k} of {len(grid)} heads")
    sets = np.stack([chosen(scores, threshold, k).mask() for scores in named.values()])
    top_sets = np.stack([scores.top(k).mask() for scores in named.values()])
    values = np.stack([scores.values for scores in named.values()])
    p_value, findable = _tests(sets, grid)
    return Overlap(
        names=tuple(named),
        grid=grid,
        scores=values,
        gates=gates,
        threshold=threshold,
        k=k,
        jaccard=jaccard(sets[:, grid.mask]),
        jaccard_top=jaccard(top_sets[:, grid.mask]),
        overlap_coefficient=overlap_coefficient(sets[:, grid.mask]),
        spearman=rank_correlation(values[:, grid.mask]),
        rank_biased=_rank_biased(list(named.values())),
        p_value=p_value,
        q_value=_q_values(p_value),
        findable=findable,
        specificity=_specificity(values),
        notes=_notes(given),
    )


def _given(records: tuple[Scored | Mapping[str, Scored] | Iterable[Scored], ...]) -> dict[str, Scored]:
    given: object = records
    if len(records) == 1 and not isinstance(records[0], Scored):
        given = records[0]
    found = list(given.values() if isinstance(given, Mapping) else given if isinstance(given, Iterable) else [given])
    strangers = [type(record).__name__ for record in found if not isinstance(record, Scored)]
    if strangers:
        raise InputError(f"needs fits or scores, or one mapping or sequence of them, got {strangers[0]}")
    if not found:
        raise InputError("a comparison needs at least one record, got none")
    names = list(given) if isinstance(given, Mapping) else _names(found)
    return dict(zip(names, found, strict=True))


def _notes(given: Mapping[str, Scored]) -> tuple[str, ...]:
    """Say whether the maps are of one model, and those of a task of the same rows."""
    fits = [one for one in given.values() if isinstance(one, SiteFit)]
    models = {fit.embedding.model.weights_digest: fit.embedding.model.name for fit in fits}
    notes = []
    if len(models) > 1:
        notes.append(
            f"the fits are of {len(models)} models ({', '.join(models.values())}; other weights): a head such as L3H7 "
            "of one is not that of another, and heads in the same places say nothing of the same heads"
        )
    rows: dict[str, set[str]] = {}
    for fit in fits:
        rows.setdefault(fit.task, set()).add(fit.task_digest)
    several = sorted(task for task, digests in rows.items() if len(digests) > 1)
    if several:
        notes.append(f"fits of {', '.join(several)} were made on other rows, or another split, under the same name")
    return tuple(notes)


def _names(records: list[Scored]) -> list[str]:
    short = [record.task or _full_name(record) for record in records]
    names = [
        name if short.count(name) == 1 else _full_name(record) for name, record in zip(short, records, strict=True)
    ]
    return [
        name if names.count(name) == 1 else f"{name} [{names[: i + 1].count(name)}]" for i, name in enumerate(names)
    ]


def _full_name(record: Scored) -> str:
    if isinstance(record, SiteFit):
        return f"{record.task}#{record.seed}"
    return f"{record.task} ({record.selector})" if record.task else record.selector


def _one_grid(named: Mapping[str, HeadScores]) -> HeadGrid:
    (first, scores), *others = named.items()
    for name, other in others:
        if other.grid != scores.grid:
            raise MismatchError(
                f"{first} has {scores.grid}, {name} has {other.grid}; compare records of one grid, "
                f"for only there does a name such as L3H7 mean the same head"
            )
    return scores.grid


def _top_size(scores: list[HeadScores], threshold: float | None) -> int:
    if threshold is None:
        return max(1, round(0.1 * len(scores[0].grid)))
    return max(1, round(float(np.median([len(one.above(threshold)) for one in scores]))))


def _rank_biased(scores: list[HeadScores]) -> Float64:
    """Compute RBO_ext of every two full rankings: (1 - p) / p * sum_d p^d A(d) + p^n A(n), A(d) the overlap share.

    A head that one record ranks r-th and another s-th counts at every depth from max(r, s) on. The sum over depths is
    therefore a sum over heads of a weight that depends on the larger rank alone. A(n) is 1, as each ranks all heads.
    """
    ranks = np.stack([one.frame()["rank"].to_numpy() for one in scores])
    depth = np.arange(1, ranks.shape[1] + 1)
    at_depth = (1 - PERSISTENCE) / PERSISTENCE * PERSISTENCE**depth / depth
    weight = np.cumsum(at_depth[::-1])[::-1]
    met = np.stack([weight[np.maximum(own, ranks) - 1].sum(axis=1) for own in ranks])
    beyond: float = PERSISTENCE ** ranks.shape[1]
    return met + beyond


def _tests(sets: Masks, grid: HeadGrid) -> tuple[Float64, Float64]:
    """Test every pair of sets (record layer head).

    Returns:
        (record other): p-values, and the fewest shared heads whose p-value would be found alone among all pairs.
    """
    shared = n_shared(sets[:, grid.mask])
    in_layer = [tuple(counts) for counts in sets.sum(axis=2).tolist()]
    p_value, findable = np.ones(shared.shape), np.zeros(shared.shape)
    pairs = list(zip(*np.triu_indices(len(sets), k=1), strict=True))
    for i, j in pairs:
        chances = shared_by_chance(grid.heads_per_layer, in_layer[i], in_layer[j])
        p_value[i, j] = p_value[j, i] = chances[shared[i, j] :].sum()
        findable[i, j] = findable[j, i] = fewest_findable(chances, len(pairs), sum(in_layer[i]), sum(in_layer[j]))
    return np.clip(p_value, SMALLEST, 1), findable


@cache  # selectors that are the same for all tasks meet again on each
def shared_by_chance(heads: tuple[int, ...], one: tuple[int, ...], other: tuple[int, ...]) -> Float64:
    """Chance that random sets, with as many heads in each layer as two given ones, share 0, 1, ... heads; exact.

    Args:
        heads: Heads of each layer.
        one: Heads of the first set in each layer.
        other: Heads of the second.
    """
    layers = (layer for layer in zip(heads, one, other, strict=True) if layer[0])
    return reduce(np.convolve, (_shared_in_layer(*layer) for layer in layers))


def fewest_findable(chances: Float64, n_tests: int, *sizes: int) -> int:
    """Count the shared heads from which on an overlap would be found, alone among so many tests.

    Args:
        chances: Of sharing 0, 1, ... heads (`shared_by_chance`).
        n_tests: Tests whose false discovery rate is controlled.
        sizes: Heads of both sets.

    Returns:
        That number; one more than the smaller set has where no overlap that its layers allow would be found.
    """
    at_least = np.cumsum(chances[::-1])[::-1]
    found = np.nonzero(at_least <= SIGNIFICANT / n_tests)[0]
    return int(found[0]) if len(found) else min(sizes) + 1


@cache
def _shared_in_layer(n: int, a: int, b: int) -> Float64:
    """Chance that random sets of `a` and of `b` out of `n` heads share 0, 1, ... heads (hypergeometric)."""
    return np.array([comb(a, x) * comb(n - a, b - x) / comb(n, b) for x in range(min(a, b) + 1)])


def _q_values(p_value: Float64) -> Float64:
    pairs = np.triu(np.ones(p_value.shape, dtype=bool), k=1)
    q_value = control_false_discoveries(p_value, pairs)
    return np.minimum(q_value, q_value.T)


def _specificity(values: Float32) -> Float64:
    """Return the score of each record (record layer head) less the mean of the others; 0 where there is no other."""
    n = len(values)
    if n == 1:
        return np.zeros(values.shape)
    wide = values.astype(np.float64)
    rest: Float64 = (wide - wide.mean(axis=0)) * n / (n - 1)
    return rest
