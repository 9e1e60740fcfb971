"""How much a task's embedding, alphas and accuracy depend on which prompts were drawn, and how many."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from site_lens.models.identity import ModelIdentity
from site_lens.records.base import Axes, Count, Float32, Frozen, Record
from site_lens.records.errors import InputError, unknown_name
from site_lens.stats.intervals import Interval, paired_difference
from site_lens.stats.paired_tests import Paired, Verdict
from site_lens.stats.variance_components import two_way
from site_lens.tasks.prompt_template import PromptTemplate

if TYPE_CHECKING:
    import pandas as pd

Setting = Literal["n_prompts", "n_shots", "template", "label_noise"]
SETTINGS: tuple[Setting, ...] = ("n_prompts", "n_shots", "template", "label_noise")

REFERENCES = ("zero_shot", "few_shot")
"""Prompting on the same queries."""

TOLERANCE = 0.02
"""Difference in accuracy up to which two settings count as equally good."""

Answer = Literal["yes", "no", "not found", "too few"]

Runs = Annotated[Float32, Axes(("task", "condition", "draw", "query"))]
RunMaps = Annotated[Float32, Axes(("task", "condition", "draw", "layer", "head"))]
Crossed = Annotated[Float32, Axes(("task", "draw", "fit_seed", "query"))]
CrossedMaps = Annotated[Float32, Axes(("task", "draw", "fit_seed", "layer", "head"))]


class Condition(Frozen):
    """How an embedding was made."""

    n_prompts: int = Field(ge=1)
    """M."""
    n_shots: int = Field(ge=1)
    """N."""
    template: PromptTemplate
    """Of the embedding's prompts and of the queries."""
    label_noise: float = Field(ge=0, le=1)
    """Share of the train rows whose answers were permuted before demonstrations were drawn from them; a row may get an
    answer equal to its own."""

    def differing(self, other: "Condition") -> set[str]:
        """Names of the settings in which two conditions differ."""
        return {name for name in SETTINGS if getattr(self, name) != getattr(other, name)}

    def __str__(self) -> str:
        query = self.template.query_text("x")
        return f"M={self.n_prompts} N={self.n_shots} {query!r} noise={self.label_noise:g}"


class PromptCheck(Frozen):
    """One question about the runs, and its answer."""

    claim: str
    answer: Answer
    """`yes` or `no` where the exact test and the whole interval say so; `not found` where they do not."""
    value: float
    """Difference in accuracy that decides."""
    low: float
    high: float
    """Its paired 95% interval over queries, given the prompt sets that were drawn."""
    threshold: float
    n: Count
    """Queries of all tasks."""


