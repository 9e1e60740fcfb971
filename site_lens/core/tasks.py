"""Tasks: examples in train, valid and test splits, and what is wrong with them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from site_lens.core.digests import digest_json, seed_stream
from site_lens.core.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a task: an input and the outputs that count as right, the first being the training target."""

    input: str
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.outputs or not all(self.outputs):
            raise InputError(f"the example {self.input!r} needs an output that is not empty")

    @property
    def output(self) -> str:
        """The training target."""
        return self.outputs[0]


@dataclass(frozen=True)
class Task:
    """A task: a name and three splits of examples.

    Embeddings and alphas are made from train, checkpoints chosen on valid, accuracy measured on test.
    """

    name: str
    train: tuple[Example, ...]
    valid: tuple[Example, ...]
    test: tuple[Example, ...]
    family: str | None = None
    """Known group of similar tasks, if any; never used for fitting."""

    def __post_init__(self) -> None:
        if not self.name:
            raise InputError("a task needs a name")
        if any("\ud800" <= letter <= "\udfff" for letter in self.name):
            raise InputError(f"the name of a task must be text, got {self.name!a:.80}; rename its file")
        for split in SPLITS:
            if not getattr(self, split):
                raise InputError(f"task {self.name!r} has an empty {split} split; give it at least one row")

    @classmethod
    def from_examples(
        cls,
        name: str,
        examples: Iterable[Example],
        *,
        shares: tuple[float, float, float] = (0.70, 0.09, 0.21),
        seed: int = 0,
        family: str | None = None,
    ) -> "Task":
        """Split examples at random into train, valid and test.

        Args:
            name: Name of the task.
            examples: All rows, in any order.
            shares: Shares of train, valid and test; the defaults are the paper's.
            seed: Seed of the split.
            family: Known group of similar tasks.

        Raises:
            InputError: There are too few rows for three splits that are not empty.
        """
        rows = list(examples)
        if abs(sum(shares) - 1) > 1e-6 or min(shares) <= 0:
            raise InputError(f"shares of train, valid and test must be positive and sum to 1, got {shares}")
        if len(rows) < 3:
            raise InputError(f"task {name!r} has {len(rows)} rows; three splits need at least 3")
        order = np.random.default_rng(seed).permutation(len(rows))
        n_valid, n_test = (max(1, round(share * len(rows))) for share in shares[1:])
        n_train = len(rows) - n_valid - n_test
        shuffled = [rows[i] for i in order]
        return cls(
            name,
            tuple(shuffled[:n_train]),
            tuple(shuffled[n_train : n_train + n_valid]),
            tuple(shuffled[n_train + n_valid :]),
            family,
        )

    def with_labelled(self, n_rows: int, *, seed: int) -> "Task":
        """Keep so many labelled rows in all, a fifth of them valid; test stays whole.

        Args:
            n_rows: Rows of train and valid together.
            seed: Seed of the draw.

        Raises:
            InputError: The task does not have as many.
        """
        n_valid = max(1, round(n_rows / 5))
        n_train = n_rows - n_valid
        if not (1 <= n_train <= len(self.train) and n_valid <= len(self.valid)):
            raise InputError(
                f"task {self.name!r} has {len(self.train)} train and {len(self.valid)} valid rows; {n_rows} labelled "
                f"rows would be {n_train} and {n_valid} of them"
            )
        stream = seed_stream(seed, self.name, "labelled rows")
        train, valid = (
            tuple(rows[i] for i in np.sort(stream.choice(len(rows), n, replace=False)))
            for rows, n in ((self.train, n_train), (self.valid, n_valid))
        )
        return replace(self, train=train, valid=valid)

    @cached_property
    def digest(self) -> str:
        """64 hexadecimal digits of name and rows."""
        return digest_json([self.name] + [[asdict(row) for row in getattr(self, split)] for split in SPLITS])

    def frame(self) -> "pd.DataFrame":
        """One row per example: task, split, input, output, alternatives."""
        import pandas as pd

        rows = [
            (self.name, split, row.input, row.output, row.outputs[1:])
            for split in SPLITS
            for row in getattr(self, split)
        ]
        return pd.DataFrame(rows, columns=["task", "split", "input", "output", "alternatives"])

    def audit(self) -> "TaskAudit":
        """Count what makes an accuracy on this task hard to believe."""
        every = [row for split in SPLITS for row in getattr(self, split)]
        seen = {row.input for row in self.train}
        labels: dict[str, set[tuple[str, ...]]] = {}
        for row in every:
            labels.setdefault(row.input, set()).add(row.outputs)
        commonest = Counter(row.output for row in self.test).most_common(1)[0][1]
        return TaskAudit(
            task=self.name,
            n_train=len(self.train),
            n_valid=len(self.valid),
            n_test=len(self.test),
            test_in_train=sum(row.input in seen for row in self.test),
            conflicting_inputs=sum(len(found) > 1 for found in labels.values()),
            duplicates=sum(len(getattr(self, split)) - len(set(getattr(self, split))) for split in SPLITS),
            majority_rate=commonest / len(self.test),
        )


@dataclass(frozen=True, slots=True)
class TaskAudit:
    """Leaks and ambiguities of a task, as counts."""

    task: str
    n_train: int
    n_valid: int
    n_test: int
    test_in_train: int
    """Test rows whose input occurs in train."""
    conflicting_inputs: int
    """Inputs with more than one output over all splits."""
    duplicates: int
    """Rows that repeat another row of the same split."""
    majority_rate: float
    """Share of the commonest output among the test rows: what a constant answer scores."""


def task_list(tasks: Task | Mapping[str, Task] | Iterable[Task]) -> list[Task]:
    """Turn one task, tasks by name or tasks into a list; raises InputError if there is none or a name comes twice."""
    found = [tasks] if isinstance(tasks, Task) else list(tasks.values() if isinstance(tasks, Mapping) else tasks)
    names = [task.name for task in found]
    if not found or len(set(names)) < len(names):
        raise InputError(f"needs at least one task and each once, got {names}")
    return found
