"""Loading of tasks: the paper's folders, tables, Function-Vectors JSON, datasets, the hub, the evaluation harness."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from site_lens.records.errors import InputError, TaskFileError, unknown_name
from site_lens.records.library_errors import system_errors, translated_errors
from site_lens.records.limited_io import current_limits, is_there
from site_lens.records.suggestions import did_you_mean_path
from site_lens.records.wording import listed
from site_lens.tasks.demo_tasks import demo_tasks
from site_lens.tasks.harness_tasks import HARNESS, harness_task
from site_lens.tasks.rows import (
    READERS,
    class_names,
    is_table,
    numbered,
    read_rows,
    table_name,
    text_of,
    with_class_names,
)
from site_lens.tasks.task import SPLITS, Example, Task

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

SPLIT_NAMES = dict.fromkeys(("train", "training"), "train")
SPLIT_NAMES |= dict.fromkeys(("valid", "validation", "val", "dev", "development"), "valid")
SPLIT_NAMES |= dict.fromkeys(("test", "testing"), "test")
"""What other people call the splits."""

Splits = Mapping[str, list[Path]]
"""Files of each split."""

SHARD = re.compile(r"-\d{5}-of-(\d{5})$")
"""What `datasets` puts behind the name of a split whose rows lie in several files."""


def load_tasks(
    source: Union[str, Path, "Dataset", "DatasetDict", Sequence[str | Path]],
    names: str | Sequence[str] | None = None,
    *,
    input_column: str = "input",
    output_column: str = "output",
    name: str | None = None,
    split_seed: int = 0,
) -> dict[str, Task]:
    """Load tasks, by name.

    Args:
        source: "demo" for the demo tasks; "hub:user/name" (or "hub:user/name:configuration") for a dataset of the
            Hugging Face hub; "lm_eval:name" or "lm_eval:path/to/task.yaml" for a task of the lm-evaluation-harness,
            with the splits, inputs and outputs that it names (any code of the task is run); one file (.json in the
            Function-Vectors format, .jsonl, .csv, .tsv, .parquet); a folder of such files that are called train, valid
            (or validation, val, dev) and test, which is one task with its own splits; a folder of such folders and
            files; a `datasets` dataset; or a list of names of files and folders. Rows without splits are split 70/9/21,
            the paper's shares. Hidden files are passed over.
        names: The tasks to keep, in this order, or the name of one; all when None.
        input_column: Column, or JSON key, of the input.
        output_column: Column, or JSON key, of the output. A list means accepted alternatives, the first of which is
            the training target; numbers are read as text, classes that `datasets` names by their names.
        name: Name of the task when the source holds one; its file or folder name when None.
        split_seed: Seed of the split of rows that come without splits.

    Raises:
        TaskFileError: A file is missing, malformed or too small; file and row are named.
        InputError: A name is unknown, or an argument is not what is said above.

    Example:
        >>> import site_lens as sl
        >>> tasks = sl.load_tasks("demo", ["antonym", "english-french"])
        >>> tasks["antonym"].family, len(sl.load_tasks("demo"))
        ('relations', 103)
    """
    columns = _Columns(input_column, output_column)
    if isinstance(source, list | tuple):
        options: dict[str, Any] = {"input_column": input_column, "output_column": output_column}
        tasks = [t for one in source for t in load_tasks(one, **options, split_seed=split_seed).values()]
        if twice := [name for name, n in Counter(task.name for task in tasks).items() if n > 1]:
            raise InputError(f"several of {', '.join(map(str, source))} hold a task called {twice[0]!r}; rename one")
    elif not isinstance(source, str | PathLike):
        tasks = [_from_dataset(source, "dataset" if name is None else name, columns, split_seed)]
    elif not str(source):
        raise InputError("the source of tasks is empty; give a file, a folder, or 'demo' for the demo tasks")
    elif str(source).startswith("hub:"):
        hub_name = str(source).removeprefix("hub:")
        tasks = [_from_dataset(_from_hub(hub_name), name or hub_name.split("/")[-1], columns, split_seed)]
    elif str(source).startswith(HARNESS):
        tasks = [harness_task(str(source).removeprefix(HARNESS), seed=split_seed)]
    elif str(source) == "demo":
        tasks = list(demo_tasks().values())
    else:
        tasks = list(_from_path(Path(source), columns, split_seed))
    if name is not None:
        if len(tasks) != 1:
            raise InputError(f"{source} holds {len(tasks)} tasks, which cannot all be called {name!r}; leave name out")
        tasks = [replace(tasks[0], name=name)]
    by_name = {task.name: task for task in tasks}
    if names is None:
        return by_name
    wanted = [names] if isinstance(names, str) else list(names)
    if not wanted:
        raise InputError(f"names are those of tasks, or None for all of them, got {names!r:.60}")
    if unknown := [task for task in wanted if task not in by_name]:
        raise unknown_name("task", unknown[0], by_name)
    return {task: by_name[task] for task in wanted}


def load_task(source: Union[str, Path, "Dataset", "DatasetDict"], **options: Any) -> Task:
    """Load the one task that a file, folder or dataset holds; options are those of `load_tasks`.

    Raises:
        InputError: The source holds several tasks.
    """
    tasks = load_tasks(source, **options)
    if len(tasks) != 1:
        raise InputError(f"{source} holds {len(tasks)} tasks; pick one with names=[...], or use load_tasks")
    return next(iter(tasks.values()))


class _Columns(NamedTuple):
    """Names of the columns of input and output."""

    input: str
    output: str

    def example(self, row: object, where: str) -> Example:
        """Read an example out of a row."""
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
        texts = tuple(text_of(value, self.output, where) for value in outputs)
        return Example(text_of(row[self.input], self.input, where), texts)


def _from_path(path: Path, columns: _Columns, seed: int) -> Iterator[Task]:
    """Read one file, one folder of splits, or a folder of such files and folders (no deeper: links could lead back)."""
    if not is_there(path):
        hint = did_you_mean_path(path, lambda near: near.is_dir() or is_table(near), also=["demo"])
        raise TaskFileError(f"there are no tasks at {path}; {hint}give a file, a folder, or 'demo' for the demo tasks")
    if not path.is_dir():
        yield _from_file(path, columns, seed)
        return
    with system_errors(f"read {path}", kind=TaskFileError):
        splits, tables = _parts(path)
        folders = {file: _parts(file)[0] for file in path.iterdir() if file.is_dir() and file.name[0] != "."}
        sources: dict[Path, Splits] = dict.fromkeys(tables, {}) | {k: found for k, found in folders.items() if found}
        files = [*tables, *(file for found in (splits, *sources.values()) for file in _files(found))]
        n_bytes, most = sum(file.stat().st_size for file in files if file.exists()), current_limits().task_bytes
    if n_bytes > most:
        raise TaskFileError(f"the tasks in {path} take {n_bytes} bytes, more than {most} (Limits.task_bytes)")
    if splits and sources:
        raise TaskFileError(
            f"{path} holds splits of one task ({_names(_files(splits))}) beside other tasks ({_names(sources)}); put "
            "either into a folder of their own"
        )
    if splits:
        yield _from_split_folder(path, splits, columns)
        return
    if not sources:
        raise TaskFileError(
            f"{path} holds no task: no {', '.join(READERS)} file, and no folder with one for train, valid and test"
        )
    seen: dict[str, Path] = {}
    for source, inner in sorted(sources.items()):
        task = _from_split_folder(source, inner, columns) if inner else _from_file(source, columns, seed)
        if task.name in seen:
            raise TaskFileError(f"two tasks are called {task.name!r}: {seen[task.name]} and {source}; rename one")
        seen[task.name] = source
        yield task


def _parts(folder: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """Return the files of each split in a folder, and those that are tasks of their own."""
    splits: dict[str, list[Path]] = {}
    tables: list[Path] = []
    for path in sorted(folder.iterdir()):
        split = SPLIT_NAMES.get(SHARD.sub("", table_name(path).lower()))
        if is_table(path):
            (tables if split is None else splits.setdefault(split, [])).append(path)
    return splits, tables


def _files(splits: Splits) -> list[Path]:
    return [file for files in splits.values() for file in files]


def _names(paths: Iterable[Path]) -> str:
    return listed(sorted(path.name for path in paths), 4)


def _from_file(path: Path, columns: _Columns, seed: int) -> Task:
    examples = _examples(path, columns)
    try:
        return Task.from_examples(path.stem, examples, seed=seed)
    except InputError as error:
        raise TaskFileError(f"{path}: {error}") from error


def _from_split_folder(folder: Path, splits: Splits, columns: _Columns) -> Task:
    rows: dict[str, list[Example]] = {}
    for split in SPLITS:
        files = splits.get(split, [])
        if not files:
            raise TaskFileError(
                f"{folder} has no file of the {split} split beside {_names(_files(splits))}; a task folder needs "
                "train, valid (or validation, val, dev) and test; a file that is no split needs another name"
            )
        shards = [SHARD.search(table_name(path)) for path in files]
        if len(files) > 1 and None in shards:
            raise TaskFileError(f"{folder} has several files of the {split} split: {_names(files)}; keep one")
        if shards[0] and int(shards[0][1]) != len(files):
            raise TaskFileError(f"{folder} has {len(files)} of the {int(shards[0][1])} files of its {split} split")
        rows[split] = [row for path in files for row in _examples(path, columns)]
        if not rows[split]:
            raise TaskFileError(f"{files[0]} is empty; every split needs at least one row")
    name = folder.name if folder.name not in ("", "..") else folder.resolve().name
    train, valid, test = (tuple(rows[split]) for split in SPLITS)
    return Task(name, train, valid, test)


def _examples(path: Path, columns: _Columns) -> list[Example]:
    return [columns.example(row, where) for where, row in read_rows(path, columns)]


def _from_hub(name: str) -> Any:
    """Download a dataset of the Hugging Face hub, `user/name` or `user/name:configuration`; no code of it is run."""
    from datasets import load_dataset

    with translated_errors(lambda reason: TaskFileError(f"the hub did not serve the dataset {name!r}: {reason}")):
        return load_dataset(*name.split(":", 1))


def _from_dataset(dataset: Any, name: str, columns: _Columns, seed: int) -> Task:
    if hasattr(dataset, "column_names") and not isinstance(dataset, Mapping):
        return Task.from_examples(name, _dataset_examples(dataset, name, columns), seed=seed)
    if not isinstance(dataset, Mapping):
        raise InputError(f"tasks come from a path or a datasets dataset, got a {type(dataset).__name__}")
    if len(dataset) == 1:  # one split, whatever it is called
        return _from_dataset(next(iter(dataset.values())), name, columns, seed)
    splits = {SPLIT_NAMES.get(str(split).lower(), split): part for split, part in dataset.items()}
    if len(splits) < len(dataset):
        raise TaskFileError(f"dataset {name!r} has two splits of the same meaning: {', '.join(dataset)}; keep one")
    if missing := [split for split in SPLITS if split not in splits]:
        raise TaskFileError(
            f"dataset {name!r} has the splits {', '.join(dataset)}; {', '.join(missing)} is missing. "
            "Hand in one split to have it divided 70/9/21"
        )
    train, valid, test = (tuple(_dataset_examples(splits[split], name, columns)) for split in SPLITS)
    return Task(name, train, valid, test)


def _dataset_examples(dataset: Any, name: str, columns: _Columns) -> Iterator[Example]:
    if not isinstance(dataset, Iterable):
        raise InputError(f"the rows of {name!r} must be a dataset, got a {type(dataset).__name__}")
    classes = class_names(getattr(dataset, "features", None))
    plain = dataset.with_format(None) if hasattr(dataset, "with_format") else dataset  # numbers, not tensors
    for where, row in numbered(plain, name):
        yield columns.example(with_class_names(row, classes, where) if isinstance(row, Mapping) else row, where)
