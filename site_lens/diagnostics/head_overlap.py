"""Overlap of head maps of tasks, seeds or selectors: as sets, as rankings, and beyond chance."""

from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from operator import and_
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from site_lens.heads.head_set import HeadGrid, HeadSet, common_grid
from site_lens.heads.scores import HeadGates, HeadScores
from site_lens.records.base import Axes, Float32, Lengths, Record
from site_lens.records.display import few
from site_lens.records.errors import InputError, unknown_name
from site_lens.records.lazy_pandas import pd
from site_lens.records.wording import listed
from site_lens.runs.run import Run
from site_lens.site.fit import SiteFit
from site_lens.stats.paired_tests import SIGNIFICANT, control_false_discoveries
from site_lens.stats.set_overlap import fewest_findable, overlap_p_value, shared_by_chance, symmetric
from site_lens.stats.similarity import jaccard, n_shared, overlap_coefficient, rank_correlation

Scored: TypeAlias = SiteFit | HeadScores
"""What has one number per head: scores, gates, or a fit, which stands for its gates."""

MEASURES = ("jaccard", "jaccard_top", "overlap_coefficient", "spearman", "rank_biased", "p_value", "q_value")
"""Every number that a comparison holds of a pair."""

PERSISTENCE = 0.9
"""p of rank-biased overlap: under it the first ten ranks carry 86 percent of the weight."""

Similar = Annotated[Float32, Axes(("record", "other"), 0, 1, missing=True)]
"""(record other): the same, NaN for pairs that cannot be compared."""

Share = Annotated[Float32, Axes(("record", "other"), 0, 1)]
"""(record other): a number in [0, 1] for each pair, symmetric."""


