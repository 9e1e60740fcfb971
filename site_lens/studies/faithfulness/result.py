"""What the first k heads of an ordering do alone, and what is lost without them, query by query."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from site_lens.heads.head_set import Head, HeadGrid, HeadSet
from site_lens.models.identity import ModelIdentity
from site_lens.records.base import Axes, Count, Float32, Lengths, Record
from site_lens.records.errors import InputError, unknown_name
from site_lens.stats.intervals import Interval, mean_interval, paired_difference, wilson

if TYPE_CHECKING:
    import pandas as pd

Direction = Literal["sufficiency", "necessity", "interchange"]
DIRECTIONS: tuple[Direction, ...] = ("sufficiency", "necessity", "interchange")
"""`sufficiency`: the first k heads alone carry the task embedding into zero-shot queries, alpha 1. `necessity`: the
first k heads are ablated to one mean in few-shot prompts; see `selectors.knock_out.mean_ablation`. `interchange`: the
first k heads of few-shot prompts say what they say of the same query behind the same demonstrations with their labels
shuffled."""

REFERENCES = ("zero_shot", "few_shot", "own")
"""Prompting without and with demonstrations, and the fit with its soft alphas."""

SITE, REVERSED, RANDOM, LAYER_MATCHED = "site", "site_reversed", "random", "random_layer_matched"
OWN_ORDERINGS = (SITE, REVERSED, RANDOM, LAYER_MATCHED)
"""Orderings that are always there: high alphas first, low alphas first, at random, and at random with as many heads in
every layer as SITE's first k have. The last two are drawn several times."""

Metric = Literal["accuracy", "log_prob"]

KEPT = 0.95
"""Share of the effect that the smallest sufficient set keeps, and that losing the smallest necessary set takes."""

FEWEST_GAINED = 20
"""Queries by which the effect must be more than none for a smallest set to be named: 5% of it is then one query."""

Ranks = Annotated[Float32, Axes(("ordering", "task", "layer", "head"))]
Curves = Annotated[Float32, Axes(("direction", "ordering", "task", "k"))]
Answers = Annotated[Float32, Axes(("direction", "ordering", "task", "k", "query"))]


@dataclass(frozen=True, slots=True)
class SmallestSet:
    """How many heads it takes."""

    k: int | None = Field(ge=0)
    """Heads of the first measured set that reaches the threshold; None where there is no verdict."""
    reason: str = ""
    """Why there is none."""


