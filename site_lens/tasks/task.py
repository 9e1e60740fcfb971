"""Tasks: examples in train, valid and test splits, and an audit of their leaks and ambiguities."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from site_lens.records.display import Displayed, shortened
from site_lens.records.errors import InputError
from site_lens.records.hashing import digest_json, seed_stream
from site_lens.records.lazy_pandas import pd
from site_lens.records.type_checks import checked_methods
from site_lens.records.wording import listed
from site_lens.stats.paired_tests import FEWEST

SPLITS = ("train", "valid", "test")
SPLIT_SHARES = (0.70, 0.09, 0.21)
"""Shares of the rows in them, the paper's."""

FEWEST_VALID = 20
"""Rows of valid below which one row more or less decides which step or head set is chosen."""
SHOWN_ROWS = 3
"""Rows that the display of a task shows."""


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a task: an input and the outputs that count as right, the first being the training target.

    A single text as outputs is one output; a list becomes a tuple. Numbers are refused: write them as texts.
    """

    input: str
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        given: object = self.outputs
        outputs = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, list | tuple) else ()
        if not isinstance(self.input, str) or not all(isinstance(output, str) for output in outputs):
            raise InputError(f"an example is made of texts, got {self.input!r:.60} and {given!r:.60}")
        if not outputs or not all(output.strip() for output in outputs):
            raise InputError(
                f"the example {self.input!r:.60} needs an output, or a tuple of outputs, none of them empty, got "
                f"{given!r:.60}"
            )
        if any(half_character(text) for text in (self.input, *outputs)):
            raise InputError(f"an example holds half a surrogate pair, which is no character: {self!a:.120}")
        object.__setattr__(self, "outputs", outputs)

    @property
    def output(self) -> str:
        """The training target."""
        return self.outputs[0]


def half_character(text: str) -> bool:
    """Tell whether a text holds half a surrogate pair, which no file can hold."""
    return any("\ud800" <= letter <= "\udfff" for letter in text)


@checked_methods
@dataclass(frozen=True, repr=False)
class Task(Displayed):
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
            raise InputError(f"a task needs a name, which is a text, got {self.name!r}")
        if half_character(self.name):
            raise InputError(f"the name of a task must be text, got {self.name!a:.80}; rename its file")
        for split in SPLITS:
            rows = tuple(getattr(self, split))
            if not rows:
                raise InputError(f"task {self.name!r} has an empty {split} split; give it at least one row")
            object.__setattr__(self, split, rows)

    @classmethod
    def from_examples(
        cls,
        name: str,
        examples: Iterable[Example],
        *,
        shares: tuple[float, float, float] = SPLIT_SHARES,
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
            InputError: There are too few rows for three splits that are not empty, or a row is no Example.
        """
        rows = tuple(examples)
        if not (min(shares) > 0 and abs(sum(shares) - 1) <= 1e-6):
            raise InputError(f"shares of train, valid and test must be positive and sum to 1, got {shares!r}")
        if len(rows) < 3:
            raise InputError(f"task {name!r} has {len(rows)} rows; three splits need at least 3")
        if seed < 0:
            raise InputError(f"the seed of a split is a whole number, 0 or more, got {seed!r:.60}")
        order = np.random.default_rng(seed).permutation(len(rows))
        n_valid = min(max(1, round(shares[1] * len(rows))), len(rows) - 2)
        n_test = min(max(1, round(shares[2] * len(rows))), len(rows) - n_valid - 1)
        n_train = len(rows) - n_valid - n_test
        parts = np.split(order, [n_train, n_train + n_valid])
        train, valid, test = (tuple(rows[i] for i in part) for part in parts)
        return cls(name, train, valid, test, family)

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
        rows = [(self.name, split, row.input, row.output, row.outputs[1:]) for split, row in self._rows()]
        return pd.DataFrame(rows, columns=["task", "split", "input", "output", "alternatives"])

    def _rows(self) -> Iterator[tuple[str, Example]]:
        """Go through all rows, each with the split that it is in."""
        return ((split, row) for split in SPLITS for row in getattr(self, split))

    def _facts(self) -> Mapping[str, object]:
        family = {"family": self.family} if self.family else {}
        first = f"{self.train[0].input!r} -> {self.train[0].output!r}"
        counts = {split: len(getattr(self, split)) for split in SPLITS}
        return {"name": self.name} | family | {"first row": first} | counts

    def _tables(self) -> "Mapping[str, Callable[[], pd.DataFrame]]":
        return {"first rows of train": self._first_rows}

    def _first_rows(self) -> "pd.DataFrame":
        rows = [(shortened(row.input), shortened(row.output)) for row in self.train[:SHOWN_ROWS]]
        return pd.DataFrame(rows, columns=["input", "output"])

    def audit(self) -> "TaskAudit":
        """Count what makes an accuracy on this task hard to believe; see `TaskAudit`."""
        train, valid = ({_alike(row.input) for row in rows} for rows in (self.train, self.valid))
        same: dict[str, set[tuple[str, ...]]] = {}
        alike: dict[str, set[tuple[str, ...]]] = {}
        for _, row in self._rows():
            same.setdefault(row.input, set()).add(row.outputs)
            alike.setdefault(_alike(row.input), set()).add(tuple(map(_alike, row.outputs)))
        conflicting = {text for text in same if len(same[text]) > 1 or len(alike[_alike(text)]) > 1}
        commonest = Counter(row.output for row in self.test).most_common(1)[0][1]
        return TaskAudit(
            task=self.name,
            n_train=len(self.train),
            n_valid=len(self.valid),
            n_test=len(self.test),
            test_in_train=sum(_alike(row.input) in train for row in self.test),
            test_in_valid=sum(_alike(row.input) in valid for row in self.test),
            valid_in_train=sum(_alike(row.input) in train for row in self.valid),
            conflicting_test=sum(row.input in conflicting for row in self.test),
            conflicting_inputs=len(conflicting),
            duplicates=sum(len(getattr(self, split)) - len(set(getattr(self, split))) for split in SPLITS),
            majority_rate=commonest / len(self.test),
        )


