"""Faithfulness curves: what the first k heads of an ordering do alone, and what is lost without them."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Annotated, ClassVar, Literal

import numpy as np

from site_lens.heads.head_set import HeadGrid, HeadSet
from site_lens.records.base import Axes, Count, Float32, Lengths
from site_lens.records.errors import InputError
from site_lens.records.lazy_pandas import pd
from site_lens.stats.intervals import Interval, mean_interval, paired_difference, share_interval
from site_lens.studies.base import AskedStudy, accuracy_columns, index_of, interval_columns, tidy

Direction = Literal["sufficiency", "necessity", "interchange"]
DIRECTIONS: tuple[Direction, ...] = ("sufficiency", "necessity", "interchange")
"""`sufficiency`: the first k heads alone carry the task embedding into zero-shot queries, alpha 1. `necessity`: the
first k heads are ablated to one mean in few-shot prompts; see `selectors.ablation.mean_ablation`. `interchange`: the
first k heads of few-shot prompts say what they say of the same query behind the same demonstrations with their labels
shuffled."""

REFERENCES = ("zero_shot", "few_shot", "own")
"""Prompting without and with demonstrations, and the fit with its soft alphas."""

SITE, REVERSED, RANDOM, LAYER_MATCHED = "site", "site_reversed", "random", "random_layer_matched"
OWN_ORDERINGS = (SITE, REVERSED, RANDOM, LAYER_MATCHED)
"""Orderings that are always there: high alphas first, low alphas first, at random, and at random with as many heads in
every layer as SITE's first k have. The last two are drawn several times."""


def names_of_orderings(rivals: Iterable[str], n_random: int) -> tuple[str, ...]:
    """Return the name of every ordering, beside others so many draws of each random one, in the order of the record."""
    return (SITE, *rivals, REVERSED, *[RANDOM] * n_random, *[LAYER_MATCHED] * n_random)


Metric = Literal["accuracy", "log_prob"]

KEPT = 0.95
"""Share of the effect that the smallest sufficient set keeps, and that losing the smallest necessary set takes."""

FEWEST_GAINED = 20
"""Queries by which the effect must be more than none for a smallest set to be named: 5% of it is then one query."""


@dataclass(frozen=True, slots=True)
class SmallestSet:
    """Size of the smallest sufficient or necessary set."""

    k: int | None
    """Heads of the first measured set that reaches the threshold; None where there is no verdict."""
    reason: str = ""
    """Why there is none."""


@dataclass(frozen=True, slots=True)
class CircuitAreas:
    """The measures of the MIB benchmark for an ordering of the heads."""

    cpr: float | None
    """Area under the faithfulness of circuits over their share of the heads; high is good. None without a verdict."""
    cmd: float | None
    """Area between that faithfulness and 1, in either direction; low is good."""
    reason: str = ""
    """Why there is none."""


