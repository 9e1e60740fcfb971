import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest

from site_lens.records.errors import InputError, TaskFileError
from site_lens.tasks.loading import load_task, load_tasks
from site_lens.tasks.task import SPLITS, Example, Task

Rows = list[dict[str, Any]]
ROWS: Rows = [{"input": f"in {i}", "output": f"out {i}"} for i in range(10)]
EXAMPLES = [Example(f"in {i}", (f"out {i}",)) for i in range(10)]


def separated(rows: Rows, separator: str) -> str:
    return "".join(separator.join(map(str, cells)) + "\n" for cells in [list(rows[0]), *(r.values() for r in rows)])


WRITERS: dict[str, Callable[[Rows, Path], object]] = {
    ".json": lambda rows, path: path.write_text(json.dumps(rows)),
    ".jsonl": lambda rows, path: path.write_text("".join(json.dumps(row) + "\n" for row in rows)),
    ".csv": lambda rows, path: path.write_text(separated(rows, ",")),
    ".tsv": lambda rows, path: path.write_text(separated(rows, "\t")),
    ".parquet": lambda rows, path: pd.DataFrame(rows).to_parquet(path),
}


def write(rows: Rows, path: Path) -> Path:
    WRITERS[path.suffix](rows, path)
    return path


def rows_of(task: Task) -> list[Example]:
    return [row for split in SPLITS for row in getattr(task, split)]


def test_files_of_every_format_are_read_alike(tmp_path: Path) -> None:
    literal = ["NA", "007", "null", "nan", "1e5", "True", "1.0", "été", "日本 🙂"]
    for suffix in WRITERS:
        path = write(ROWS, tmp_path / f"antonym{suffix}")
        assert load_tasks(path) == {"antonym": Task.from_examples("antonym", EXAMPLES, seed=0)}, suffix
        assert load_task(str(path), split_seed=3, name="x") == Task.from_examples("x", EXAMPLES, seed=3)
        named = [{"id": 7, "word": row["input"], "opposite": row["output"]} for row in ROWS]
        task = load_task(write(named, tmp_path / f"t{suffix}"), input_column="word", output_column="opposite")
        assert set(rows_of(task)) == set(EXAMPLES), suffix
        path = write([{"input": text, "output": text} for text in literal], tmp_path / f"t{suffix}")
        assert {row.input for row in rows_of(load_task(path))} == set(literal), suffix  # nothing is guessed
        path.unlink()
    (tmp_path / "README.md").write_text("not a task")
    with pytest.raises(TaskFileError, match="two tasks are called 'antonym'"):
        load_tasks(tmp_path)


SPLIT_FILES = [
    ("train.csv", "validation.csv", "test.csv"),
    ("train.csv", "valid.jsonl", "test.parquet"),
    ("train-00000-of-00001.parquet", "validation-00000-of-00001.parquet", "test-00000-of-00001.parquet"),
]


def test_a_folder_of_splits_of_any_format_and_usual_name_is_one_task_and_beside_others_one_of_several(
    tmp_path: Path,
) -> None:
    expected = Task("antonym", tuple(EXAMPLES[:6]), tuple(EXAMPLES[6:8]), tuple(EXAMPLES[8:]))
    for i, names in enumerate(SPLIT_FILES):
        folder = tmp_path / str(i) / "antonym"
        folder.mkdir(parents=True)
        for name, rows in zip(names, (ROWS[:6], ROWS[6:8], ROWS[8:]), strict=True):
            write(rows, folder / name)
        (folder / "dataset_infos.json").write_text("{}")
        assert load_tasks(folder) == load_tasks(folder.parent) == {"antonym": expected}, names
        assert load_task(folder.parent, name="opposites") == replace(expected, name="opposites"), names
    write(ROWS, folder.parent / "synonym.csv")
    (folder.parent / "pictures").mkdir()
    assert list(load_tasks(folder.parent)) == ["antonym", "synonym"]


