"""What each choice in SITE is worth: one changed at a time, every variant on the same test queries."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import model_validator

from site_lens.models.identity import ModelIdentity
from site_lens.records.base import Axes, Float32, Frozen, Record
from site_lens.records.errors import InputError, unknown_name
from site_lens.site.fit import SiteConfig
from site_lens.stats.intervals import Interval, mean_interval, wilson
from site_lens.stats.paired_tests import FEWEST, Paired, Verdict, control_false_discoveries, verdict
from site_lens.tasks.prompt_template import PromptTemplate

if TYPE_CHECKING:
    import pandas as pd

Factor = Literal["default", "no injection", "mix", "rounding", "alpha_per", "init", "lr", "position", "generated"]
"""What a variant changes. `position`: the prompt tokens that are edited; `generated`: the generated ones."""

VERDICTS: dict[Verdict, str] = {
    "above": "More queries right than under what it is compared with, beyond chance.",
    "below": "Fewer queries right than under what it is compared with, beyond chance.",
    "not found": "No difference found; the interval says how large one could be.",
    "too few": f"Fewer than {FEWEST['queries']} queries of all tasks together.",
}
"""What each verdict says. It speaks of these tasks and fits: a single task may make it (see `n_tasks_differing`), and
the same settings with another seed make other fits."""

Answered = Annotated[Float32, Axes(("variant", "task", "query"))]
Alphas = Annotated[Float32, Axes(("variant", "task", "layer", "head"))]
Queries = Annotated[Float32, Axes(("task", "query"))]


class Variant(Frozen):
    """One way to fit or to use SITE."""

    name: str
    factor: Factor
    against: str | None
    """The variant that it is compared with, which differs in this factor alone; None where it is with none."""
    metric: Literal["first_token", "exact"] = "first_token"
    """What counts as right: the first answer token, or the whole generated answer."""


class FitAblation(Record):
    """Answers of every variant of SITE to the same test queries."""

    kind: ClassVar[str] = "fit_ablation"

    tasks: tuple[str, ...]
    variants: tuple[Variant, ...]
    right: Annotated[Float32, Axes(("variant", "task", "query"), 0, 1)]
    """(variant task query): 1 where right by the variant's metric; 0 also where nothing was asked."""
    asked: Annotated[Float32, Axes(("task", "query"), 0, 1)]
    """(task query): 1 where there is a query."""
    alphas: Annotated[Float32, Axes(("variant", "task", "layer", "head"), 0, 1)]
    """(variant task layer head): gates, as they were used."""
    config: SiteConfig
    """Settings of the default."""
    template: PromptTemplate
    model: ModelIdentity
    versions: dict[str, str]
    notes: tuple[str, ...] = ()
    """Fits that diverged or became nonfinite."""

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        names, shape = [one.name for one in self.variants], (len(self.variants), *self.asked.shape)
        if self.right.shape != shape or self.alphas.shape != (*shape[:2], *self.model.grid.shape):
            raise ValueError(f"answers {self.right.shape} and gates {self.alphas.shape} do not fit {shape}")
        if len(set(names)) < len(names) or not {one.against for one in self.variants} <= {None, *names}:
            raise ValueError(f"needs each variant once, and what it is compared with among them, got {names}")
        if len(self.tasks) != len(self.asked) or not (self.asked.sum(1) >= 1).all():
            raise ValueError(f"needs at least one query for each of {self.tasks}")
        return self

    def of(self, name: str) -> Variant:
        """Return a variant by its name."""
        return self.variants[self._place(name)]

    def _place(self, name: str) -> int:
        names = [one.name for one in self.variants]
        if name not in names:
            raise unknown_name("variant", name, names)
        return names.index(name)

    @property
    def n_queries(self) -> int:
        """Queries of all tasks together."""
        return int(self.asked.sum())

    @property
    def compared(self) -> tuple[Variant, ...]:
        """The variants that are compared with another one."""
        return tuple(one for one in self.variants if one.against is not None)

    def accuracy(self, name: str, task: str) -> Interval:
        """Share of right answers with Wilson's 95% interval."""
        row = self._rows(name, self._task(task))
        return wilson(int(row.sum()), len(row))

    def mean(self, name: str) -> Interval:
        """Mean accuracy over tasks, each counting once, with a 95% t interval over tasks; of one task, Wilson's."""
        each = [self.accuracy(name, task) for task in self.tasks]
        return each[0] if len(each) == 1 else mean_interval([one.value for one in each], bounds=(0, 1))

    def difference(self, name: str, task: str | None = None) -> Interval:
        """Accuracy less that of what it is compared with, on the same queries, with the paired 95% interval.

        Over all tasks each of them counts once, however many queries it has; the interval speaks of other queries of
        these tasks, under these fits.

        Raises:
            InputError: The variant is compared with none.
        """
        return self.compare(name, task).estimate

    def compare(self, name: str, task: str | None = None) -> Paired:
        """Pair a variant with what it is compared with, query by query; see `difference`.

        Raises:
            InputError: The variant is compared with none.
        """
        chosen = range(len(self.tasks)) if task is None else [self._task(task)]
        against = self.of(name).against
        if against is None:
            raise InputError(f"{name} is compared with none; ask for its accuracy")
        own, other = (np.concatenate([self._rows(one, j) for j in chosen]) for one in (name, against))
        n_each = self.asked.sum(1)[list(chosen)].astype(int)
        weights = np.repeat(n_each.sum() / (len(n_each) * n_each), n_each)
        return Paired.of(own * weights, other * weights, over="queries")

    def n_tasks_differing(self, name: str) -> tuple[int, int]:
        """Count the tasks in which a variant is better, and those in which it is worse, by however little."""
        each = [self.difference(name, task).value for task in self.tasks]
        return sum(value > 0 for value in each), sum(value < 0 for value in each)

    def q_values(self) -> dict[str, float]:
        """Chance of so large a difference, by variant that is compared, with the false discovery rate controlled.

        Sign-flip tests over the queries of all tasks (McNemar's exact test where the tasks have equally many),
        controlled over all variants (Benjamini and Hochberg).
        """
        q_value = control_false_discoveries([self.compare(one.name).p_value for one in self.compared])
        return {one.name: float(q) for one, q in zip(self.compared, q_value, strict=True)}

    def verdicts(self) -> dict[str, Verdict]:
        """Say of every variant that is compared whether it is better or worse; see `VERDICTS`."""
        return {name: verdict(self.difference(name), q, "queries") for name, q in self.q_values().items()}

    def share_open(self, name: str) -> float:
        """Share of the heads with alpha above 0.5, mean over tasks."""
        return float((self._inside(name) > 0.5).mean())

    def undecided(self, name: str) -> float:
        """Share of the heads with 0.1 < alpha < 0.9, mean over tasks."""
        inside = self._inside(name)
        return float(((inside > 0.1) & (inside < 0.9)).mean())

    def _inside(self, name: str) -> Float32:
        found: Float32 = self.alphas[self._place(name)][:, self.model.grid.mask]
        return found

    def _task(self, task: str) -> int:
        if task not in self.tasks:
            raise unknown_name("task", task, self.tasks)
        return self.tasks.index(task)

    def _rows(self, name: str, task_index: int) -> Float32:
        found: Float32 = self.right[self._place(name), task_index][self.asked[task_index] == 1]
        return found

    def frame(self) -> "pd.DataFrame":
        """One row per variant and task: accuracy, difference to what it is compared with, their intervals, queries."""
        import pandas as pd

        rows = []
        for one in self.variants:
            for task in self.tasks:
                accuracy = self.accuracy(one.name, task)
                difference = self.difference(one.name, task) if one.against else None
                rows.append(
                    {"variant": one.name, "factor": one.factor, "task": task, "metric": one.metric,
                     "accuracy": accuracy.value, "low": accuracy.low, "high": accuracy.high, "against": one.against,
                     **_ends(difference), "n": accuracy.n}
                )  # fmt: skip
        return pd.DataFrame(rows)

    def means_frame(self) -> "pd.DataFrame":
        """One row per variant over all tasks: mean accuracy, difference, q-value, verdict, and how gates look."""
        import pandas as pd

        q_values, verdicts = self.q_values(), self.verdicts()
        rows = []
        for one in self.variants:
            mean = self.mean(one.name)
            n_above, n_below = self.n_tasks_differing(one.name) if one.against else (None, None)
            rows.append(
                {"variant": one.name, "factor": one.factor, "metric": one.metric, "accuracy": mean.value,
                 "low": mean.low, "high": mean.high, "against": one.against,
                 **_ends(self.difference(one.name) if one.against else None), 
                 "n_above": n_above, "n_below": n_below, "q_value": q_values.get(one.name),
                 "verdict": verdicts.get(one.name), "share_open": self.share_open(one.name),
                 "undecided": self.undecided(one.name), "n_queries": self.n_queries, "n_tasks": len(self.tasks)}
            )  # fmt: skip
        return pd.DataFrame(rows)


def _ends(found: Interval | None) -> dict[str, float | None]:
    names = ("difference", "difference_low", "difference_high")
    return (
        dict.fromkeys(names) if found is None else dict(zip(names, (found.value, found.low, found.high), strict=True))
    )
