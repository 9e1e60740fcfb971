"""Tasks from files: the paper's folders, Function-Vectors JSON, CSV, TSV, JSON lines, parquet, datasets."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from site_lens.core.assets import demo_tasks
from site_lens.core.errors import InputError, TaskFileError, unknown_name
from site_lens.core.reading import current_limits, is_there
from site_lens.core.suggesting import did_you_mean_path
from site_lens.core.task_rows import READERS, read_rows
from site_lens.core.tasks import SPLITS, Example, Task

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

TABLES = tuple(READERS)
"""Suffixes of the files that hold one task without splits."""

SPLIT_NAMES = {"train": "train", "valid": "valid", "validation": "valid", "dev": "valid", "test": "test"}
"""What other people call the splits."""


def load_tasks(
    source: Union[str, Path, "Dataset", "DatasetDict"],
    names: Sequence[str] | None = None,
    *,
    input_column: str = "input",
    output_column: str = "output",
    name: str | None = None,
    split_seed: int = 0,
) -> dict[str, Task]:
    """Load tasks, by name.

    Args:
        source: "demo" for the demo tasks; a folder of `train.json`, `valid.json` and `test.json`; one file (.json
            in the Function-Vectors format, .jsonl, .csv, .tsv, .parquet); a folder of such folders and files; or a
            `datasets` dataset. Rows without splits are split 70/9/21, the paper's shares.
        names: The tasks to keep, in this order, or the name of one; all when None.
        input_column: Column, or JSON key, of the input.
        output_column: Column, or JSON key, of the output. A list means accepted alternatives, the first of which is
            the training target; numbers are read as text.
        name: Name of the task when the source holds one; its file or folder name when None.
        split_seed: Seed of the split of rows that come without splits.

    Raises:
        TaskFileError: A file is missing, malformed or too small; file and row are named.
        InputError: A name is unknown.

    Example:
        >>> import site_lens as sl
        >>> tasks = sl.load_tasks("demo", ["antonym", "english-french"])
        >>> tasks["antonym"].family, len(sl.load_tasks("demo"))
        ('relations', 103)
    """
    if not isinstance(source, str | Path):
        columns = _Columns(input_column, output_column)
        found = {task.name: task for task in [_from_dataset(source, name or "dataset", columns, split_seed)]}
    elif str(source) == "demo":
        found = demo_tasks()
    else:
        columns = _Columns(input_column, output_column)
        found = {task.name: task for task in _from_path(Path(source), name, columns, split_seed)}
    if names is None:
        return found
    wanted = [names] if isinstance(names, str) else names
    for task in wanted:
        if task not in found:
            raise unknown_name("task", task, found)
    return {task: found[task] for task in wanted}


def load_task(source: Union[str, Path, "Dataset", "DatasetDict"], **options: Any) -> Task:
    """Load the one task that a file, folder or dataset holds; options are those of `load_tasks`.

    Raises:
        InputError: The source holds several tasks.
    """
    found = load_tasks(source, **options)
    if len(found) != 1:
        raise InputError(f"{source} holds {len(found)} tasks; pick one with names=[...], or use load_tasks")
    return next(iter(found.values()))


class _Columns:
    """Reads an example out of a row, whatever the columns are called."""

    def __init__(self, input_column: str, output_column: str) -> None:
        self.input, self.output = input_column, output_column

    def example(self, row: object, where: str) -> Example:
        if not isinstance(row, Mapping):
            raise TaskFileError(
                f"{where}: a row must be an object with {self.input!r} and {self.output!r}, got {row!r:.60}"
            )
        for column in (self.input, self.output):
            if column not in row:
                raise TaskFileError(
                    f"{where}: no {column!r}; the row has {', '.join(map(repr, row)) or 'nothing'}. "
                    "Name the columns with input_column and output_column (--input-column, --output-column)"
                )
        outputs = row[self.output]
        outputs = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
        if not outputs:
            raise TaskFileError(f"{where}: {self.output!r} is an empty list")
        texts = tuple(self._text(value, self.output, where) for value in outputs)
        return Example(self._text(row[self.input], self.input, where), texts)

    @staticmethod
    def _text(value: object, column: str, where: str) -> str:
        number = isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf
        if not (number or isinstance(value, str)):
            raise TaskFileError(f"{where}: {column!r} must be text or a number, got {value!r:.60}")
        text = str(value)
        if not text.strip():
            raise TaskFileError(f"{where}: {column!r} is empty")
        most = current_limits().text_characters
        if len(text) > most:
            raise TaskFileError(f"{where}: {column!r} holds {len(text)} characters, more than {most}")
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise TaskFileError(f"{where}: {column!r} holds half a surrogate pair, which is no character: {text!a:.60}")
        return text


def _from_path(path: Path, name: str | None, columns: _Columns, seed: int) -> Iterator[Task]:
    if not is_there(path):
        hint = did_you_mean_path(path, lambda one: one.is_dir() or one.suffix in READERS, also=["demo"])
        raise TaskFileError(f"there are no tasks at {path}; {hint}give a file, a folder, or 'demo' for the demo tasks")
    if not path.is_dir():
        yield _from_file(path, name, columns, seed)
    elif _has_splits(path):
        yield _from_split_folder(path, name or path.name, columns)
    else:
        yield from _from_collection(path, columns, seed)


def _from_file(path: Path, name: str | None, columns: _Columns, seed: int) -> Task:
    if path.suffix not in TABLES:
        raise TaskFileError(f"{path} is not one of {', '.join(TABLES)}")
    return _split(name or path.stem, _examples(path, columns), path, seed)


def _has_splits(folder: Path) -> bool:
    return any((folder / f"{split}.json").exists() for split in SPLITS)


def _from_collection(folder: Path, columns: _Columns, seed: int) -> Iterator[Task]:
    """Read the folders with splits and the files that lie in a folder, but no folders of such: one could lead back."""
    try:
        inside = sorted(folder.iterdir())
        parts = [path for path in inside if _has_splits(path) or (path.suffix in TABLES and not path.is_dir())]
        _refuse_large(folder, parts)
    except OSError as error:
        raise TaskFileError(f"cannot read {folder}: {error.strerror}") from error
    seen: dict[str, Path] = {}
    for path in parts:
        task = _from_split_folder(path, path.name, columns) if path.is_dir() else _from_file(path, None, columns, seed)
        if task.name in seen:
            raise TaskFileError(f"two tasks are called {task.name!r}: {seen[task.name]} and {path}; rename one")
        seen[task.name] = path
        yield task
    if not seen:
        raise TaskFileError(f"{folder} holds no task: no folder with train.json and no {', '.join(TABLES)} file")


def _refuse_large(folder: Path, parts: Iterable[Path]) -> None:
    files = [one for path in parts for one in ([path / f"{s}.json" for s in SPLITS] if path.is_dir() else [path])]
    n_bytes, most = sum(path.stat().st_size for path in files if path.exists()), current_limits().task_bytes
    if n_bytes > most:
        raise TaskFileError(f"the tasks in {folder} take {n_bytes} bytes, more than {most} (Limits.task_bytes)")


def _from_split_folder(folder: Path, name: str, columns: _Columns) -> Task:
    splits = {}
    for split in SPLITS:
        path = folder / f"{split}.json"
        if not path.exists():
            raise TaskFileError(f"{path} is missing; a task folder needs train.json, valid.json and test.json")
        splits[split] = tuple(_examples(path, columns))
        if not splits[split]:
            raise TaskFileError(f"{path} is empty; every split needs at least one row")
    return Task(name, splits["train"], splits["valid"], splits["test"])


def _split(name: str, examples: Iterable[Example], path: Path, seed: int) -> Task:
    try:
        return Task.from_examples(name, examples, seed=seed)
    except TaskFileError:
        raise
    except InputError as error:
        raise TaskFileError(f"{path}: {error}") from error


def _examples(path: Path, columns: _Columns) -> list[Example]:
    rows = read_rows(path, (columns.input, columns.output))
    return [columns.example(row, f"{path}, row {i}") for i, row in enumerate(rows, 1)]


def _from_dataset(dataset: Any, name: str, columns: _Columns, seed: int) -> Task:
    if hasattr(dataset, "column_names") and not isinstance(dataset, Mapping):
        return Task.from_examples(name, _dataset_examples(dataset, name, columns), seed=seed)
    if not isinstance(dataset, Mapping):
        raise InputError(f"tasks come from a path or a datasets dataset, got a {type(dataset).__name__}")
    splits = {SPLIT_NAMES.get(split, split): part for split, part in dataset.items()}
    if len(splits) < len(dataset):
        raise TaskFileError(f"dataset {name!r} has two splits of the same meaning: {', '.join(dataset)}; keep one")
    missing = [split for split in SPLITS if split not in splits]
    if missing:
        raise TaskFileError(
            f"dataset {name!r} has the splits {', '.join(dataset)}; {', '.join(missing)} is missing. "
            "Hand in one split to have it divided 70/9/21"
        )
    train, valid, test = (tuple(_dataset_examples(splits[split], name, columns)) for split in SPLITS)
    return Task(name, train, valid, test)


def _dataset_examples(dataset: Iterable[object], name: str, columns: _Columns) -> Iterator[Example]:
    return (columns.example(row, f"{name}, row {i}") for i, row in enumerate(dataset, 1))