def test_the_files_of_one_split_are_read_in_order_and_all_of_them(tmp_path: Path) -> None:
    folder = tmp_path / "antonym"
    folder.mkdir()
    write(ROWS[:3], folder / "train-00000-of-00002.parquet")
    write(ROWS[3:6], folder / "train-00001-of-00002.parquet")
    write(ROWS[6:8], folder / "validation.parquet")
    write(ROWS[8:], folder / "test.parquet")
    assert [*load_task(folder).train] == EXAMPLES[:6]
    (folder / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(TaskFileError, match="1 of the 2 files"):
        load_task(folder)


MIXED = {
    "beside": ["train.csv", "antonym.csv"],
    "train.csv, train.json": ["train.csv", "train.json", "valid.csv", "test.csv"],
    "no file of the valid split": ["train.csv", "test.csv"],
    "holds no task": [],
}
"""Files of folders that are neither one task nor several, by what is said of them."""


def test_what_is_neither_one_task_nor_several_is_refused_by_its_files(tmp_path: Path) -> None:
    for i, (culprit, files) in enumerate(MIXED.items()):
        folder = tmp_path / str(i)
        folder.mkdir()
        for name in files:
            write(ROWS, folder / name)
        with pytest.raises(TaskFileError, match=culprit):
            load_tasks(folder)
    with pytest.raises(TaskFileError, match="there are no tasks at"):
        load_tasks(tmp_path / "nowhere.json")
    for suffix in (".txt", ".csv.gz"):
        (tmp_path / f"t{suffix}").write_text("[]")
        with pytest.raises(TaskFileError, match=r"is not one of \.json"):
            load_tasks(tmp_path / f"t{suffix}")


def dataset(rows: Rows) -> datasets.Dataset:
    return datasets.Dataset.from_list(rows)


def test_the_splits_of_a_dataset_are_kept_or_made_by_seed_and_must_be_three() -> None:
    assert load_task(dataset(ROWS), split_seed=3, name="x") == Task.from_examples("x", EXAMPLES, seed=3)
    train, valid, test = dataset(ROWS[:6]), dataset(ROWS[6:8]), dataset(ROWS[8:])
    for name in ("valid", "validation", "dev"):
        task = load_task(datasets.DatasetDict({"train": train, name: valid, "test": test}))
        assert task == Task("dataset", tuple(EXAMPLES[:6]), tuple(EXAMPLES[6:8]), tuple(EXAMPLES[8:]))
    for splits in (("train", "test"), ("train", "dev", "validation", "test")):
        with pytest.raises(TaskFileError, match=", ".join(splits)):
            load_task(datasets.DatasetDict(dict.fromkeys(splits, train)), name="x")
    with pytest.raises(InputError):
        load_task(datasets.DatasetDict({"train": train, "valid": train.select([]), "test": test}), name="x")
    with pytest.raises(TaskFileError, match="antonym, row 5"):
        load_task(dataset([*ROWS[:4], {"input": "x", "output": None}]), name="antonym")


def test_a_dataset_of_the_hub_is_loaded_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def load_dataset(*names: str) -> datasets.DatasetDict:
        asked.append(names)
        return datasets.DatasetDict({"train": dataset(ROWS)})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert load_tasks("hub:user/antonym") == {"antonym": Task.from_examples("antonym", EXAMPLES, seed=0)}
    assert load_task("hub:user/words:small", name="x", split_seed=3) == Task.from_examples("x", EXAMPLES, seed=3)
    assert asked == [("user/antonym",), ("user/words", "small")]


BAD_ROWS: list[Any] = [
    "hot", {"Input": "a", "output": "b"}, {"input": "a", "output": []}, {"input": "a", "output": ""},
    {"input": "a", "output": float("nan")},
]  # fmt: skip
BAD_TABLES = {
    "input|output\na|b\nc|d|e\nf|g": "row 2", "input|output\na|b\nc\nd|e": "row 2",
    "word|opposite\na|b\nc|d\ne|f": "'word', 'opposite'", "input|output\n": "0 rows",
}  # fmt: skip


def test_a_row_that_is_no_example_is_named(tmp_path: Path) -> None:
    for suffix in (".json", ".jsonl"):
        for row in BAD_ROWS:
            path = write([*ROWS[:2], row, *ROWS[2:]], tmp_path / f"t{suffix}")
            with pytest.raises(TaskFileError, match=rf"t{suffix}, row 3: "):
                load_tasks(path)
    for suffix, separator in ((".csv", ","), (".tsv", "\t")):
        for lines, place in BAD_TABLES.items():
            (tmp_path / f"t{suffix}").write_text(lines.replace("|", separator))
            with pytest.raises(TaskFileError, match=place):
                load_tasks(tmp_path / f"t{suffix}")
    path = write([*ROWS[:2], {"input": "x", "output": None}], tmp_path / "t.parquet")
    with pytest.raises(TaskFileError, match="row 3: 'output'"):
        load_tasks(path)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown task 'antonyms'; did you mean 'antonym'"):
        load_tasks("demo", ["antonyms"])


# The shared files, whose defects NOTICE.md beside them counts


AUDITED = {
    "conll2003_location": (945, 152, 49, 66, 0, 0),
    "conll2003_organization": (807, 98, 18, 48, 0, 0),
    "landmark-country": (175, 0, 0, 0, 0, 1),
    "national_parks": (95, 12, 3, 4, 17, 26),
    "next_item": (47, 24, 4, 11, 2, 8),
    "person-instrument": (107, 1, 1, 0, 2, 5),
    "product-company": (109, 4, 3, 3, 3, 6),
}
"""Test rows; test rows whose input occurs in train and in valid; valid rows whose input occurs in train; test rows
whose input has another output; inputs with more than one output. Every other task has none of these."""


def test_the_audits_of_the_shared_tasks_count_the_known_defects(shared_data: Path) -> None:
    found: dict[str, tuple[int, ...]] = {}
    for name, task in load_tasks(shared_data / "tasks57").items():
        a = task.audit()
        counts = (a.test_in_train, a.test_in_valid, a.valid_in_train, a.conflicting_test, a.conflicting_inputs)
        found |= {name: (a.n_test, *counts)} if any(counts) else {}
    assert found == AUDITED
    of_one_file = load_tasks(shared_data / "function_vectors_format")  # split as in the paper
    n_rows = {name: tuple(len(getattr(task, split)) for split in SPLITS) for name, task in of_one_file.items()}
    assert n_rows == {"antonym": (1678, 216, 504), "choose_first_of_3": (700, 90, 210), "word_length": (570, 73, 171)}
