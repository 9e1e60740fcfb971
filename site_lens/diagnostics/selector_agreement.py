"""Ways to score heads compared with each other: whether they find the same heads, and more so than chance."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from site_lens.diagnostics.head_overlap import fewest_findable, head_overlap, shared_by_chance
from site_lens.diagnostics.overlap import Overlap
from site_lens.heads.head_set import HeadGrid
from site_lens.heads.scores import HeadScores, ScoresByTask
from site_lens.records.base import Axes, Float32, Frozen, Record
from site_lens.records.errors import InputError, MismatchError, unknown_name
from site_lens.stats.paired_tests import SIGNIFICANT, control_false_discoveries
from site_lens.stats.similarity import rank_correlation

if TYPE_CHECKING:
    import pandas as pd

TaskPairs = Annotated[Float32, Axes(("task", "selector", "other"))]
"""(task selector other): one number a pair and task, symmetric in the pair."""

MEASURES = ("spearman", "spearman_size", "jaccard", "chance", "p_value", "q_value")
"""Every number that is kept of a pair on a task."""


class SelectorFacts(Frozen):
    """What the scores of one selector are."""

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

    grid: HeadGrid
    selectors: tuple[SelectorFacts, ...]
    tasks: tuple[str, ...]
    """The tasks that every selector scored; the comparison stands on these and no others."""
    left_out: tuple[str, ...]
    """Tasks that some selector did not score."""
    k: int = Field(ge=1)
    """Heads in a selector's set: those of its k highest scores, signs kept; equal ones in order of layer, then head."""
    spearman: Annotated[Float32, Axes(("task", "selector", "other"), -1, 1)]
    """Rank correlation of the scores over all heads, signs kept; 0 where one is constant."""
    spearman_size: Annotated[Float32, Axes(("task", "selector", "other"), -1, 1)]
    """The same of their absolute values: the number to read where only one of the two has signs."""
    jaccard: Annotated[Float32, Axes(("task", "selector", "other"), 0, 1)]
    """Heads in both top-k sets over heads in either."""
    chance: Annotated[Float32, Axes(("task", "selector", "other"), 0, 1)]
    """The Jaccard index to expect of two random sets with as many heads in every layer as the two have (exact)."""
    p_value: Annotated[Float32, Axes(("task", "selector", "other"), 0, 1)]
    """Chance that two such random sets share as many heads or more (exact); 1 on the diagonal."""
    q_value: Annotated[Float32, Axes(("task", "selector", "other"), 0, 1)]
    """The same with the false discovery rate controlled over all pairs and tasks. A pair of selectors that both are
    the same for all tasks counts once."""
    findable: TaskPairs | None = None
    """Fewest shared heads that would have been found, alone among all pairs and tasks, at q < 0.05; where that is more
    than k, no overlap could be found. None in files of version 0.1.0."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        n = len(self.selectors)
        if n < 2 or len(set(self.names)) < n or not self.tasks:
            raise ValueError(f"needs two or more selectors, each once, and a task, got {self.names} on {self.tasks}")
        for name in (*MEASURES, "findable"):
            if getattr(self, name) is not None and getattr(self, name).shape != (len(self.tasks), n, n):
                raise ValueError(
                    f"{name} of shape {getattr(self, name).shape} does not fit {len(self.tasks)} tasks, {n} selectors"
                )
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the selectors."""
        return tuple(one.selector for one in self.selectors)

    def of(self, selector: str) -> SelectorFacts:
        """Return what the scores of a selector are."""
        if selector not in self.names:
            raise unknown_name("selector", selector, self.names)
        return self.selectors[self.names.index(selector)]

    def mean(self, measure: str) -> NDArray[np.float64]:
        """Mean of a measure over tasks, (selector other)."""
        found: NDArray[np.float64] = self._values(measure).mean(axis=0)
        return found

    def spread(self, measure: str) -> NDArray[np.float64]:
        """Sample standard deviation of a measure over tasks, (selector other); 0 of one task."""
        values = self._values(measure)
        if len(values) == 1:
            return np.zeros(values.shape[1:])
        found: NDArray[np.float64] = values.std(axis=0, ddof=1)
        return found

    def beyond(self) -> NDArray[np.float64]:
        """Share of the tasks in which two selectors share more heads than chance, q < 0.05, (selector other)."""
        found: NDArray[np.float64] = (self.q_value < SIGNIFICANT).mean(axis=0)
        return found

    def testable(self) -> NDArray[np.float64] | None:
        """Share of the tasks in which some overlap could have been found, (selector other); None where not known."""
        return None if self.findable is None else (self.findable <= self.k).mean(axis=0)

    def n_tasks(self) -> NDArray[np.int64]:
        """Tasks behind each pair, (selector other): 1 where both selectors are the same for all tasks."""
        same = np.array([one.same_for_all for one in self.selectors])
        return np.where(same[:, None] & same, 1, len(self.tasks))

    def frame(self) -> "pd.DataFrame":
        """One row per pair: selector, other, n_tasks, mean and spread of every agreement, chance, share beyond it."""
        import pandas as pd

        first, second = np.triu_indices(len(self.selectors), k=1)
        names = np.array(self.names, dtype=object)
        numbers = {}
        for measure in ("spearman", "spearman_size", "jaccard"):
            numbers[measure] = self.mean(measure)[first, second]
            numbers[f"{measure}_spread"] = self.spread(measure)[first, second]
        numbers["chance"] = self.mean("chance")[first, second]
        numbers["beyond"] = self.beyond()[first, second]
        n_tasks = self.n_tasks()[first, second]
        return pd.DataFrame({"selector": names[first], "other": names[second], "n_tasks": n_tasks, **numbers})

    def tasks_frame(self) -> "pd.DataFrame":
        """One row per task and pair: task, selector, other, and every measure."""
        import pandas as pd

        first, second = np.triu_indices(len(self.selectors), k=1)
        names, n = np.array(self.names, dtype=object), len(self.tasks)
        return pd.DataFrame(
            {
                "task": np.repeat(np.array(self.tasks, dtype=object), len(first)),
                "selector": np.tile(names[first], n),
                "other": np.tile(names[second], n),
                **{measure: getattr(self, measure)[:, first, second].ravel() for measure in MEASURES},
            }
        )

    def selectors_frame(self) -> "pd.DataFrame":
        """One row per selector: selector, meaning, signed, same_for_all, tied, n_forwards, n_labelled."""
        import pandas as pd

        return pd.DataFrame([one.model_dump() for one in self.selectors])

    def _values(self, measure: str) -> NDArray[np.float64]:
        if measure not in MEASURES:
            raise unknown_name("measure", measure, MEASURES)
        values: NDArray[np.float64] = getattr(self, measure).astype(np.float64)
        return values


