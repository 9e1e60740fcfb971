"""Prompt sensitivity: how much embedding, alphas and accuracy depend on the prompts, their number and their shots."""

from dataclasses import asdict
from itertools import product
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from site_lens.records.base import Axes, Count, Float32, Frozen, Lengths
from site_lens.records.display import few
from site_lens.records.errors import InputError
from site_lens.records.lazy_pandas import pd
from site_lens.stats.intervals import Interval, share_interval
from site_lens.stats.paired_tests import Paired, Verdict
from site_lens.stats.variance_components import two_way
from site_lens.studies.base import AskedStudy, index_of, interval_columns
from site_lens.tasks.prompt_template import PromptTemplate

Setting = Literal["n_prompts", "n_shots", "template", "label_noise"]
SIZES: dict[Literal["n_prompts", "n_shots"], str] = {"n_prompts": "M", "n_shots": "N"}
"""Symbols of the sizes of an embedding."""

REFERENCES = ("zero_shot", "few_shot")
"""Prompting on the same queries."""

TOLERANCE = 0.02
"""Difference in accuracy up to which two settings count as equally good."""

PARTS = {"first": "prompt draw", "second": "fit seed", "rest": "rest"}
"""Parts of a variance by their names in `Components`."""

Answer = Literal["yes", "no", "not found", "too few"]


class Condition(Frozen):
    """Condition of an embedding: number of prompts and shots, template, label noise."""

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
        return {name for name in type(self).model_fields if getattr(self, name) != getattr(other, name)}

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