def few_rows(tasks: Iterable[Task]) -> list[str]:
    """Return notes on tasks whose valid or test has too few rows for what is chosen or read there; one a split."""
    every, notes = list(tasks), []
    for split, fewest, why in (
        ("valid", FEWEST_VALID, "steps, head sets and prices are chosen on it"),
        ("test", FEWEST["queries"], "there is no verdict on accuracies from so few"),
    ):
        few = [f"{task.name} ({len(getattr(task, split))})" for task in every if len(getattr(task, split)) < fewest]
        if few:
            notes.append(f"{split} has fewer than {fewest} rows in {listed(few, 4)}; {why}")
    return notes


def _alike(text: str) -> str:
    """Return what texts have in common that differ in case, spaces or Unicode form alone."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


@dataclass(frozen=True, slots=True)
class TaskAudit:
    """Leaks and ambiguities of a task, as counts.

    Inputs that differ in case, spaces or Unicode form alone count as the same; so do their outputs.
    """

    task: str
    n_train: int
    n_valid: int
    n_test: int
    test_in_train: int
    """Test rows whose input occurs in train."""
    test_in_valid: int
    """Test rows whose input occurs in valid."""
    valid_in_train: int
    """Valid rows whose input occurs in train."""
    conflicting_test: int
    """Test rows whose input has another output elsewhere, in whichever split: not all of them can be answered."""
    conflicting_inputs: int
    """Inputs with more than one output over all splits."""
    duplicates: int
    """Rows that repeat another row of the same split, letter by letter."""
    majority_rate: float
    """Share of the commonest output among the test rows: what a constant answer scores."""


def task_list(tasks: Task | Mapping[str, Task] | Iterable[Task]) -> list[Task]:
    """Turn one task, tasks by name or tasks into a list; raises InputError if there is none or a name comes twice."""
    given: Any = tasks.values() if isinstance(tasks, Mapping) else tasks
    every: list[Any] = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    if strange := [task for task in every if not isinstance(task, Task)]:
        raise InputError(f'tasks are Task objects, as sl.load_tasks("demo") gives them, got {strange[0]!r:.60}')
    names = [task.name for task in every]
    if not every or len(set(names)) < len(names):
        raise InputError(f"needs at least one task and each once, got {names}")
    return every
