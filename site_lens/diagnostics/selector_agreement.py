"""Ways to score heads compared with each other: whether they find the same heads, and more so than chance."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from site_lens.diagnostics.head_overlap import head_overlap
from site_lens.heads.head_set import HeadGrid, common_grid
from site_lens.heads.scores import HeadScores, ScoresByTask
from site_lens.records.base import Axes, Float32, Frozen, Lengths, Record
from site_lens.records.display import few
from site_lens.records.errors import InputError, unknown_name
from site_lens.records.lazy_pandas import pd
from site_lens.stats.paired_tests import SIGNIFICANT, control_false_discoveries
from site_lens.stats.set_overlap import expected_jaccard, fewest_findable, shared_by_chance, symmetric
from site_lens.stats.similarity import rank_correlation

Float64 = NDArray[np.float64]

PAIRS = ("task", "selector", "other")
"""Axes of what is kept of a pair: one number a task, symmetric in the pair."""

MEASURES = ("spearman", "spearman_size", "jaccard", "chance", "p_value", "q_value")
"""Every number that is kept of a pair on a task."""


class SelectorFacts(Frozen):
    """Facts about the scores of one selector."""

    selector: str
    meaning: str
    """What its number means, in its own words."""
    signed: bool
    """Whether any score is below zero. One that is strongly negative ranks last where signs are kept, and first by
    size; a selector without signs cannot tell the two apart."""
    same_for_all: bool
    """Whether every task has the same scores: they belong to the model. False with a single task, where none can
    tell."""
    tied: float = Field(ge=0, le=1)
    """Share of the tasks whose top k would be another had equal scores been taken in another order."""
    n_forwards: float | None = Field(ge=0)
    n_labelled: float | None = Field(ge=0)
    """Forward passes and labelled rows a task, on average; None where nobody counted."""


class SelectorAgreement(Record):
    """Selectors compared pair by pair on every task that all of them scored."""

    kind: ClassVar[str] = "selector_agreement"
    lengths: ClassVar[Lengths] = {"other": "selector"}

    grid: HeadGrid
    selectors: tuple[SelectorFacts, ...]
    tasks: tuple[str, ...]
    """The tasks that every selector scored; the comparison stands on these and no others."""
    left_out: tuple[str, ...]
    """Tasks that some selector did not score."""
    k: int = Field(ge=1)
    """Heads in a selector's set: those of its k highest scores, signs kept; equal ones in order of layer, then head."""
    spearman: Annotated[Float32, Axes(PAIRS, -1, 1)]
    """Rank correlation of the scores over all heads, signs kept; 0 where one is constant."""
    spearman_size: Annotated[Float32, Axes(PAIRS, -1, 1)]
    """The same of their absolute values: the number to read where only one of the two has signs."""
    jaccard: Annotated[Float32, Axes(PAIRS, 0, 1, missing=True)]
    """Heads in both top-k sets over heads in either; NaN where a selector is flat and has no top."""
    chance: Annotated[Float32, Axes(PAIRS, 0, 1, missing=True)]
    """The Jaccard index to expect of two random sets with as many heads in every layer as the two have (exact)."""
    p_value: Annotated[Float32, Axes(PAIRS, 0, 1)]
    """Chance that two such random sets share as many heads or more (exact); 1 on the diagonal."""
    q_value: Annotated[Float32, Axes(PAIRS, 0, 1)]
    """The same with the false discovery rate controlled over all pairs and tasks. A pair of selectors that both are
    the same for all tasks counts once."""
    findable: Annotated[Float32, Axes(PAIRS)] | None = None
    """Fewest shared heads that are told from chance, alone among all pairs and tasks, at q < 0.05; where that is more
    than k, no overlap could be found. None in files of version 0.1.0."""

    def _facts(self) -> Mapping[str, object]:
        pairs = np.triu_indices(len(self.selectors), k=1)
        return {
            "selectors": f"{len(self.names)} ({few(self.names)})",
            "tasks": f"{len(self.tasks)} ({few(self.tasks)})",
            "sets": f"top {self.k} of {len(self.grid)} heads",
            "mean Spearman": float(np.mean(self.mean("spearman")[pairs])),
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the selectors."""
        return tuple(facts.selector for facts in self.selectors)

    def of(self, selector: str) -> SelectorFacts:
        """Return what the scores of a selector are."""
        if selector not in self.names:
            raise unknown_name("selector", selector, self.names)
        return self.selectors[self.names.index(selector)]

    def mean(self, measure: str) -> Float64:
        """Mean of a measure over the tasks that have it, (selector other); NaN where none has."""
        return over_tasks(np.ma.mean, self._values(measure))

    def spread(self, measure: str) -> Float64:
        """Sample standard deviation of a measure over tasks, (selector other); 0 of one task."""
        values = self._values(measure)
        return over_tasks(partial(np.ma.std, ddof=1), values) if len(values) > 1 else np.zeros(values.shape[1:])

    def beyond(self) -> Float64:
        """Share of the tasks in which two selectors share more heads than chance, q < 0.05, (selector other).

        Tasks of which a selector is flat, and has no top, do not count; NaN where none is left.
        """
        return over_tasks(np.ma.mean, np.where(np.isnan(self.jaccard), np.nan, self.q_value < SIGNIFICANT))

    def testable(self) -> Float64 | None:
        """Share of the tasks in which some overlap could have been found, (selector other); None where not known."""
        return None if self.findable is None else (self.findable <= self.k).mean(axis=0)

    def n_tasks(self) -> NDArray[np.int64]:
        """Tasks behind each pair, (selector other): 1 where both selectors are the same for all tasks."""
        same = np.array([facts.same_for_all for facts in self.selectors])
        return np.where(same[:, None] & same, 1, len(self.tasks))

    def frame(self) -> "pd.DataFrame":
        """One row per pair: selector, other, n_tasks, mean and spread of every agreement, chance, share beyond it."""
        pairs, names = np.triu_indices(len(self.selectors), k=1), np.array(self.names, dtype=object)
        numbers: dict[str, NDArray[Any]] = {"n_tasks": self.n_tasks()}
        for measure in ("spearman", "spearman_size", "jaccard"):
            numbers |= {measure: self.mean(measure), f"{measure}_spread": self.spread(measure)}
        numbers |= {"chance": self.mean("chance"), "beyond": self.beyond()}
        columns = {name: values[pairs] for name, values in numbers.items()}
        return pd.DataFrame({"selector": names[pairs[0]], "other": names[pairs[1]], **columns})

    def tasks_frame(self) -> "pd.DataFrame":
        """One row per task and pair: task, selector, other, and every measure."""
        first, second = np.triu_indices(len(self.selectors), k=1)
        names, n = np.array(self.names, dtype=object), len(self.tasks)
        columns = {
            "task": np.repeat(np.array(self.tasks, dtype=object), len(first)),
            "selector": np.tile(names[first], n),
            "other": np.tile(names[second], n),
        }
        return pd.DataFrame(columns | {name: getattr(self, name)[:, first, second].ravel() for name in MEASURES})

    def selectors_frame(self) -> "pd.DataFrame":
        """One row per selector: selector, meaning, signed, same_for_all, tied, n_forwards, n_labelled."""
        return pd.DataFrame([facts.model_dump() for facts in self.selectors])

    def _values(self, measure: str) -> Float64:
        if measure not in MEASURES:
            raise unknown_name("measure", measure, MEASURES)
        return np.asarray(getattr(self, measure), dtype=np.float64)


def over_tasks(statistic: Callable[..., Any], values: Float64) -> Float64:
    """Apply a statistic along the first axis to what is not NaN; NaN where nothing is left."""
    return np.asarray(np.ma.filled(statistic(np.ma.masked_invalid(values), axis=0), np.nan), dtype=np.float64)


def compare_selectors(scores: Mapping[str, ScoresByTask], k: int | None = None) -> SelectorAgreement:
    """Compare every two selectors on every task that all of them scored, and with chance.

    Good heads gather in some layers, so selectors that merely prefer the same layers share heads by chance. Chance is
    therefore two random sets that have as many heads in every layer as the selectors' own; both its p-value and the
    Jaccard index to expect of it are exact.

    Args:
        scores: Scores by selector and task, as `score_heads` or `Run.scores` hold them.
        k: Heads in a selector's set; a tenth of all heads, and at least one, when None.

    Raises:
        InputError: There are fewer than two selectors, no task was scored by all of them, or `k` is not a number of
            heads.
        MismatchError: Scores stand over different grids.

    Reference: see `head_overlap`.
    """
    tasks, left_out, grid = _common(scores)
    overlaps = [
        head_overlap({name: by_task[task] for name, by_task in scores.items()}, threshold=None, k=k) for task in tasks
    ]
    k, n = overlaps[0].k, len(scores)
    facts = tuple(_facts(name, [by_task[task] for task in tasks], k) for name, by_task in scores.items())
    p_value = np.stack([overlap.p_value for overlap in overlaps]).astype(np.float64)
    is_same = np.array([selector.same_for_all for selector in facts])
    repeated = is_same[:, None] & is_same[None, :]
    tested = np.broadcast_to(np.triu(np.ones((n, n), dtype=bool), k=1), (len(tasks), n, n)).copy()
    tested[1:, repeated] = False  # what repeats from task to task is one test
    jaccard_top = np.stack([overlap.jaccard_top for overlap in overlaps])
    compared = np.isfinite(jaccard_top)  # a flat selector has no top: neither overlap nor chance, nor a test
    tested &= compared
    q_value = control_false_discoveries(p_value, tested)
    q_value[:, repeated] = q_value[0, repeated]
    tops = (np.stack([overlap.heads_of(name).mask() for name in overlap.names]) for overlap in overlaps)
    chances = [shared_by_chance(grid.heads_per_layer, sets) for sets in tops]
    n_tests = int(tested.sum())
    chance = [
        symmetric({pair: expected_jaccard(c, k, k) for pair, c in each.items()}, n, diagonal=1) for each in chances
    ]
    return SelectorAgreement(
        grid=grid,
        selectors=facts,
        tasks=tuple(tasks),
        left_out=tuple(left_out),
        k=k,
        spearman=[overlap.spearman for overlap in overlaps],
        spearman_size=[rank_correlation(np.abs(overlap.scores[:, grid.mask])) for overlap in overlaps],
        jaccard=jaccard_top,
        chance=np.where(compared, chance, np.nan),
        p_value=p_value,
        q_value=np.minimum(q_value, q_value.transpose(0, 2, 1)),
        findable=[
            symmetric({pair: fewest_findable(c, n_tests, k, k) for pair, c in each.items()}, n) for each in chances
        ],
    )


def _common(scores: Mapping[str, ScoresByTask]) -> tuple[list[str], list[str], HeadGrid]:
    """Return the tasks that all selectors scored, those that some did not, and the grid of all scores."""
    if len(scores) < 2:
        raise InputError(f"a comparison needs two selectors or more, got {', '.join(scores) or 'none'}")
    scored = list(dict.fromkeys(task for by_task in scores.values() for task in by_task))
    tasks = [task for task in scored if all(task in by_task for by_task in scores.values())]
    if not tasks:
        n_tasks = ", ".join(f"{name} {len(by_task)}" for name, by_task in scores.items())
        raise InputError(f"no task was scored by every selector (tasks: {n_tasks}); leave out those that lack it")
    grids = {f"{name} on {task}": by_task[task].grid for name, by_task in scores.items() for task in tasks}
    return tasks, [task for task in scored if task not in tasks], common_grid(grids)


def _facts(name: str, scores: list[HeadScores], k: int) -> SelectorFacts:
    values = np.stack([each.values[each.grid.mask] for each in scores])
    falling = -np.sort(-values, axis=1)
    tied = falling[:, k - 1] == falling[:, k] if k < falling.shape[1] else np.zeros(len(scores))
    return SelectorFacts(
        selector=name,
        meaning=scores[0].meaning,
        signed=bool((values < 0).any()),
        same_for_all=len(scores) > 1 and bool((values == values[0]).all()),
        tied=float(np.mean(tied)),
        n_forwards=_mean([each.n_forwards for each in scores]),
        n_labelled=_mean([each.n_labelled for each in scores]),
    )


def _mean(counts: list[int | None]) -> float | None:
    known = [count for count in counts if count is not None]
    return float(np.mean(known)) if len(known) == len(counts) else None