class Overlap(Record):
    """Head maps of tasks, seeds or selectors compared pair by pair."""

    kind: ClassVar[str] = "overlap"
    schema_version: ClassVar[int] = 2
    """2: similarities of empty sets, and of rankings of equal scores, are NaN; they were 1 in 1."""
    lengths: ClassVar[Lengths] = {"names": "record", "other": "record"}

    names: Annotated[tuple[str, ...], Field(min_length=1)]
    grid: HeadGrid
    scores: Annotated[Float32, Axes(("record", "layer", "head"))]
    """(record layer head): what was compared."""
    gates: bool
    """Whether all of them are gates in [0, 1]."""
    threshold: float | None = Field(ge=0, lt=1)
    """A head is in a record's set when its score is above it; None where the sets are the top k."""
    k: int = Field(ge=1)
    """Size of the top sets; equal scores are taken in order of layer, then head, in every record, so that a `k` beyond
    the heads that differ makes sets agree."""
    jaccard: Similar
    """Heads in both sets over heads in either; NaN where both sets are empty."""
    jaccard_top: Similar
    """The same of the top-k sets; NaN with a record whose scores are all alike, which has no top."""
    overlap_coefficient: Similar
    """Heads in both sets over the size of the smaller; NaN where the smaller is empty."""
    spearman: Annotated[Float32, Axes(("record", "other"), -1, 1)]
    """Rank correlation over all heads; 0 where a record is constant."""
    rank_biased: Annotated[Float32, Axes(("record", "other"), missing=True)]
    """Rank-biased overlap of the rankings (Webber, Moffat and Zobel 2010, extrapolated, p = 0.9), in [0, 1].
    Equal scores rank in order of layer, then head, here too: what is tied in both counts as agreement. NaN with a
    record whose scores are all alike, which ranks nothing."""
    p_value: Share
    """Chance that two random sets, each with as many heads in every layer as its record's, share as many heads or
    more: exact, no smaller than 1e-38 (the end of float32), and 1 on the diagonal."""
    q_value: Share
    """p-values with the false discovery rate controlled over all pairs (Benjamini and Hochberg); 1 on the diagonal."""
    findable: Annotated[Float32, Axes(("record", "other"))] | None = None
    """Fewest shared heads that are told from chance, alone among all pairs, at q < 0.05; where that is more than the
    smaller set has, no overlap could be found. None in files of version 0.1.0."""
    specificity: Annotated[Float32, Axes(("record", "layer", "head"))]
    """(record layer head): the record's score less the mean of the others', 0 with a single record."""
    notes: tuple[str, ...] = ()
    """What makes the comparison hard to read: records of several models, or of other rows under one name."""

    def _facts(self) -> Mapping[str, object]:
        sizes, pairs = self._sets().sum((1, 2)), self.frame()
        return {
            "records": f"{len(self.names)} ({few(self.names)})",
            "sets": f"top {self.k}" if self.threshold is None else f"above {self.threshold:g}",
            "heads in a set": f"{sizes.min()} to {sizes.max()} of {len(self.grid)}",
            **({"empty sets": int((sizes == 0).sum())} if (sizes == 0).any() else {}),
            "mean Jaccard": float(pairs["jaccard"].mean()),
            "pairs beyond chance": f"{(pairs['q_value'] < SIGNIFICANT).sum()} of {len(pairs)}",
        }

    def _tables(self) -> "Mapping[str, Callable[[], pd.DataFrame]]":
        return {"pairs": self.frame, "heads": self.heads_frame}

    def heads_of(self, name: str) -> HeadSet:
        """Return the set of a record: its heads above the threshold, or its top k."""
        if name not in self.names:
            raise unknown_name("record", name, self.names)
        values = self.scores[self.names.index(name)]
        compared = HeadScores(grid=self.grid, values=values, selector=name, meaning="what was compared")
        return _set_of(compared, self.threshold, self.k)

    def shared(self, *names: str) -> HeadSet:
        """Return the heads that lie in the sets of all of these records; of all records when none is named."""
        return reduce(and_, map(self.heads_of, names or self.names))

    def only(self, name: str) -> HeadSet:
        """Return the heads that lie in the set of one record and in no other's."""
        others = (self.heads_of(other) for other in self.names if other != name)
        return reduce(lambda left, taken: left - taken, others, self.heads_of(name))

    def by_chance(self, name: str, other: str) -> float:
        """Return how many heads two random sets share on average, each with as many in every layer as its record's."""
        counts = tuple(self.heads_of(each).mask().sum(axis=1) for each in (name, other))
        return float((counts[0] * counts[1] / np.maximum(self.grid.heads_per_layer, 1)).sum())

    def sentence(self, name: str, other: str) -> str:
        """Say which heads two records share, how many chance would give, and which are those of one alone."""
        p_value = float(self.p_value[self.names.index(name), self.names.index(other)])
        p = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}"
        one, two = self.heads_of(name), self.heads_of(other)
        heads = "head" if len(one & two) == 1 else "heads"
        both, first, second = (listed(part) or "none" for part in (one & two, one - two, two - one))
        return (
            f"{name} and {other} share {len(one & two)} {heads} ({self.by_chance(name, other):.1f} expected by chance, "
            f"{p}): {both}; {name} alone: {first}; {other} alone: {second}"
        )

    def frame(self) -> "pd.DataFrame":
        """One row per pair of records: record, other, n_shared, n_record, n_other, findable, and every measure."""
        pairs = first, second = np.triu_indices(len(self.names), k=1)
        names = np.array(self.names, dtype=object)
        shared = n_shared(self._sets()[:, self.grid.mask])
        sizes = np.diag(shared)
        columns = {
            "record": names[first],
            "other": names[second],
            "n_shared": shared[pairs],
            "n_record": sizes[first],
            "n_other": sizes[second],
            "findable": np.nan if self.findable is None else self.findable[pairs],
        }
        return pd.DataFrame(columns | {measure: getattr(self, measure)[pairs] for measure in MEASURES})

    def heads_frame(self) -> "pd.DataFrame":
        """One row per record and head: record, layer, head, score, in_set, specificity."""
        records = {"record": np.repeat(np.array(self.names, dtype=object), len(self.grid))}
        values = {"score": self.scores, "in_set": self._sets(), "specificity": self.specificity}
        columns = {name: maps[:, self.grid.mask].ravel() for name, maps in values.items()}
        return pd.DataFrame(records | self.grid.columns(len(self.names)) | columns)

    def layer_frame(self) -> "pd.DataFrame":
        """One row per record and layer that has heads: record, layer, mean_score over its heads, n_in_set."""
        by_layer = self.heads_frame().groupby(["record", "layer"], sort=False)
        return by_layer.agg(mean_score=("score", "mean"), n_in_set=("in_set", "sum")).reset_index()

    def _sets(self) -> NDArray[np.bool_]:
        return np.stack([self.heads_of(name).mask() for name in self.names])


