"""How much selectors agree on which heads carry a task, task by task, and how much of it chance would give."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from site_lens.core.errors import unknown_name
from site_lens.core.heads import HeadGrid
from site_lens.core.paired_tests import SIGNIFICANT
from site_lens.core.records import Axes, Float32, Frozen, Record

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