Float64 = NDArray[np.float64]


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
    overlaps = [_on(task, scores, k) for task in tasks]
    facts = tuple(_facts(name, [own[task] for task in tasks], overlaps[0].k) for name, own in scores.items())
    p_value = np.stack([one.p_value for one in overlaps]).astype(np.float64)
    same_for_all = np.array([one.same_for_all for one in facts])
    return SelectorAgreement(
        grid=grid,
        selectors=facts,
        tasks=tuple(tasks),
        left_out=tuple(left_out),
        k=overlaps[0].k,
        spearman=[one.spearman for one in overlaps],
        spearman_size=[rank_correlation(np.abs(one.scores[:, grid.mask])) for one in overlaps],
        jaccard=[one.jaccard_top for one in overlaps],
        chance=[_chance(one) for one in overlaps],
        p_value=p_value,
        q_value=_controlled(p_value, same_for_all),
        findable=_findable(overlaps, int(_distinct(len(tasks), same_for_all).sum())),
    )


def _on(task: str, scores: Mapping[str, ScoresByTask], k: int | None) -> Overlap:
    return head_overlap({name: own[task] for name, own in scores.items()}, threshold=None, k=k)


def _common(scores: Mapping[str, ScoresByTask]) -> tuple[list[str], list[str], HeadGrid]:
    """Return the tasks that all selectors scored, those that some did not, and the grid of all scores."""
    if len(scores) < 2:
        raise InputError(f"a comparison needs two selectors or more, got {', '.join(scores) or 'none'}")
    every = list(dict.fromkeys(task for own in scores.values() for task in own))
    tasks = [task for task in every if all(task in own for own in scores.values())]
    if not tasks:
        n_tasks = ", ".join(f"{name} {len(own)}" for name, own in scores.items())
        raise InputError(f"no task was scored by every selector (tasks: {n_tasks}); leave out those that lack it")
    (first, grid), *others = [(f"{name} on {task}", own[task].grid) for name, own in scores.items() for task in tasks]
    for name, other in others:
        if other != grid:
            raise MismatchError(f"{first} has {grid}, {name} has {other}; compare scores of one model only")
    return tasks, [task for task in every if task not in tasks], grid