class PromptSensitivity(Record):
    """Fits of each task with embeddings of other sizes and other prompts, asked the same test queries.

    Draw d of a condition is the embedding that `capture_embeddings(seed=seed + d)` makes; the fit seed is the same for
    all of them, except in the crossed design at the base condition.
    """

    kind: ClassVar[str] = "prompt_sensitivity"
    schema_version: ClassVar[int] = 2

    tasks: tuple[str, ...]
    conditions: tuple[Condition, ...]
    """The base condition first; each of the others differs from it in one setting."""
    right: Annotated[Float32, Axes(("task", "condition", "draw", "query"), 0, 1)]
    """(task condition draw query): 1 where the first token was right; 0 also where nothing was asked."""
    alphas: Annotated[Float32, Axes(("task", "condition", "draw", "layer", "head"), 0, 1)]
    embedding_variance: Annotated[Float32, Axes(("task", "condition"), 0)]
    """(task condition): variance of the embedding over prompt draws, summed over all its numbers, over the squared
    length of its mean."""
    crossed_right: Annotated[Float32, Axes(("task", "draw", "fit_seed", "query"), 0, 1)]
    """(task draw fit_seed query): as `right`, every prompt draw of the base condition with every fit seed."""
    crossed_alphas: Annotated[Float32, Axes(("task", "draw", "fit_seed", "layer", "head"), 0, 1)]
    references: Annotated[Float32, Axes(("reference", "task", "query"), 0, 1)]
    """(reference task query): 1 where prompting was right; see `REFERENCES`."""
    asked: Annotated[Float32, Axes(("task", "query"), 0, 1)]
    """(task query): 1 where there is a query."""
    n_reference_shots: Count
    seed: Count
    task_digests: tuple[str, ...]
    model: ModelIdentity
    versions: dict[str, str]
    notes: tuple[str, ...] = ()
    """What makes it hard to believe beside the fits of a run: other weights, other rows."""

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        n, n_queries = self.asked.shape
        c, d, s = len(self.conditions), self.right.shape[2], self.crossed_right.shape[2]
        grid = self.model.grid.shape
        wanted = {
            "right": (n, c, d, n_queries),
            "alphas": (n, c, d, *grid),
            "embedding_variance": (n, c),
            "crossed_right": (n, d, s, n_queries),
            "crossed_alphas": (n, d, s, *grid),
            "references": (len(REFERENCES), n, n_queries),
        }
        wrong = {name: getattr(self, name).shape for name in wanted if getattr(self, name).shape != wanted[name]}
        if wrong or len(set(self.tasks)) != n or len(self.task_digests) != n or not (self.asked.sum(1) >= 1).all():
            raise ValueError(f"{self.tasks} and {c} conditions do not fit arrays of shape {wrong or 'right'}")
        if d < 2 or s < 2 or any(len(one.differing(self.conditions[0])) != 1 for one in self.conditions[1:]):
            raise ValueError("needs two prompt draws, two fit seeds, and conditions that change one setting each")
        return self

    @property
    def base(self) -> Condition:
        """The condition that the others are variations of."""
        return self.conditions[0]

    def along(self, setting: Setting) -> tuple[Condition, ...]:
        """Return the base and the conditions that differ from it in one setting alone, numbers in rising order."""
        if setting not in SETTINGS:
            raise unknown_name("setting", setting, SETTINGS)
        found = [one for one in self.conditions if one.differing(self.base) <= {setting}]
        return tuple(found if setting == "template" else sorted(found, key=lambda one: float(getattr(one, setting))))

    def _rows(self, values: Float32, task: str | None) -> Float32:
        """Take the queries of a task, or of all tasks in a row, from (task query)."""
        if task is not None and task not in self.tasks:
            raise unknown_name("task", task, self.tasks)
        chosen = np.array([task is None or name == task for name in self.tasks])[:, None] & (self.asked == 1)
        found: Float32 = values[chosen]
        return found

    def _answers(self, one: Condition | str, task: str | None) -> Float32:
        """(query): share of the prompt draws that are right, or whether a reference is."""
        if isinstance(one, Condition):
            if one not in self.conditions:
                raise InputError(f"no runs under {one}; there are: {', '.join(map(str, self.conditions))}")
            return self._rows(self.right[:, self.conditions.index(one)].mean(1), task)
        if one not in REFERENCES:
            raise unknown_name("reference", one, REFERENCES)
        return self._rows(self.references[REFERENCES.index(one)], task)

    def draws(self, of: Condition, task: str | None = None) -> Float32:
        """(draw): accuracy of every prompt set of a condition, over all queries of all tasks, or of one."""
        self._answers(of, task)  # refuses what is not there
        runs = self.right[:, self.conditions.index(of)]
        return np.array([self._rows(runs[:, d], task).mean() for d in range(runs.shape[1])], dtype=np.float32)

    def accuracy(self, of: Condition | str, task: str | None = None) -> Interval:
        """Accuracy under a condition, mean over its draws, or of a reference; over all queries of all tasks, or of one.

        The 95% interval is over queries, given the prompt sets that were drawn.
        """
        return paired_difference(self._answers(of, task))

    def gain(self, of: Condition | str, over: Condition | str, task: str | None = None) -> Interval:
        """Difference in accuracy of two conditions or references on the same queries; intervals as in `accuracy`."""
        return self.compare(of, over, task).estimate

    def compare(self, of: Condition | str, over: Condition | str, task: str | None = None) -> Paired:
        """Pair two conditions or references query by query."""
        return Paired.of(self._answers(of, task), self._answers(over, task), over="queries")

    def checks(self, *, tolerance: float = TOLERANCE) -> tuple[PromptCheck, ...]:
        """Ask whether fewer prompts and shots do as well as the most, one prompt beats few-shot prompting, and so on.

        A condition does as well as another where what it loses is below `tolerance` by test and interval, and does not
        where it loses something by test and interval. Else neither is found.
        """
        found = []
        for setting, letter in (("n_prompts", "M"), ("n_shots", "N")):
            *fewer, most = self.along(setting)  # type: ignore[arg-type]  # of the loop above
            for one in fewer:
                claim = f"{letter}={getattr(one, setting)} does as well as {letter}={getattr(most, setting)}"
                found.append(_loses_nothing(claim, self.compare(most, one), tolerance))
        smallest = self.along("n_prompts")[0]
        found.append(
            _is_above(f"M={smallest.n_prompts} is above few-shot prompting", self.compare(smallest, "few_shot"))
        )
        for one in (*self.along("template")[1:], *self.along("label_noise")[1:]):
            found.append(_loses_nothing(f"{one} does as well as {self.base}", self.compare(self.base, one), tolerance))
        return tuple(found)

    def saturates_from(self, setting: Literal["n_prompts", "n_shots"], *, tolerance: float = TOLERANCE) -> int | None:
        """Smallest number from which on all do as well as the most; None where that cannot be told of any but it."""
        *fewer, most = self.along(setting)
        reached = None
        for one in reversed(fewer):
            if _loses_nothing("", self.compare(most, one), tolerance).answer != "yes":
                break
            reached = int(getattr(one, setting))
        return reached

    def alpha_variance(self) -> Float32:
        """(task condition): variance of alpha over prompt draws, mean over all heads."""
        found: Float32 = self.alphas.var(2, ddof=1)[..., self.model.grid.mask].mean(-1)
        return found

    def variance_frame(self) -> "pd.DataFrame":
        """One row per task, quantity and part, at the base condition: variance, share, whether it was below zero.

        Of accuracy and alphas (mean over heads) the parts are prompt draw, fit seed and the rest, by `two_way`; of
        accuracy also the test set: the variance over queries of the share of runs that are right, over the number of
        queries. Of the embedding, which no fit seed changes, there is the prompt draw alone, relative to its squared
        length.
        """
        import pandas as pd

        rows = []
        for i, task in enumerate(self.tasks):
            right = self.crossed_right[i][..., self.asked[i] == 1]
            per_query = right.mean((0, 1), dtype=np.float64)
            test = float(per_query.var(ddof=1) / len(per_query)) if len(per_query) > 1 else None
            quantities = {"alphas": self.crossed_alphas[i][..., self.model.grid.mask], "accuracy": right.mean(-1)}
            rows.append((task, "embedding", "prompt draw", float(self.embedding_variance[i, 0]), False))
            for quantity, values in quantities.items():
                parts = two_way(values)
                rows.append((task, quantity, "prompt draw", parts.first, "first" in parts.negative))
                rows.append((task, quantity, "fit seed", parts.second, "second" in parts.negative))
                rows.append((task, quantity, "rest", parts.rest, False))
            if test is not None:
                rows.append((task, "accuracy", "test set", test, False))
        table = pd.DataFrame(rows, columns=["task", "quantity", "part", "variance", "below_zero"])
        whole = table.groupby(["task", "quantity"])["variance"].transform("sum")
        table.insert(4, "share", (table["variance"] / whole.where(whole > 0)).fillna(0.0))
        return table

    def run_variance(self) -> Float32:
        """(task): variance of the accuracy of a single run at the base condition, over prompt draws and fit seeds."""
        rights = [self.crossed_right[i][..., self.asked[i] == 1].mean(-1) for i in range(len(self.tasks))]
        return np.array([two_way(right).total for right in rights], dtype=np.float32)

    def frame(self) -> "pd.DataFrame":
        """One row per task and condition, the tasks that vary most between runs first.

        Columns: settings, accuracy with interval, lowest and highest draw, gain over the base, variance of embedding
        (relative) and alphas over draws, variance of accuracy between runs at the base condition, queries.
        """
        import pandas as pd

        between, alphas = self.run_variance(), self.alpha_variance()
        rows = []
        for i in np.argsort(-between, kind="stable"):
            task = self.tasks[i]
            for c, one in enumerate(self.conditions):
                draws = self.right[i, c][:, self.asked[i] == 1].mean(-1)
                accuracy, gain = self.accuracy(one, task), self.gain(one, self.base, task)
                rows.append(
                    {"task": task, "n_prompts": one.n_prompts, "n_shots": one.n_shots,
                     "template": one.template.query_text("x"), "label_noise": one.label_noise,
                     "accuracy": accuracy.value, "low": accuracy.low, "high": accuracy.high,
                     "lowest_draw": float(draws.min()), "highest_draw": float(draws.max()),
                     "gain_over_base": gain.value, "embedding_variance": float(self.embedding_variance[i, c]),
                     "alpha_variance": float(alphas[i, c]), "run_variance": float(between[i]), "n": accuracy.n}
                )  # fmt: skip
        return pd.DataFrame(rows)


def _loses_nothing(claim: str, loss: Paired, tolerance: float) -> PromptCheck:
    lost, tolerable = loss.verdict, loss.beyond(tolerance).verdict
    answer: Answer = "too few" if lost == "too few" else "yes" if tolerable == "below" else _answer(lost, above="no")
    return _check(claim, answer, loss.estimate, tolerance)


def _is_above(claim: str, gain: Paired) -> PromptCheck:
    answer = "no" if gain.verdict == "below" else _answer(gain.verdict, above="yes")
    return _check(claim, answer, gain.estimate, 0.0)


def _answer(verdict: Verdict, *, above: Literal["yes", "no"]) -> Answer:
    return above if verdict == "above" else "too few" if verdict == "too few" else "not found"


def _check(claim: str, answer: Answer, found: Interval, threshold: float) -> PromptCheck:
    return PromptCheck(
        claim=claim, answer=answer, value=found.value, low=found.low, high=found.high, threshold=threshold, n=found.n
    )