def head_overlap(
    *records: Scored | Mapping[str, Scored] | Iterable[Scored] | Run,
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
            sequence, or one argument each; or a run, which stands for its `head_fits`. Without a mapping a record is
            called by its task, or by its selector if it has none; where two would share the name, by `task#seed` (fits)
            or `task (selector)`, numbered if need be.
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
    named = _named(records)
    maps = {name: record.gates if isinstance(record, SiteFit) else record for name, record in named.items()}
    scores = list(maps.values())
    grid = common_grid({name: each.grid for name, each in maps.items()})
    scales = [name for name, each in maps.items() if not isinstance(each, HeadGates)]
    if threshold == "auto":
        threshold = None if scales else 0.5
    if threshold is not None and scales:
        raise InputError(
            f"threshold={threshold} needs gates in [0, 1], and {scales[0]!r} holds scores of another scale; leave "
            "threshold out, and choose k"
        )
    if k is None:
        sizes = [0.1 * len(grid)] if threshold is None else [len(each.above(threshold)) for each in scores]
        k = max(1, round(float(np.median(sizes))))
    if not 1 <= k <= len(grid):
        raise InputError(f"cannot compare the top {k} of {len(grid)} heads")
    sets = np.stack([_set_of(each, threshold, k).mask() for each in scores])
    flat, top = sets[:, grid.mask], np.stack([each.top(k).mask() for each in scores])[:, grid.mask]
    values = np.stack([each.values for each in scores])
    is_flat = np.array([each.is_flat for each in scores])
    unranked = is_flat[:, None] | is_flat
    chances, shared, n = shared_by_chance(grid.heads_per_layer, sets), n_shared(flat), len(sets)
    p_value = symmetric({pair: overlap_p_value(chances[pair], shared[pair]) for pair in chances}, n, diagonal=1)
    findable = {(i, j): fewest_findable(chances[i, j], len(chances), shared[i, i], shared[j, j]) for i, j in chances}
    q_value = control_false_discoveries(p_value, np.triu(np.ones((n, n), dtype=bool), k=1))
    return Overlap(
        names=tuple(maps),
        grid=grid,
        scores=values,
        gates=not scales,
        threshold=threshold,
        k=k,
        jaccard=jaccard(flat),
        jaccard_top=np.where(unranked, np.nan, jaccard(top)),
        overlap_coefficient=overlap_coefficient(flat),
        spearman=rank_correlation(values[:, grid.mask]),
        rank_biased=np.where(unranked, np.nan, _rank_biased(scores)),
        p_value=p_value,
        q_value=np.minimum(q_value, q_value.T),
        findable=symmetric(findable, n),
        specificity=(values - values.mean(axis=0, dtype=np.float64)) * n / max(n - 1, 1),
        notes=_notes(named),
    )


def _set_of(scores: HeadScores, threshold: float | None, k: int) -> HeadSet:
    return scores.top(k) if threshold is None else scores.above(threshold)


def _named(given: tuple[Scored | Mapping[str, Scored] | Iterable[Scored] | Run, ...]) -> dict[str, Scored]:
    """Return the records by name, however they were handed in."""
    single: Any = given[0] if len(given) == 1 and not isinstance(given[0], Scored) else given
    if isinstance(single, Run):
        single = single.head_fits
    records = list(single.values() if isinstance(single, Mapping) else single)
    wrong = [type(record).__name__ for record in records if not isinstance(record, Scored)]
    if wrong:
        raise InputError(f"needs fits or scores, or one mapping or sequence of them, got {wrong[0]}")
    if not records:
        raise InputError("a comparison needs at least one record, got none")
    return dict(zip(single if isinstance(single, Mapping) else _names(records), records, strict=True))


def _names(records: list[Scored]) -> list[str]:
    short, full = [record.task or _full_name(record) for record in records], list(map(_full_name, records))
    names = [name if short.count(name) == 1 else longer for name, longer in zip(short, full, strict=True)]
    return [n if names.count(n) == 1 else f"{n} [{names[: i + 1].count(n)}]" for i, n in enumerate(names)]


def _full_name(record: Scored) -> str:
    if isinstance(record, SiteFit):
        return f"{record.task}#{record.seed}"
    return f"{record.task} ({record.selector})" if record.task else record.selector


def _notes(named: Mapping[str, Scored]) -> tuple[str, ...]:
    """Say whether the maps are of one model, and those of a task of the same rows."""
    fits = [record for record in named.values() if isinstance(record, SiteFit)]
    models = {fit.embedding.model.weights_digest: fit.embedding.model.short_name for fit in fits}
    notes = []
    if len(models) > 1:
        notes.append(
            f"the fits are of {len(models)} models ({', '.join(models.values())}; other weights): a head such as L3H7 "
            "of one is not that of another, and heads in the same places say nothing of the same heads"
        )
    tasks = [task for task, _ in {(fit.task, fit.task_digest) for fit in fits}]
    several = sorted({task for task in tasks if tasks.count(task) > 1})
    if several:
        notes.append(f"fits of {', '.join(several)} were made on other rows, or another split, under the same name")
    return tuple(notes)


def _rank_biased(scores: list[HeadScores]) -> NDArray[np.float64]:
    """Compute RBO_ext of every two full rankings: (1 - p) / p * sum_d p^d A(d) + p^n A(n), A(d) the overlap share.

    A head that one record ranks r-th and another s-th counts at every depth from max(r, s) on. The sum over depths is
    therefore a sum over heads of a weight that depends on the larger rank alone. A(n) is 1, as each ranks all heads.
    """
    values = np.stack([each.values[each.grid.mask] for each in scores])
    ranks = 1 + np.argsort(np.argsort(-values, axis=1, kind="stable"), axis=1)
    depth = np.arange(1, ranks.shape[1] + 1)
    at_depth = (1 - PERSISTENCE) / PERSISTENCE * PERSISTENCE**depth / depth
    weight = np.cumsum(at_depth[::-1])[::-1]
    met = np.stack([weight[np.maximum(row, ranks) - 1].sum(axis=1) for row in ranks])
    beyond: float = PERSISTENCE ** ranks.shape[1]
    return met + beyond
