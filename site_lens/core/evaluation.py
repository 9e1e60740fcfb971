"""How well methods do a task: one answer per method and test query, and the intervals around the means."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from site_lens.core.errors import InputError, unknown_name
from site_lens.core.prompts import PromptTemplate
from site_lens.core.provenance import ModelIdentity
from site_lens.core.record_sets import RecordSet
from site_lens.core.records import Axes, Count, Float32, Frozen, Record
from site_lens.core.statistics import Interval, bootstrap_mean, paired_difference, wilson

if TYPE_CHECKING:
    import pandas as pd

MethodQuery = Annotated[Float32, Axes(("method", "query"))]
Match = Literal["first_token", "exact", "prefix"]
MATCHES: tuple[Match, ...] = ("first_token", "exact", "prefix")
"""The metrics that count right answers."""

REFERENCE = "ten_shot"
"""The method that gains are measured against: 10-shot prompting."""

SHOT_NAMES = {0: "zero_shot", 1: "one_shot", 5: "five_shot", 10: REFERENCE}


SITE_METHODS = ("site", "site_hard", "site_top_k")
"""What is measured of a fit; a control is measured under its own name alone."""


def few_shot_name(n_shots: int) -> str:
    """Return what prompting with so many demonstrations is called."""
    return SHOT_NAMES.get(n_shots, f"{n_shots}_shot")


def split_seed(method: str) -> tuple[str, int | None]:
    """Take the seed out of the name of a method: `site#1_hard` is `site_hard` of seed 1.

    The lowest seed of a run stands in no name, and is None here.
    """
    found = re.fullmatch(r"(?P<name>.+)#(?P<seed>\d{1,18})(?P<variant>_.*)?", method)
    if found is None:
        return method, None
    return found["name"] + (found["variant"] or ""), int(found["seed"])


RESULT_COLUMNS = ["task", "method", "metric", "value", "low", "high", "n", "labelled_rows"]


class MethodCost(Frozen):
    """What a method took to make and takes to run."""

    n_trained: int = Field(ge=0)
    """Numbers learned by an optimiser."""
    stored_bytes: int = Field(ge=0)
    """Bytes to keep, in float32."""
    fit_seconds: float | None = Field(ge=0)
    """Time to make it, its embedding and the choice of its layer included; of what was made for several tasks at once,
    its share. None where it was not measured."""
    query_seconds: float = Field(ge=0)
    """Time a test query, from its tokens to the logits of the first answer token, in batches."""


class Evaluation(Record):
    """What each method answered to the same test queries of one task."""

    kind: ClassVar[str] = "evaluation"

    task: str
    methods: tuple[str, ...]
    first_token: Annotated[Float32, Axes(("method", "query"), 0, 1)]
    """(method query): 1 where the most probable next token begins an accepted answer."""
    rank: MethodQuery
    """(method query): rank of the target's first token among the vocabulary, 1 = most probable."""
    log_prob: Annotated[Float32, Axes(("method", "query"), most=0)]
    """(method query): log-probability of the target's first token, in nats."""
    exact: Annotated[Float32, Axes(("method", "query"), 0, 1)] | None = None
    """(method query): 1 where the generated answer, up to the end of the line, equals an accepted one."""
    prefix: Annotated[Float32, Axes(("method", "query"), 0, 1)] | None = None
    """(method query): 1 where the published code's "exact match" would count it: generated text begins with the
    target. Kept to compare with published numbers; a one-letter answer matches almost anything."""
    labelled_rows: tuple[Count, ...]
    """Labelled rows each method used, in the order of `methods`. For few-shot prompting: rows a prompt shows."""
    costs: tuple[MethodCost, ...] = ()
    """What each method cost, in the order of `methods`; empty where it was not measured."""
    queries: tuple[str, ...]
    targets: tuple[str, ...]
    n_shots: Count
    seed: Count
    template: PromptTemplate
    task_digest: str
    model: ModelIdentity
    family: str | None = None
    versions: dict[str, str]
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        shape = (len(self.methods), len(self.queries))
        arrays = {n: getattr(self, n) for n in (*MATCHES, "rank", "log_prob") if getattr(self, n) is not None}
        wrong = {name: array.shape for name, array in arrays.items() if array.shape != shape}
        if wrong:
            raise ValueError(f"needs (method query) = {shape}, got {wrong}")
        if not all(shape) or len(set(self.methods)) < len(self.methods):
            raise ValueError(f"needs at least one query and each method once, got {shape[1]} and {self.methods}")
        if len(self.targets) != len(self.queries) or len(self.labelled_rows) != len(self.methods):
            raise ValueError(
                f"needs a target a query and labelled rows a method, got {len(self.targets)} targets of "
                f"{len(self.queries)} queries and labelled rows {self.labelled_rows} of {self.methods}"
            )
        if len(self.costs) not in (0, len(self.methods)):
            raise ValueError(f"needs the cost of every method or of none, got {len(self.costs)} of {self.methods}")
        unclear = [n for n in MATCHES if n in arrays and not np.isin(arrays[n], (0, 1)).all()]
        if unclear or self.rank.min() < 1:
            raise ValueError(f"needs 0 or 1 in {', '.join(MATCHES)} and ranks from 1, wrong in {unclear or 'rank'}")
        return self

    def _row(self, method: str, metric: str) -> Float32:
        if method not in self.methods:
            raise InputError(f"{self.task}: no method {method!r} here; there are {', '.join(self.methods)}")
        if metric not in MATCHES:
            raise unknown_name("metric", metric, MATCHES)
        values = getattr(self, metric)
        if values is None:
            raise InputError(f"{self.task}: {metric} was not measured; evaluate with generated=True")
        row: Float32 = values[self.methods.index(method)]
        return row

    def accuracy(self, method: str, metric: Match = "first_token") -> Interval:
        """Share of right answers with Wilson's 95% interval."""
        row = self._row(method, metric)
        return wilson(int(row.sum()), len(row))

    def gain(self, method: str, over: str = REFERENCE, metric: Match = "first_token") -> Interval:
        """Difference in accuracy of two methods on the same queries, with a paired 95% bootstrap interval."""
        return paired_difference(self._row(method, metric), self._row(over, metric))

    def frame(self) -> "pd.DataFrame":
        """One row per method and query: task, method, query, target, first_token, rank, log_prob, ..."""
        import pandas as pd

        n = len(self.queries)
        table = {
            "task": self.task,
            "method": np.repeat(self.methods, n),
            "query": list(self.queries) * len(self.methods),
            "target": list(self.targets) * len(self.methods),
        }
        for name in ("first_token", "rank", "log_prob", "exact", "prefix"):
            if getattr(self, name) is not None:
                table[name] = getattr(self, name).reshape(-1)
        return pd.DataFrame(table)

    def results(self) -> "pd.DataFrame":
        """One row per method and metric: value, interval, queries, labelled rows.

        `gain_over_ten_shot` is the paired difference in first_token; `log_prob` and `reciprocal_rank` are means with
        bootstrap intervals.
        """
        import pandas as pd

        rows = []
        for i, method in enumerate(self.methods):
            measured: dict[str, Interval] = {
                **{str(m): self.accuracy(method, m) for m in MATCHES if getattr(self, m) is not None},
                "log_prob": bootstrap_mean(self.log_prob[i]),
                "reciprocal_rank": bootstrap_mean(1 / self.rank[i]),
            }
            if REFERENCE in self.methods and method != REFERENCE:
                measured["gain_over_ten_shot"] = self.gain(method)
            for metric, estimate in measured.items():
                rows.append(
                    (self.task, method, metric, estimate.value, estimate.low, estimate.high, estimate.n,
                     self.labelled_rows[i])
                )  # fmt: skip
        return pd.DataFrame(rows, columns=RESULT_COLUMNS)