class Faithfulness(AskedStudy):
    """Curves over the number of heads, from none to all, for several orderings of the heads and both directions."""

    kind: ClassVar[str] = "faithfulness"
    schema_version: ClassVar[int] = 2
    lengths: ClassVar[Lengths] = {
        "direction": len(DIRECTIONS), "reference": len(REFERENCES), "orderings": "ordering", "ks": "k",
        "fit_digests": "task",
    }  # fmt: skip

    grid: HeadGrid
    orderings: tuple[str, ...]
    """Name of every ordering; one that was drawn several times stands here as often."""
    ranks: Annotated[Float32, Axes(("ordering", "task", "layer", "head"))]
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
    n_shots: Count
    seed: Count
    fit_digests: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Every ordering once."""
        return tuple(dict.fromkeys(self.orderings))

    def heads(self, ordering: str, task: str, k: int) -> HeadSet:
        """Return the first k heads of an ordering; of its first draw."""
        ranks = self.ranks[self._draws(ordering)[0], self.task_indices(task)[0]]
        return HeadSet.from_mask(self.grid, (ranks > 0) & (ranks <= k))

    def draws(
        self, direction: Direction, ordering: str, task: str | None = None, metric: Metric = "accuracy"
    ) -> Float32:
        """(draw k): the curve of every draw of an ordering, of one task or as the mean over tasks."""
        return self._curves(direction, ordering, metric)[:, self.task_indices(task)].mean(1)

    def curve(
        self, direction: Direction, ordering: str, task: str | None = None, metric: Metric = "accuracy"
    ) -> Float32:
        """(k): the mean of an ordering's curve over its draws."""
        return self.draws(direction, ordering, task, metric).mean(0)

    def reference(self, name: str, task: str | None = None, metric: Metric = "accuracy") -> float:
        """Return the accuracy of a task under a reference, see `REFERENCES`, or its mean over tasks."""
        place = index_of("reference", name, REFERENCES)
        by_task = self.reference_log_prob if metric == "log_prob" else self.references.sum(-1) / self.n_queries
        return float(by_task[place, self.task_indices(task)].mean())

    def accuracy(self, direction: Direction, ordering: str, k: int, task: str) -> Interval:
        """Accuracy with the first k heads and its 95% interval: Wilson's, or over queries where there are draws."""
        if k not in self.ks:
            raise InputError(f"{k} heads were not measured; there are {', '.join(map(str, self.ks))}")
        right = self._queries_of(self._right(direction, ordering)[:, :, self.ks.index(k)], task)  # (draw query)
        return share_interval(right.mean(0))

    def areas(self, direction: Direction, ordering: str, metric: Metric = "accuracy") -> Float32:
        """(draw task): area under every curve, by trapezoids over log(1 + k), which runs from 0 to 1.

        On this axis the first heads count most, as they should: the question is how few do. An area of accuracies is
        their mean over it, in [0, 1]; large is good for sufficiency, small for necessity.
        """
        return (self._curves(direction, ordering, metric) @ self._weights()).astype(np.float32)

    def area(self, direction: Direction, ordering: str, task: str | None = None) -> Interval:
        """Area under the accuracy curve, mean over draws, with its 95% interval over queries, or over tasks."""
        by_query = self._area_by_query(direction, ordering)
        if len(self.task_indices(task)) == 1:
            return share_interval(self._queries_of(by_query, task))
        return mean_interval(by_query.sum(-1) / self.n_queries, bounds=(0, 1))

    def area_difference(self, direction: Direction, ordering: str, over: str, task: str | None = None) -> Interval:
        """Area of an ordering less that of another on the same queries, with intervals as in `area`."""
        values = self._area_by_query(direction, ordering) - self._area_by_query(direction, over)
        if len(self.task_indices(task)) == 1:
            return paired_difference(self._queries_of(values, task))
        return mean_interval(values.sum(-1) / self.n_queries)

    def smallest(self, direction: Direction, ordering: str, task: str | None = None) -> SmallestSet:
        """Find the smallest measured set that keeps 95% of the effect alone, or whose loss takes 95% of it.

        The effect is own fit less zero-shot for sufficiency, few-shot less zero-shot for the other two; of all tasks,
        that of the mean curve. The first set to reach the threshold counts, whatever larger ones do. There is no
        verdict where the effect is less than 20 queries right.
        """
        whole = "own" if direction == "sufficiency" else "few_shot"
        zero, full = self.reference("zero_shot", task), self.reference(whole, task)
        if reason := self._no_effect(whole, task, "accuracy"):
            return SmallestSet(None, reason)
        curve = self.curve(direction, ordering, task).astype(np.float64)
        share = (curve - zero) / (full - zero) if direction == "sufficiency" else (full - curve) / (full - zero)
        reached = np.nonzero(share >= KEPT - 1e-6)[0]
        if not len(reached):
            return SmallestSet(None, f"never: {share.max():.0%} of the effect at most")
        return SmallestSet(self.ks[reached[0]])

    def circuit_areas(self, ordering: str, task: str | None = None, metric: Metric = "accuracy") -> CircuitAreas:
        """Compute CPR and CMD of an ordering's circuits: its first k heads alone, as in the sufficiency curve.

        The faithfulness of a circuit is (m(circuit) - m(none)) / (m(whole) - m(none)): m is the metric, `none` the
        zero-shot prompt and `whole` few-shot prompting. CPR (integrated circuit performance ratio) is the area under it
        by trapezoids over k / heads, from 0 to 1; CMD (circuit-model distance) is that between it and 1. All heads
        together may reach more than few-shot prompting, so CPR may exceed 1, or less, so CMD need not come near 0.

        Reference: Mueller et al., arXiv 2504.13151 (MIB), and its code. Theirs measures circuits of edges or nodes,
        MLPs among them, at ten sizes from 0.1% on, with what is outside replaced by its values on a counterfactual
        prompt, at every token, and m a difference of logits. Here the circuit is heads alone, whose outputs at the last
        token are the task embedding's, and what is outside is the bare query: numbers do not compare with MIB's tables.

        Args:
            ordering: Which ordering; the mean over its draws.
            task: Which task; the mean curve of all when None.
            metric: Accuracy, or mean log-probability of the answer.
        """
        none, whole = (self.reference(name, task, metric) for name in ("zero_shot", "few_shot"))
        if reason := self._no_effect("few_shot", task, metric):
            return CircuitAreas(None, None, reason)
        curve = self.curve("sufficiency", ordering, task, metric).astype(np.float64)
        faithfulness, share = (curve - none) / (whole - none), np.array(self.ks) / len(self.grid)
        return CircuitAreas(
            float(np.trapezoid(faithfulness, share)), float(np.trapezoid(np.abs(1 - faithfulness), share))
        )

    def _no_effect(self, whole: str, task: str | None, metric: Metric) -> str:
        """Say why a reference has no effect over zero-shot of which shares could be taken; "" where it has one."""
        gained = self.references[REFERENCES.index(whole)] - self.references[REFERENCES.index("zero_shot")]
        if (n_gained := int(gained[self.task_indices(task)].sum())) < FEWEST_GAINED:
            return f"too few queries: the effect is {n_gained} of them, needs {FEWEST_GAINED}"
        effect = self.reference(whole, task, metric) - self.reference("zero_shot", task, metric)
        return "" if effect > 0 else f"no effect: the mean {metric} of {whole} is {-effect:.3f} below that of zero_shot"

    def summary(self) -> "pd.DataFrame":
        """One row per direction, ordering and task, and for all tasks (task is empty): area, smallest set, spread."""
        rows = []
        for direction, ordering, task in product(DIRECTIONS, self.names, (None, *self.tasks)):
            area, smallest = self.area(direction, ordering, task), self.smallest(direction, ordering, task)
            by_draw = self.areas(direction, ordering)[:, self.task_indices(task)].mean(1)
            rows.append(
                {
                    "direction": direction,
                    "ordering": ordering,
                    "task": task,
                    **interval_columns("area", area),
                    "n": area.n,
                    "n_draws": len(by_draw),
                    "spread": float(by_draw.std(ddof=1)) if len(by_draw) > 1 else 0.0,
                    "smallest": smallest.k,
                    "reason": smallest.reason,
                }
            )
        return pd.DataFrame(rows)

    def frame(self) -> "pd.DataFrame":
        """One row per direction, ordering, draw, task and k: right answers, queries, accuracy, interval, log_prob."""
        draw = np.array([self.orderings[:i].count(name) for i, name in enumerate(self.orderings)])[:, None, None]
        n_right, n_queries = self.right.sum(-1), self.n_queries[:, None]
        axes = {"direction": DIRECTIONS, "ordering": range(len(draw)), "task": self.tasks, "k": self.ks}
        accuracies = accuracy_columns(n_right, n_queries)
        table = tidy(axes, draw=draw, n_right=n_right.astype(int), **accuracies, log_prob=self.log_prob)
        return table.assign(ordering=[self.orderings[i] for i in table["ordering"]])

    def _draws(self, ordering: str) -> list[int]:
        """Return the indices of all draws of an ordering."""
        index_of("ordering", ordering, self.names)
        return [i for i, name in enumerate(self.orderings) if name == ordering]

    def _right(self, direction: Direction, ordering: str) -> Float32:
        """(draw task k query)."""
        return self.right[index_of("direction", direction, DIRECTIONS), self._draws(ordering)]

    def _curves(self, direction: Direction, ordering: str, metric: Metric) -> Float32:
        """(draw task k)."""
        if metric == "log_prob":
            return self.log_prob[index_of("direction", direction, DIRECTIONS), self._draws(ordering)]
        return self._right(direction, ordering).sum(-1) / self.n_queries[:, None]

    def _weights(self) -> np.ndarray:
        """(k): what each k counts in an area: half the way to both of its neighbours; together 1."""
        along = np.log1p(self.ks) / np.log1p(len(self.grid))
        steps = np.diff(along, prepend=along[0], append=along[-1])
        return (steps[:-1] + steps[1:]) / 2

    def _area_by_query(self, direction: Direction, ordering: str) -> Float32:
        """(task query): what every query adds to the area; its mean over queries is the area."""
        answers = self._right(direction, ordering).mean(0)
        return np.einsum("tkq,k->tq", answers, self._weights()).astype(np.float32)
