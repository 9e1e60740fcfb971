"""Fit ablation: each choice of a SITE fit changed alone, every variant on the same test queries."""

from typing import Annotated, Any, ClassVar, Literal

from site_lens.records.base import Axes, Float32, Frozen
from site_lens.records.display import MOST_LISTED, few
from site_lens.records.errors import InputError
from site_lens.records.lazy_pandas import pd
from site_lens.site.fit import SiteConfig
from site_lens.stats.intervals import Interval, mean_interval, share_interval
from site_lens.stats.paired_tests import FEWEST, Paired, Verdict, control_false_discoveries, verdict
from site_lens.studies.base import AskedStudy, index_of, interval_columns
from site_lens.tasks.prompt_template import PromptTemplate

Factor = Literal["default", "no injection", "mix", "rounding", "alpha_per", "init", "lr", "position", "generated"]
"""Choice that a variant changes. `position`: the prompt tokens that are edited; `generated`: the generated ones."""

VERDICTS: dict[Verdict, str] = {
    "above": "More queries right than under what it is compared with, beyond chance.",
    "below": "Fewer queries right than under what it is compared with, beyond chance.",
    "not found": "No difference found; the interval says how large one could be.",
    "too few": f"Fewer than {FEWEST['queries']} queries of all tasks together.",
}
"""Meaning of each verdict. It speaks of these tasks and fits: a single task may make it (see `n_tasks_differing`), and
the same settings with another seed make other fits."""


class Variant(Frozen):
    """One way to fit or to use SITE."""

    name: str
    factor: Factor
    against: str | None
    """The variant that it is compared with, which differs in this factor alone; None where it is with none."""
    metric: Literal["first_token", "exact"] = "first_token"
    """What counts as right: the first answer token, or the whole generated answer."""


class FitAblation(AskedStudy):
    """Answers of every variant of SITE to the same test queries."""

    kind: ClassVar[str] = "fit_ablation"

    variants: tuple[Variant, ...]
    right: Annotated[Float32, Axes(("variant", "task", "query"), 0, 1)]
    """(variant task query): 1 where right by the variant's metric; 0 also where nothing was asked."""
    alphas: Annotated[Float32, Axes(("variant", "task", "layer", "head"), 0, 1)]
    """(variant task layer head): gates, as they were used."""
    config: SiteConfig
    """Settings of the default."""
    template: PromptTemplate

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the variants."""
        return tuple(variant.name for variant in self.variants)

    @property
    def compared(self) -> tuple[Variant, ...]:
        """The variants that are compared with another one."""
        return tuple(variant for variant in self.variants if variant.against is not None)

    def _facts(self) -> dict[str, object]:
        means = {name: self.mean(name).value for name in self.names[:MOST_LISTED]}
        return {"model": self.model.name, "tasks": f"{len(self.tasks)} ({few(self.tasks)})", **means}

    def accuracy(self, name: str, task: str) -> Interval:
        """Share of right answers with Wilson's 95% interval."""
        return share_interval(self._queries_of(self._right(name), task))

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
        against = self.variants[index_of("variant", name, self.names)].against
        if against is None:
            raise InputError(f"{name} is compared with none; ask for its accuracy")
        right, other = (self._weighted_queries_of(self._right(variant), task) for variant in (name, against))
        return Paired.of(right, other, over="queries")

    def n_tasks_differing(self, name: str) -> tuple[int, int]:
        """Count the tasks in which a variant is better, and those in which it is worse, by however little."""
        each = [self.difference(name, task).value for task in self.tasks]
        return sum(value > 0 for value in each), sum(value < 0 for value in each)

    def q_values(self) -> dict[str, float]:
        """Chance of so large a difference, by variant that is compared, with the false discovery rate controlled.

        Sign-flip tests over the queries of all tasks (McNemar's exact test where the tasks have equally many),
        controlled over all variants (Benjamini and Hochberg).
        """
        names = [variant.name for variant in self.compared]
        q_values = control_false_discoveries([self.compare(name).p_value for name in names])
        return dict(zip(names, map(float, q_values), strict=True))

    def verdicts(self) -> dict[str, Verdict]:
        """Say of every variant that is compared whether it is better or worse; see `VERDICTS`."""
        return {name: verdict(self.difference(name), q, "queries") for name, q in self.q_values().items()}

    def share_open(self, name: str) -> float:
        """Share of the heads with alpha above 0.5, mean over tasks."""
        return float((self._alphas(name) > 0.5).mean())

    def undecided(self, name: str) -> float:
        """Share of the heads with 0.1 < alpha < 0.9, mean over tasks."""
        alphas = self._alphas(name)
        return float(((alphas > 0.1) & (alphas < 0.9)).mean())

    def _alphas(self, name: str) -> Float32:
        """(task head)."""
        return self.alphas[index_of("variant", name, self.names)][:, self.model.grid.mask]

    def _right(self, name: str) -> Float32:
        """(task query)."""
        return self.right[index_of("variant", name, self.names)]

    def frame(self) -> "pd.DataFrame":
        """One row per variant and task: accuracy, difference to what it is compared with, their intervals, queries."""
        return pd.DataFrame(
            self._columns(variant, task) | {"n": int(self.n_queries[j])}
            for variant in self.variants
            for j, task in enumerate(self.tasks)
        )

    def means_frame(self) -> "pd.DataFrame":
        """One row per variant over all tasks: mean accuracy, difference, q-value, verdict, and how gates look."""
        q_values, verdicts = self.q_values(), self.verdicts()
        rows = []
        for variant in self.variants:
            name = variant.name
            n_above, n_below = self.n_tasks_differing(name) if variant.against else (None, None)
            rows.append(
                self._columns(variant)
                | {
                    "n_above": n_above,
                    "n_below": n_below,
                    "q_value": q_values.get(name),
                    "verdict": verdicts.get(name),
                    "share_open": self.share_open(name),
                    "undecided": self.undecided(name),
                    "n_queries": int(self.asked.sum()),
                    "n_tasks": len(self.tasks),
                }
            )
        return pd.DataFrame(rows)

    def _columns(self, variant: Variant, task: str | None = None) -> dict[str, Any]:
        """Return the columns that both tables have: the variant, on one task or over all, and its estimates."""
        accuracy = self.mean(variant.name) if task is None else self.accuracy(variant.name, task)
        difference = self.difference(variant.name, task) if variant.against else None
        return {
            "variant": variant.name,
            **variant.model_dump(exclude={"name"}),
            **({} if task is None else {"task": task}),
            **interval_columns("accuracy", accuracy),
            **interval_columns("difference", difference, "difference_"),
        }