class PromptSensitivity(AskedStudy):
    """Fits of each task with embeddings of other sizes and other prompts, asked the same test queries.

    Draw d of a condition is the embedding that `capture_embeddings(seed=seed + d)` makes; the fit seed is the same for
    all of them, except in the crossed design at the base condition.
    """

    kind: ClassVar[str] = "prompt_sensitivity"
    schema_version: ClassVar[int] = 2
    lengths: ClassVar[Lengths] = {"reference": len(REFERENCES), "task_digests": "task"}

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
    n_reference_shots: Count
    seed: Count
    task_digests: tuple[str, ...]

    @property
    def base(self) -> Condition:
        """The condition that the others are variations of."""
        return self.conditions[0]

    def _facts(self) -> dict[str, object]:
        return {
            "model": self.model.name,
            "tasks": f"{len(self.tasks)} ({few(self.tasks)})",
            "conditions": len(self.conditions),
            "accuracy at the base": self.accuracy(self.base).value,
        }

    def along(self, setting: Setting) -> tuple[Condition, ...]:
        """Return the base and the conditions that differ from it in one setting alone, numbers in rising order."""
        varied = [condition for condition in self.conditions if condition.differing(self.base) <= {setting}]
        return tuple(varied if setting == "template" else sorted(varied, key=lambda one: float(getattr(one, setting))))

    def _runs(self, condition: Condition) -> Float32:
        """(task draw query)."""
        if condition not in self.conditions:
            raise InputError(f"no runs under {condition}; there are: {', '.join(map(str, self.conditions))}")
        return self.right[:, self.conditions.index(condition)]

    def _right(self, of: Condition | str, task: str | None) -> Float32:
        """(query): share of the prompt draws that are right, or whether a reference is."""
        if isinstance(of, Condition):
            return self._queries_of(self._runs(of).mean(1), task)
        return self._queries_of(self.references[index_of("reference", of, REFERENCES)], task)

    def draws(self, of: Condition, task: str | None = None) -> Float32:
        """(draw): accuracy of every prompt set of a condition, over all queries of all tasks, or of one."""
        return self._queries_of(self._runs(of).swapaxes(0, 1), task).mean(-1)

    def accuracy(self, of: Condition | str, task: str | None = None) -> Interval:
        """Accuracy under a condition, mean over its draws, or of a reference; over all queries of all tasks, or of one.

        The 95% interval is over queries, given the prompt sets that were drawn.
        """
        return share_interval(self._right(of, task))

    def gain(self, of: Condition | str, over: Condition | str, task: str | None = None) -> Interval:
        """Difference in accuracy of two conditions or references on the same queries; intervals as in `accuracy`."""
        return self.compare(of, over, task).estimate

    def compare(self, of: Condition | str, over: Condition | str, task: str | None = None) -> Paired:
        """Pair two conditions or references query by query."""
        return Paired.of(self._right(of, task), self._right(over, task), over="queries")

    def checks(self, *, tolerance: float = TOLERANCE) -> tuple[PromptCheck, ...]:
        """Ask whether fewer prompts and shots do as well as the most, one prompt beats few-shot prompting, and so on.

        A condition does as well as another where what it loses is below `tolerance` by test and interval, and does not
        where it loses something by test and interval. Else neither is found.
        """
        checks = []
        for setting, letter in SIZES.items():
            *fewer, most = self.along(setting)
            for size in fewer:
                claim = f"{letter}={getattr(size, setting)} does as well as {letter}={getattr(most, setting)}"
                checks.append(_loses_nothing(claim, self.compare(most, size), tolerance))
        smallest = self.along("n_prompts")[0]
        gain, claim = self.compare(smallest, "few_shot"), f"M={smallest.n_prompts} is above few-shot prompting"
        checks.append(_check(claim, {"above": "yes", "below": "no"}, gain, 0.0))
        for other in (*self.along("template")[1:], *self.along("label_noise")[1:]):
            claim = f"{other} does as well as {self.base}"
            checks.append(_loses_nothing(claim, self.compare(self.base, other), tolerance))
        return tuple(checks)

    def saturates_from(self, setting: Literal["n_prompts", "n_shots"], *, tolerance: float = TOLERANCE) -> int | None:
        """Smallest setting whose accuracy, and that of all larger ones, is within tolerance of the largest.

        None where that is shown of the largest alone.
        """
        *fewer, most = self.along(setting)
        reached = None
        for size in reversed(fewer):
            if _loses_nothing("", self.compare(most, size), tolerance).answer != "yes":
                break
            reached = int(getattr(size, setting))
        return reached

    def alpha_variance(self) -> Float32:
        """(task condition): variance of alpha over prompt draws, mean over all heads."""
        return self.alphas.var(2, ddof=1)[..., self.model.grid.mask].mean(-1)

    def run_variance(self) -> Float32:
        """(task): variance of the accuracy of a single run at the base condition, over prompt draws and fit seeds."""
        return np.array([two_way(self._crossed(i).mean(-1)).total for i in range(len(self.tasks))], dtype=np.float32)

    def variance_frame(self) -> "pd.DataFrame":
        """One row per task, quantity and part, at the base condition: variance, share, whether it was below zero.

        Of accuracy and alphas (mean over heads) the parts are prompt draw, fit seed and the rest, by `two_way`; of
        accuracy also the test set: the variance over queries of the share of runs that are right, over the number of
        queries. Of the embedding, which no fit seed changes, there is the prompt draw alone, relative to its squared
        length.
        """
        rows = []
        for i, task in enumerate(self.tasks):
            right = self._crossed(i)
            per_query = right.mean((0, 1), dtype=np.float64)
            quantities = {"alphas": self.crossed_alphas[i][..., self.model.grid.mask], "accuracy": right.mean(-1)}
            rows.append((task, "embedding", "prompt draw", float(self.embedding_variance[i, 0]), False))
            for quantity, values in quantities.items():
                parts = two_way(values)
                rows += [(task, quantity, PARTS[part], getattr(parts, part), part in parts.negative) for part in PARTS]
            if len(per_query) > 1:
                rows.append((task, "accuracy", "test set", float(per_query.var(ddof=1) / len(per_query)), False))
        table = pd.DataFrame(rows, columns=["task", "quantity", "part", "variance", "below_zero"])
        whole = table.groupby(["task", "quantity"])["variance"].transform("sum")
        table.insert(4, "share", (table["variance"] / whole.where(whole > 0)).fillna(0.0))
        return table

    def _crossed(self, i: int) -> Float32:
        """(draw fit_seed query): right answers of one task."""
        return self.crossed_right[i][..., self.asked[i] == 1]

    def frame(self) -> "pd.DataFrame":
        """One row per task and condition, the tasks that vary most between runs first.

        Columns: settings, accuracy with interval, lowest and highest draw, gain over the base, variance of embedding
        (relative) and alphas over draws, variance of accuracy between runs at the base condition, queries.
        """
        between, alphas = self.run_variance(), self.alpha_variance()
        rows = []
        for i, c in product(np.argsort(-between, kind="stable"), range(len(self.conditions))):
            task, condition = self.tasks[i], self.conditions[c]
            draws = self.draws(condition, task)
            rows.append(
                {
                    "task": task,
                    **condition.model_dump(),
                    "template": condition.template.query_text("x"),
                    **interval_columns("accuracy", self.accuracy(condition, task)),
                    "lowest_draw": float(draws.min()),
                    "highest_draw": float(draws.max()),
                    "gain_over_base": self.gain(condition, self.base, task).value,
                    "embedding_variance": float(self.embedding_variance[i, c]),
                    "alpha_variance": float(alphas[i, c]),
                    "run_variance": float(between[i]),
                    "n": int(self.n_queries[i]),
                }
            )
        return pd.DataFrame(rows)


def _loses_nothing(claim: str, loss: Paired, tolerance: float) -> PromptCheck:
    """Check that a loss is below the tolerance by test and interval."""
    answers: dict[Verdict, Answer] = {"above": "no"}
    if loss.beyond(tolerance).verdict == "below":
        answers = {"above": "yes", "below": "yes", "not found": "yes"}
    return _check(claim, answers, loss, tolerance)


def _check(claim: str, answers: dict[Verdict, Answer], difference: Paired, threshold: float) -> PromptCheck:
    """Answer by the verdict on a difference; verdicts without an answer say that nothing was found."""
    verdict = difference.verdict
    answer = "too few" if verdict == "too few" else answers.get(verdict, "not found")
    return PromptCheck(claim=claim, answer=answer, threshold=threshold, **asdict(difference.estimate))