class Faithfulness(Record):
    """Curves over the number of heads, from none to all, for several orderings of the heads and both directions."""

    kind: ClassVar[str] = "faithfulness"
    schema_version: ClassVar[int] = 2
    lengths: ClassVar[Lengths] = {"orderings": "ordering"}

    grid: HeadGrid
    tasks: tuple[str, ...]
    orderings: tuple[str, ...]
    """Name of every ordering; one that was drawn several times stands here as often."""
    ranks: Ranks
    """(ordering task layer head): place of every head, 1 = first; 0 where the grid has no head."""
    ks: tuple[Count, ...]
    """Numbers of heads measured, rising from 0 to all."""
    right: Annotated[Float32, Axes(("direction", "ordering", "task", "k", "query"), 0, 1)]
    """(direction ordering task k query): 1 where the first token was right; 0 also where nothing was asked."""
    log_prob: Annotated[Float32, Axes(("direction", "ordering", "task", "k"), most=0)]
    """(direction ordering task k): mean log-probability of the target's first token, in nats."""
    references: Annotated[Float32, Axes(("reference", "task", "query"), 0, 1)]
    """(reference task query): 1 where right; see `REFERENCES`."""
    reference_log_prob: Annotated[Float32, Axes(("reference", "task"), most=0)]
    """(reference task): mean log-probability of the target's first token, in nats."""
    asked: Annotated[Float32, Axes(("task", "query"), 0, 1)]
    """(task query): 1 where there is a query."""
    n_shots: Count
    seed: Count
    fit_digests: tuple[str, ...]
    model: ModelIdentity
    versions: dict[str, str]
    notes: tuple[str, ...] = ()
    """What a reader should know of the fits: made on other rows, other weights, and the like."""

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        n, n_queries = len(self.tasks), self.asked.shape[1]
        curves = (len(DIRECTIONS), len(self.orderings), n, len(self.ks))
        wanted = {
            "ranks": (len(self.orderings), n, *self.grid.shape),
            "right": (*curves, n_queries),
            "log_prob": curves,
            "references": (len(REFERENCES), n, n_queries),
            "reference_log_prob": (len(REFERENCES), n),
            "asked": (n, n_queries),
        }
        wrong = {name: getattr(self, name).shape for name in wanted if getattr(self, name).shape != wanted[name]}
        if wrong or len(set(self.tasks)) < n or len(self.fit_digests) != n:
            raise ValueError(f"{n} tasks, {self.tasks}, do not fit arrays of shape {wrong or 'right'}, or repeat")
        if self.ks[0] != 0 or self.ks[-1] != len(self.grid) or sorted(set(self.ks)) != list(self.ks):
            raise ValueError(f"needs numbers of heads that rise from 0 to {len(self.grid)}, got {self.ks}")
        if not (self.asked.sum(1) >= 1).all():
            raise ValueError("needs a query a task at least")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Every ordering once."""
        return tuple(dict.fromkeys(self.orderings))

    @property
    def n_queries(self) -> Float32:
        """(task): queries behind every number of a task."""
        found: Float32 = self.asked.sum(1)
        return found

    def heads(self, ordering: str, task: str, k: int) -> HeadSet:
        """Return the first k heads of an ordering; of its first draw."""
        ranks = self.ranks[self._rows(ordering)[0], self._places(task)[0]]
        return HeadSet(self.grid, frozenset(Head(int(i), int(j)) for i, j in np.argwhere((ranks > 0) & (ranks <= k))))

    def draws(
        self, direction: Direction, ordering: str, task: str | None = None, metric: Metric = "accuracy"
    ) -> Float32:
        """(draw k): the curve of every draw of an ordering, of one task or as the mean over tasks."""
        found: Float32 = self._curves(direction, ordering, metric)[:, self._places(task)].mean(1)
        return found

    def curve(
        self, direction: Direction, ordering: str, task: str | None = None, metric: Metric = "accuracy"
    ) -> Float32:
        """(k): the mean of an ordering's curve over its draws."""
        found: Float32 = self.draws(direction, ordering, task, metric).mean(0)
        return found

    def reference(self, name: str, task: str | None = None, metric: Metric = "accuracy") -> float:
        """Return what a task is judged by, see `REFERENCES`, or its mean over tasks."""
        place, tasks = _place(name, REFERENCES), self._places(task)
        if metric == "log_prob":
            return float(self.reference_log_prob[place, tasks].mean())
        return float((self.references[place].sum(-1) / self.n_queries)[tasks].mean())

    def accuracy(self, direction: Direction, ordering: str, k: int, task: str) -> Interval:
        """Accuracy with the first k heads and its 95% interval: Wilson's, or over queries where there are draws."""
        if k not in self.ks:
            raise InputError(f"{k} heads were not measured; there are {', '.join(map(str, self.ks))}")
        j = self._places(task)[0]
        row = self._answers(direction, ordering)[:, j, self.ks.index(k), self.asked[j] == 1]
        return wilson(int(row.sum()), row.shape[1]) if len(row) == 1 else paired_difference(row.mean(0))

    def areas(self, direction: Direction, ordering: str, metric: Metric = "accuracy") -> Float32:
        """(draw task): area under every curve, by trapezoids over log(1 + k), which runs from 0 to 1.

        On this axis the first heads count most, as they should: the question is how few do. An area of accuracies is
        their mean over it, in [0, 1]; large is good for sufficiency, small for necessity.
        """
        return (self._curves(direction, ordering, metric) @ self._weights()).astype(np.float32)

    def area(self, direction: Direction, ordering: str, task: str | None = None) -> Interval:
        """Area under the accuracy curve, mean over draws, with its 95% interval over queries, or over tasks."""
        return self._estimate(self._area_by_query(direction, ordering), task)

    def area_difference(self, direction: Direction, ordering: str, over: str, task: str | None = None) -> Interval:
        """Area of an ordering less that of another on the same queries, with intervals as in `area`."""
        values = self._area_by_query(direction, ordering) - self._area_by_query(direction, over)
        return self._estimate(values, task)

    def smallest(self, direction: Direction, ordering: str, task: str | None = None) -> SmallestSet:
        """Find the smallest measured set that keeps 95% of the effect alone, or whose loss takes 95% of it.

        The effect is own fit less zero-shot for sufficiency, few-shot less zero-shot for the other two; of all tasks,
        that of the mean curve. The first set to reach the threshold counts, whatever larger ones do. There is no
        verdict where the effect is less than 20 queries right.
        """
        whole = "own" if direction == "sufficiency" else "few_shot"
        zero, full = self.reference("zero_shot", task), self.reference(whole, task)
        gained = self.references[REFERENCES.index(whole)] - self.references[REFERENCES.index("zero_shot")]
        n_gained = int(gained[self._places(task)].sum())
        if n_gained < FEWEST_GAINED:
            return SmallestSet(None, f"too few queries: the effect is {n_gained} of them, needs {FEWEST_GAINED}")
        curve = self.curve(direction, ordering, task).astype(np.float64)
        share = (curve - zero) / (full - zero) if direction == "sufficiency" else (full - curve) / (full - zero)
        reached = np.nonzero(share >= KEPT - 1e-6)[0]
        if not len(reached):
            return SmallestSet(None, f"never: {share.max():.0%} of the effect at most")
        return SmallestSet(self.ks[reached[0]])

    def summary(self) -> "pd.DataFrame":
        """One row per direction, ordering and task, and for all tasks (task is empty): area, smallest set, spread."""
        import pandas as pd

        rows = []
        for direction in DIRECTIONS:
            for ordering in self.names:
                areas = self.areas(direction, ordering)
                for task in (None, *self.tasks):
                    area, smallest = self.area(direction, ordering, task), self.smallest(direction, ordering, task)
                    by_draw = areas[:, self._places(task)].mean(1)
                    rows.append(
                        {"direction": direction, "ordering": ordering, "task": task, "area": area.value,
                         "low": area.low, "high": area.high, "n": area.n, "n_draws": len(by_draw),
                         "spread": float(by_draw.std(ddof=1)) if len(by_draw) > 1 else 0.0,
                         "smallest": smallest.k, "reason": smallest.reason}
                    )  # fmt: skip
        return pd.DataFrame(rows)

    def frame(self) -> "pd.DataFrame":
        """One row per direction, ordering, draw, task and k: right answers, queries, accuracy, interval, log_prob."""
        import pandas as pd

        drawn = [self.orderings[:i].count(name) for i, name in enumerate(self.orderings)]
        n_right = self.right.sum(-1)
        rows = []
        for (d, o, j, i), certain in np.ndenumerate(self.log_prob):
            found = wilson(int(n_right[d, o, j, i]), int(self.n_queries[j]))
            rows.append(
                {"direction": DIRECTIONS[d], "ordering": self.orderings[o], "draw": drawn[o], "task": self.tasks[j],
                 "k": self.ks[i], "n_right": int(n_right[d, o, j, i]), "n": found.n, "accuracy": found.value,
                 "low": found.low, "high": found.high, "log_prob": float(certain)}
            )  # fmt: skip
        return pd.DataFrame(rows)

    def _rows(self, ordering: str) -> list[int]:
        if ordering not in self.orderings:
            raise unknown_name("ordering", ordering, self.names)
        return [i for i, name in enumerate(self.orderings) if name == ordering]

    def _places(self, task: str | None) -> list[int]:
        if task is not None and task not in self.tasks:
            raise unknown_name("task", task, self.tasks)
        return list(range(len(self.tasks))) if task is None else [self.tasks.index(task)]

    def _answers(self, direction: Direction, ordering: str) -> Float32:
        """(draw task k query)."""
        found: Float32 = self.right[_place(direction, DIRECTIONS), self._rows(ordering)]
        return found

    def _curves(self, direction: Direction, ordering: str, metric: Metric) -> Float32:
        """(draw task k)."""
        if metric == "log_prob":
            certain: Float32 = self.log_prob[_place(direction, DIRECTIONS), self._rows(ordering)]
            return certain
        found: Float32 = self._answers(direction, ordering).sum(-1) / self.n_queries[:, None]
        return found

    def _weights(self) -> NDArray[np.float64]:
        """(k): what each k counts in an area: half the way to both of its neighbours; together 1."""
        along = np.log1p(self.ks) / np.log1p(len(self.grid))
        steps = np.diff(along, prepend=along[0], append=along[-1])
        weights: NDArray[np.float64] = (steps[:-1] + steps[1:]) / 2
        return weights

    def _area_by_query(self, direction: Direction, ordering: str) -> Float32:
        """(task query): what every query adds to the area; its mean over queries is the area."""
        found: Float32 = np.einsum("tkq,k->tq", self._answers(direction, ordering).mean(0), self._weights())
        return found.astype(np.float32)

    def _estimate(self, by_query: Float32, task: str | None) -> Interval:
        places = self._places(task)
        if len(places) == 1:
            return paired_difference(by_query[places[0]][self.asked[places[0]] == 1])
        return mean_interval(by_query.sum(-1) / self.n_queries)


def _place(name: str, names: tuple[str, ...]) -> int:
    if name not in names:
        raise unknown_name("name", name, names)
    return names.index(name)
