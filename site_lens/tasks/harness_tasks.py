"""Tasks of EleutherAI's lm-evaluation-harness: its documents become examples, its splits ours."""

import re
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from site_lens.records.errors import InputError, TaskFileError, unknown_name
from site_lens.records.library_errors import translated_errors
from site_lens.records.limited_io import is_there
from site_lens.records.suggestions import did_you_mean_path
from site_lens.records.wording import listed
from site_lens.tasks.rows import numbered, task_content, text_of
from site_lens.tasks.task import SPLIT_SHARES, Example, Task

HARNESS = "lm_eval:"
"""What sources of harness tasks begin with."""

YAML = (".yaml", ".yml")
"""Suffixes by which a file is told from the name of a task that the harness knows."""

A_GROUP = re.compile(rb"^group\s*:", re.MULTILINE)
"""The key by which the harness tells a file of a group. The file is not parsed here: it may name Python functions."""

VALID_SHARE = SPLIT_SHARES[1] / sum(SPLIT_SHARES[:2])
"""Share of valid in the rows of train and valid."""


def require_harness() -> None:
    """Check that the lm-evaluation-harness is installed.

    Raises:
        InputError: It is not.
    """
    if find_spec("lm_eval") is None:
        raise InputError(
            'tasks and models of the harness need lm-eval; install it with: pip install "site_lens[lm-eval]"'
        )


def harness_task(name: str, *, seed: int = 0) -> Task:
    """Read a task of the lm-evaluation-harness.

    Inputs are what `doc_to_text` makes of a document, outputs what `doc_to_target` says: a text, an index into
    `doc_to_choice`, or a list of these, which are accepted alternatives. All are kept letter by letter. Description,
    delimiters, `gen_prefix`, filters and metrics of the task are not read.

    Test is what the harness scores: its test split, or its validation split where it has no test. Train is its training
    split, or else its few-shot split, unless that is one of the other two. Where train or valid is missing, both are
    drawn from the other, 70 to 9; a single split is divided 70/9/21.

    Args:
        name: A task that the harness knows, or a YAML file. Both may run Python code that comes with the task.
        seed: Seed of the division.

    Raises:
        InputError: The harness is not installed, or has no such task; it is a group, a perplexity of whole texts, a
            task of several inputs, or one with images or sounds.
        TaskFileError: The harness cannot load it, or a document has no input or no output; the row is named.
    """
    require_harness()
    task = _from_yaml(Path(name)) if name.endswith(YAML) else _registered(name)
    if task.config.doc_to_image is not None or task.config.doc_to_audio is not None:
        raise InputError(f"{name!r} shows images or sounds; choose a task of text alone")
    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        raise InputError(f"{name!r} measures the perplexity of whole texts, which have no input and output")
    rows = {
        split: [_example(task, doc, where) for where, doc in numbered(docs, f"{name}, {split}")]
        for split, docs in _splits(task, name).items()
    }
    called = str(task.config.task or Path(name).stem)
    scored = "test" if "test" in rows else "validation"
    if scored not in rows:
        raise TaskFileError(f"{name} has neither a test nor a validation split, of which the harness scores one")
    test = rows.pop(scored)
    try:
        if not rows:
            return Task.from_examples(called, test, seed=seed)
        if len(rows) == 1:
            rows = _divided(next(iter(rows.values())), seed)
        return Task(called, tuple(rows["training"]), tuple(rows["validation"]), tuple(test))
    except InputError as error:
        raise TaskFileError(f"{name}: {error}") from error


@cache  # the harness reads the thousands of files of its tasks each time
def _all_tasks() -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager()


def _registered(name: str) -> Any:
    """Load a task that the harness knows by name."""
    manager = _all_tasks()
    if name not in manager.all_tasks:
        raise unknown_name("harness task", name, manager.all_tasks, "A file's name ends in .yaml")
    if name not in manager.all_subtasks:
        entry = manager.task_index[name]
        members = [*sorted(entry.tags), *((entry.cfg or {}).get("task") or [])]
        names = [each.get("task") or each.get("group") if isinstance(each, dict) else each for each in members]
        raise InputError(f"{name!r} is a group of harness tasks; load its tasks one by one: {listed(names)}")
    return _built(manager, name)


def _from_yaml(path: Path) -> Any:
    """Load a task from a file of the user's."""
    from lm_eval.tasks import TaskManager

    if not is_there(path):
        hint = did_you_mean_path(path, lambda near: near.suffix in YAML)
        raise TaskFileError(f"there is no file {path}; {hint}give the YAML file of a harness task")
    if A_GROUP.search(task_content(path)):
        raise InputError(f"{path} is a group of harness tasks; give the files of its tasks one by one")
    return _built(TaskManager(include_defaults=False), str(path))


def _built(manager: Any, name: str) -> Any:
    needs = "a task needs doc_to_text, doc_to_target, and a test or validation split"
    with translated_errors(lambda reason: TaskFileError(f"the harness cannot load {name!r}: {reason} ({needs})")):
        (task,) = manager.load(name)["tasks"].values()
        return task


def _splits(task: Any, name: str) -> dict[str, Iterable[Any]]:
    """Return the documents of each split that there is; of two that are the same, the one that is scored."""
    config, docs = task.config, {}
    shown = getattr(config.fewshot_config, "split", None)
    others = {config.test_split, config.validation_split} - {None}  # tasks that are Python classes name no splits
    with translated_errors(lambda reason: TaskFileError(f"the harness cannot read the splits of {name!r}: {reason}")):
        if task.has_test_docs():
            docs["test"] = task.test_docs()
        if task.has_validation_docs() and config.validation_split not in {config.test_split} - {None}:
            docs["validation"] = task.validation_docs()
        if task.has_training_docs() and config.training_split not in others:
            docs["training"] = task.training_docs()
        elif shown is not None and shown not in others:
            docs["training"] = task.fewshot_docs()
    return docs


def _divided(rows: list[Example], seed: int) -> dict[str, list[Example]]:
    """Divide rows into train and valid, at random."""
    if len(rows) < 2:
        raise InputError(f"{len(rows)} row outside of the test split; train and valid need at least one each")
    order = np.random.default_rng(seed).permutation(len(rows))
    n_valid = max(1, round(VALID_SHARE * len(rows)))
    return {"training": [rows[i] for i in order[n_valid:]], "validation": [rows[i] for i in order[:n_valid]]}


def _example(task: Any, doc: Any, where: str) -> Example:
    with translated_errors(lambda reason: TaskFileError(f"{where}: {reason}")):
        text, target = task.doc_to_text(doc), task.doc_to_target(doc)
        choices = None if task.config.doc_to_choice is None else task.doc_to_choice(doc)
    if isinstance(text, int) and choices is not None:
        raise InputError(f"{where}: doc_to_text chooses one of several inputs (multiple inputs); an example has one")
    targets = list(target) if isinstance(target, list | tuple) else [target]
    if not targets:
        raise TaskFileError(f"{where}: 'doc_to_target' names no answer; leave such rows out (process_docs)")
    if choices is not None:
        targets = [_chosen(each, choices, where) for each in targets]
    outputs = tuple(text_of(each, "doc_to_target", where) for each in targets)
    return Example(text_of(text, "doc_to_text", where), outputs)


def _chosen(target: Any, choices: list[str], where: str) -> str:
    """Return the choice that a target names, by its index or as it is."""
    if isinstance(target, int) and 0 <= target < len(choices):
        return choices[target]
    if isinstance(target, str) and target in choices:
        return target
    raise TaskFileError(
        f"{where}: the target {target!r:.60} is none of the {len(choices)} choices; leave such rows out (process_docs)"
    )