def _facts(name: str, scores: list[HeadScores], k: int) -> SelectorFacts:
    values = np.stack([one.values[one.grid.mask] for one in scores])
    falling = -np.sort(-values, axis=1)
    tied = falling[:, k - 1] == falling[:, k] if k < falling.shape[1] else np.zeros(len(scores))
    return SelectorFacts(
        selector=name,
        meaning=scores[0].meaning,
        signed=bool((values < 0).any()),
        same_for_all=len(scores) > 1 and bool((values == values[0]).all()),
        tied=float(np.mean(tied)),
        n_forwards=_mean([one.n_forwards for one in scores]),
        n_labelled=_mean([one.n_labelled for one in scores]),
    )


def _mean(counts: list[int | None]) -> float | None:
    known = [count for count in counts if count is not None]
    return float(np.mean(known)) if len(known) == len(counts) else None


def _chance(overlap: Overlap) -> Float64:
    """Return the Jaccard index to expect of layer-matched random sets, (selector other); 1 on the diagonal."""
    in_layer = [tuple(overlap.heads_of(name).mask().sum(axis=1).tolist()) for name in overlap.names]
    expected = np.eye(len(in_layer))
    for i, j in zip(*np.triu_indices(len(in_layer), k=1), strict=True):
        expected[i, j] = expected[j, i] = _expected(overlap.grid.heads_per_layer, in_layer[i], in_layer[j])
    return expected


def _expected(heads: tuple[int, ...], first: tuple[int, ...], second: tuple[int, ...]) -> float:
    """Expect a Jaccard index of layer-matched random sets."""
    chances = shared_by_chance(heads, first, second)
    shared = np.arange(len(chances))
    return float(chances @ (shared / (sum(first) + sum(second) - shared)))


def _findable(overlaps: list[Overlap], n_tests: int) -> Float64:
    """(task selector other): fewest shared heads that would have been found, alone among all tests."""
    found = np.zeros((len(overlaps), len(overlaps[0].names), len(overlaps[0].names)))
    for of, overlap in zip(found, overlaps, strict=True):
        in_layer = [tuple(overlap.heads_of(name).mask().sum(axis=1).tolist()) for name in overlap.names]
        for i, j in zip(*np.triu_indices(len(in_layer), k=1), strict=True):
            chances = shared_by_chance(overlap.grid.heads_per_layer, in_layer[i], in_layer[j])
            of[i, j] = of[j, i] = fewest_findable(chances, n_tests, sum(in_layer[i]), sum(in_layer[j]))
    return found


def _distinct(n_tasks: int, same_for_all: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(task selector other): which pairs are tests of their own; what repeats from task to task counts once."""
    n = len(same_for_all)
    distinct = np.broadcast_to(np.triu(np.ones((n, n), dtype=bool), k=1), (n_tasks, n, n)).copy()
    distinct[1:, same_for_all[:, None] & same_for_all[None, :]] = False
    return distinct


def _controlled(p_value: Float64, same_for_all: NDArray[np.bool_]) -> Float64:
    """Control the false discovery rate over tasks and pairs, (task selector other)."""
    distinct = _distinct(len(p_value), same_for_all)
    q_value = control_false_discoveries(p_value, distinct)
    repeated = same_for_all[:, None] & same_for_all[None, :]
    q_value[:, repeated] = q_value[0, repeated]
    return np.minimum(q_value, q_value.transpose(0, 2, 1))