class Evaluations(RecordSet[Evaluation]):
    """Evaluations by task."""

    record_class: ClassVar[type[Record]] = Evaluation

    def _keyed(self, records: list[Evaluation]) -> Iterator[tuple[str, Evaluation]]:
        return ((evaluation.task, evaluation) for evaluation in records)

    @property
    def methods(self) -> tuple[str, ...]:
        """Every method of every task, in order of first appearance."""
        return tuple(dict.fromkeys(method for evaluation in self.values() for method in evaluation.methods))

    def results(self) -> "pd.DataFrame":
        """The results of all tasks below each other."""
        import pandas as pd

        if not self:
            return pd.DataFrame(columns=RESULT_COLUMNS)
        return pd.concat([evaluation.results() for evaluation in self.values()], ignore_index=True)

    def accuracies(self, metric: Match = "first_token") -> "pd.DataFrame":
        """One row per task, one column per method: share of right answers, NaN where a task lacks the method.

        Raises:
            InputError: The metric was not measured.
        """
        import pandas as pd

        found = {
            task: {method: one.accuracy(method, metric).value for method in one.methods} for task, one in self.items()
        }
        table = pd.DataFrame.from_dict(found, orient="index").reindex(columns=list(self.methods))
        return table.rename_axis(index="task", columns="method")

    def having(self, *methods: str) -> "Evaluations":
        """Keep the tasks that were evaluated with all of these methods."""
        return Evaluations(one for one in self.values() if set(methods) <= set(one.methods))

    def mean(self, method: str, metric: Match = "first_token") -> Interval:
        """Mean accuracy over the tasks that have the method, each counting once, with a 95% bootstrap over tasks.

        Of a single task: its accuracy with Wilson's interval over queries; a bootstrap over one task would claim
        certainty.

        Raises:
            InputError: No task has the method.
        """
        return self._over_tasks([one.accuracy(method, metric) for one in self._need(method).values()])

    def mean_gain(self, method: str, over: str = REFERENCE, metric: Match = "first_token") -> Interval:
        """Mean over the tasks that have both methods of their difference in accuracy; intervals as in `mean`."""
        return self._over_tasks([one.gain(method, over, metric) for one in self._need(method, over).values()])

    def _need(self, *methods: str) -> "Evaluations":
        found = self.having(*methods)
        if not found:
            raise InputError(f"no task was evaluated with {' and '.join(methods)}; there are {', '.join(self.methods)}")
        return found

    @staticmethod
    def _over_tasks(estimates: list[Interval]) -> Interval:
        if len(estimates) == 1:
            return estimates[0]
        return bootstrap_mean(np.array([estimate.value for estimate in estimates], dtype=np.float32))
