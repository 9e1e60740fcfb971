import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from site_lens.records.errors import InputError, TaskFileError
from site_lens.records.limited_io import Limits, reading_limits
from site_lens.tasks.demo_tasks import demo_tasks
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
TYPED = (".json", ".jsonl", ".parquet")
"""Formats that tell numbers and lists from text."""


def write(rows: Rows, path: Path) -> Path:
    WRITERS[path.suffix](rows, path)
    return path


def write_folder(folder: Path, **splits: object) -> Path:
    folder.mkdir(parents=True)
    for split in SPLITS:
        (folder / f"{split}.json").write_text(json.dumps(splits.get(split, [{"input": split, "output": "x"}])))
    return folder


def rows_of(task: Task) -> list[Example]:
    return [row for split in SPLITS for row in getattr(task, split)]


# Every format


def test_files_of_every_format_are_read_alike(tmp_path: Path) -> None:
    literal = ["NA", "007", "null", "nan", "1e5", "True", "None", "N/A", "1.0", "-"]
    for suffix in WRITERS:
        path = write(ROWS, tmp_path / f"antonym{suffix}")
        assert load_tasks(path) == {"antonym": Task.from_examples("antonym", EXAMPLES, seed=0)}, suffix
        assert load_task(str(path), split_seed=3) == Task.from_examples("antonym", EXAMPLES, seed=3)
        assert load_task(path, name="opposites").name == "opposites"
        named = [{"id": 7, "word": row["input"], "opposite": row["output"]} for row in ROWS]
        task = load_task(write(named, tmp_path / f"t{suffix}"), input_column="word", output_column="opposite")
        assert set(rows_of(task)) == set(EXAMPLES), suffix
        path = write([{"input": text, "output": text} for text in literal], tmp_path / f"t{suffix}")
        assert {row.input for row in rows_of(load_task(path))} == set(literal), suffix  # nothing is guessed
        path = write([{"input": f"été {i}", "output": f"日本 {i} 🙂"} for i in range(4)], tmp_path / f"t{suffix}")
        assert Example("été 2", ("日本 2 🙂",)) in rows_of(load_task(path)), suffix


def test_numbers_are_read_as_text_and_lists_as_alternatives(tmp_path: Path) -> None:
    for suffix in TYPED:
        path = write([{"input": i, "output": 10 * i} for i in range(10)], tmp_path / f"t{suffix}")
        assert set(rows_of(load_task(path))) == {Example(str(i), (str(10 * i),)) for i in range(10)}, suffix
        path = write([{"input": f"in {i}", "output": ["first", "second"]} for i in range(10)], path)
        assert {row.outputs for row in rows_of(load_task(path))} == {("first", "second")}, suffix
    rows: Rows = [{"input": "a", "output": "x"}, {"input": "b", "output": ["y", 5]}, {"input": "c", "output": 0.5}]
    for suffix in (".json", ".jsonl"):
        task = load_task(write(rows, tmp_path / f"t{suffix}"))
        assert {row.input: row.outputs for row in rows_of(task)} == {"a": ("x",), "b": ("y", "5"), "c": ("0.5",)}


def test_quoted_cells_may_hold_separators_quotes_and_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('input,output\n"a, b","say ""c"""\n"d\ne",f\ng,h\n')
    assert set(rows_of(load_task(path))) == {
        Example("a, b", ('say "c"',)),
        Example("d\ne", ("f",)),
        Example("g", ("h",)),
    }


def test_byte_order_marks_line_ends_and_empty_lines_do_not_matter(tmp_path: Path) -> None:
    for suffix in (".json", ".jsonl", ".csv", ".tsv"):
        path = write(ROWS, tmp_path / f"t{suffix}")
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n\r\n"))
        assert set(rows_of(load_task(path))) == set(EXAMPLES), suffix
    for suffix in (".json", ".jsonl"):
        path = write(ROWS, tmp_path / f"t{suffix}").rename(tmp_path / f"T{suffix.upper()}")
        path.write_bytes(path.read_text().encode("utf-16"))
        assert set(rows_of(load_task(path))) == set(EXAMPLES), suffix
    rows = [{"input": f"a\u2028b\x85c {i}", "output": "x"} for i in range(3)]  # which end no line of JSON lines
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    assert {row.input for row in rows_of(load_task(path))} == {row["input"] for row in rows}


def test_a_folder_of_three_splits_keeps_them_as_they_are(tmp_path: Path) -> None:
    train, valid, test = ROWS[:6], ROWS[6:8], ROWS[8:]
    folder = write_folder(tmp_path / "antonym", train=train, valid=valid, test=test)
    task = load_task(folder)
    assert (task.name, task.family) == ("antonym", None)
    assert [*task.train] == EXAMPLES[:6]
    assert [*task.valid] == EXAMPLES[6:8]
    assert [*task.test] == EXAMPLES[8:]
    assert load_task(folder, split_seed=5) == task


def test_a_folder_of_folders_and_files_is_several_tasks(tmp_path: Path) -> None:
    write_folder(tmp_path / "antonym")
    write(ROWS, tmp_path / "synonym.csv")
    write(ROWS, tmp_path / "plural.json")
    (tmp_path / "README.md").write_text("not a task")
    (tmp_path / "pictures").mkdir()
    found = load_tasks(tmp_path)
    assert list(found) == ["antonym", "plural", "synonym"]
    assert all(task.name == name for name, task in found.items())


def test_tasks_are_kept_by_name_and_in_the_order_asked_for(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write(ROWS, tmp_path / f"{name}.csv")
    assert list(load_tasks(tmp_path, ["c", "a"])) == ["c", "a"]
    assert list(load_tasks(tmp_path, "b")) == ["b"]
    assert load_task(tmp_path, names=["b"]).name == "b"


def test_the_demo_tasks_come_by_their_one_word() -> None:
    assert load_tasks("demo") == demo_tasks()
    assert len(demo_tasks()) >= 16
    load_tasks("demo").clear()
    assert load_tasks("demo") == demo_tasks()


# Splits in files of their own


SPLIT_FILES = [
    ("train.csv", "validation.csv", "test.csv"),
    ("train.tsv", "dev.tsv", "test.tsv"),
    ("train.jsonl", "val.jsonl", "test.jsonl"),
    ("train.parquet", "valid.parquet", "test.parquet"),
    ("TRAIN.CSV", "Validation.CSV", "Test.Csv"),
    ("train.csv", "valid.jsonl", "test.parquet"),
    ("train-00000-of-00001.parquet", "validation-00000-of-00001.parquet", "test-00000-of-00001.parquet"),
]


def write_named(rows: Rows, path: Path) -> Path:
    written = write(rows, path.with_suffix(path.suffix.lower()))
    return written.rename(path)


def test_a_folder_of_splits_of_any_format_and_usual_name_is_one_task(tmp_path: Path) -> None:
    expected = Task("antonym", tuple(EXAMPLES[:6]), tuple(EXAMPLES[6:8]), tuple(EXAMPLES[8:]))
    for i, names in enumerate(SPLIT_FILES):
        folder = tmp_path / str(i) / "antonym"
        folder.mkdir(parents=True)
        for name, rows in zip(names, (ROWS[:6], ROWS[6:8], ROWS[8:]), strict=True):
            write_named(rows, folder / name)
        (folder / "README.md").write_text("no task")
        (folder / "dataset_infos.json").write_text("{}")
        assert load_tasks(folder) == load_tasks(folder.parent) == {"antonym": expected}, names
        assert load_task(folder.parent, name="opposites") == replace(expected, name="opposites"), names


def test_the_folder_one_stands_in_gives_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "antonym")
    (folder / "inside").mkdir()
    monkeypatch.chdir(folder)
    assert load_task(".").name == "antonym"
    monkeypatch.chdir(folder / "inside")
    assert load_task("..").name == "antonym"


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
    "a split and a task": (["train.csv", "antonym.csv"], "beside"),
    "splits and a task": (["train.csv", "valid.csv", "test.csv", "antonym.json"], "antonym.json"),
    "splits and a folder of splits": (["train.csv", "valid.csv", "test.csv", "plural/train.csv"], "plural"),
    "one split twice": (["train.csv", "train.json", "valid.csv", "test.csv"], "train.csv, train.json"),
    "one split under two names": (["train.csv", "valid.csv", "dev.csv", "test.csv"], "dev.csv, valid.csv"),
    "no validation": (["train.csv", "test.csv"], "valid"),
    "a test split alone": (["test.csv"], "train"),
    "a packed split": (["train.csv", "valid.csv.gz", "test.csv"], "unpack"),
    "a packed task": (["antonym.csv", "plural.jsonl.gz"], "unpack"),
}


def test_a_folder_that_is_neither_one_task_nor_several_is_refused_by_its_files(tmp_path: Path) -> None:
    for i, (files, culprit) in enumerate(MIXED.values()):
        for name in files:
            path = tmp_path / str(i) / name.removesuffix(".gz")
            path.parent.mkdir(parents=True, exist_ok=True)
            write(ROWS, path).rename(path.with_name(Path(name).name))
        with pytest.raises(TaskFileError, match=culprit):
            load_tasks(tmp_path / str(i))


def test_hidden_files_and_folders_beside_tasks_are_passed_over(tmp_path: Path) -> None:
    split, several = write_folder(tmp_path / "one" / "antonym"), tmp_path / "several"
    several.mkdir()
    write(ROWS, several / "plural.csv")
    expected = load_tasks(split), load_tasks(several)
    write_folder(split.parent / ".ipynb_checkpoints")
    for folder in (split, several, split.parent):
        for name in ("._train.json", "._antonym.json", "._plural.csv", ".DS_Store", ".hidden.jsonl", "Thumbs.db"):
            (folder / name).write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        \xff\xfe")
        (folder / "__MACOSX").mkdir()
        (folder / "__MACOSX" / "._train.json").write_bytes(b"\x00\x05\x16\x07")
    assert (load_tasks(split), load_tasks(several)) == expected
    assert load_tasks(split.parent) == expected[0]
    with pytest.raises(TaskFileError, match="NUL|UTF-8"):
        load_tasks(several / "._plural.csv")  # asked for by its name, it is read
    with pytest.raises(TaskFileError) as refused:
        load_tasks(several / "_plural.csv")
    assert "'._plural.csv'" not in str(refused.value)


# Tables as spreadsheets write them


TABLES_OF_SPREADSHEETS = {
    "semicolons": "input;output\nin 0;out 0\nin 1;out 1\nin, 2;out 2\n",
    "tabs": "input\toutput\nin 0\tout 0\nin 1\tout 1\nin, 2\tout 2\n",
    "bars": "output|input\nout 0|in 0\nout 1|in 1\nout 2|in, 2\n",
    "the separator in front": "sep=;\ninput;output\nin 0;out 0\nin 1;out 1\nin, 2;out 2\n",
    "comments in front": '# pairs\n# input and output\n\ninput,output\nin 0,out 0\nin 1,out 1\n"in, 2",out 2\n',
    "a header with a hash": '#,input,output\n0,in 0,out 0\n1,in 1,out 1\n2,"in, 2",out 2\n',
    "spaces behind separators": '"input", "output"\n"in 0", "out 0"\nin 1, out 1\n"in, 2", "out 2"\n',
    "everything quoted": '"input","output"\n"in 0","out 0"\n"in 1","out 1"\n"in, 2","out 2"\n',
    "line ends of old machines": 'input,output\rin 0,out 0\rin 1,out 1\r"in, 2",out 2\r',
}


def test_a_table_is_read_as_spreadsheets_write_it(tmp_path: Path) -> None:
    for form, text in TABLES_OF_SPREADSHEETS.items():
        for encoding in ("utf-8", "utf-8-sig", "utf-16"):
            for name in ("t.csv", "T.TSV"):
                (tmp_path / name).write_bytes(text.encode(encoding))
                rows = {row.input: row.outputs for row in rows_of(load_task(tmp_path / name))}
                assert rows == {"in 0": ("out 0",), "in 1": ("out 1",), "in, 2": ("out 2",)}, (form, encoding, name)


def test_long_cells_are_read_within_the_limits(tmp_path: Path) -> None:
    long = "x" * 200_000
    path = write([{"input": f"{long}{i}", "output": "y", "notes": long * 6} for i in range(3)], tmp_path / "t.csv")
    assert {len(row.input) for row in rows_of(load_task(path))} == {200_001}
    with reading_limits(Limits(text_characters=150_000)), pytest.raises(TaskFileError, match="150000"):
        load_task(path)


# Datasets


def dataset(rows: Rows) -> datasets.Dataset:
    return datasets.Dataset.from_list(rows)


def test_a_dataset_is_split_by_seed() -> None:
    assert load_task(dataset(ROWS), name="antonym") == Task.from_examples("antonym", EXAMPLES, seed=0)
    assert load_task(dataset(ROWS)).name == "dataset"
    assert load_task(dataset(ROWS), split_seed=3, name="x") == Task.from_examples("x", EXAMPLES, seed=3)


def test_the_columns_of_a_dataset_go_by_the_names_given() -> None:
    rows: Rows = [{"word": row["input"], "n": i, "opposites": [row["output"], "x"]} for i, row in enumerate(ROWS)]
    task = load_task(dataset(rows), input_column="word", output_column="opposites")
    assert {row.outputs[1] for row in rows_of(task)} == {"x"}
    assert {row.output for row in rows_of(load_task(dataset(rows), input_column="word", output_column="n"))} == {
        str(i) for i in range(10)
    }


def test_the_splits_of_a_dataset_are_kept_and_must_be_three() -> None:
    train, valid, test = dataset(ROWS[:6]), dataset(ROWS[6:8]), dataset(ROWS[8:])
    for name in ("valid", "validation", "dev"):
        task = load_task(datasets.DatasetDict({"train": train, name: valid, "test": test}), name="antonym")
        assert task == Task("antonym", tuple(EXAMPLES[:6]), tuple(EXAMPLES[6:8]), tuple(EXAMPLES[8:]))
    for splits in (("train", "test"), ("train", "dev", "validation", "test")):
        with pytest.raises(TaskFileError, match=", ".join(splits)):
            load_task(datasets.DatasetDict(dict.fromkeys(splits, train)), name="x")
    empty = datasets.DatasetDict({"train": train, "valid": train.select([]), "test": test})
    for source in (empty, train.select([])):
        with pytest.raises(InputError):
            load_task(source, name="x")
    with pytest.raises(TaskFileError, match="antonym, row 5"):
        load_task(dataset([*ROWS[:4], {"input": "x", "output": None}]), name="antonym")


NAMED = datasets.Features(
    {
        "input": datasets.Value("string"),
        "output": datasets.ClassLabel(names=["World", "Sports"]),
        "labels": datasets.Sequence(datasets.ClassLabel(names=["joy", "fear", "calm"])),
    }
)


def named(output: int = 1) -> datasets.Dataset:
    rows = {
        "input": [f"in {i}" for i in range(6)],
        "output": [i % 2 for i in range(5)] + [output],
        "labels": [[2, 0]] * 6,
    }
    return datasets.Dataset.from_dict(rows, features=NAMED)


def test_classes_go_by_their_names(tmp_path: Path) -> None:
    named().to_parquet(tmp_path / "t.parquet")
    parts = datasets.DatasetDict({"train": named(), "validation": named(), "test": named()})
    for source in (named(), parts, tmp_path / "t.parquet", named().to_iterable_dataset(), named().with_format("numpy")):
        for row in rows_of(load_task(source)):
            assert row.output == ("Sports" if int(row.input[-1]) % 2 else "World")
        assert {row.outputs for row in rows_of(load_task(source, output_column="labels"))} == {("calm", "joy")}
        assert {row.input for row in rows_of(load_task(source, input_column="output"))} == {"World", "Sports"}


def test_a_number_that_is_none_of_the_classes_is_refused_by_its_row(tmp_path: Path) -> None:
    table = pq.read_table(write_parquet(named(), tmp_path / "t.parquet"))
    for number in (-1, 2):
        column = pa.array([0, 1, 0, 1, 0, number])
        pq.write_table(table.set_column(1, "output", column), tmp_path / "t.parquet")
        with pytest.raises(TaskFileError, match="row 6"):
            load_tasks(tmp_path / "t.parquet")
    with pytest.raises(TaskFileError, match="row 6"):
        load_task(named(-1))


def write_parquet(rows: datasets.Dataset, path: Path) -> Path:
    rows.to_parquet(path)
    return path


def test_metadata_of_a_parquet_file_need_not_make_sense(tmp_path: Path) -> None:
    table = pa.table({"input": ["a", "b", "c"], "output": [0, 1, 2]})
    for metadata in (b"[]", b"3", b"{", b'{"info": 5}', b'{"info": {"features": {"output": {"_type": "ClassLabel"}}}}'):
        pq.write_table(table.replace_schema_metadata({b"huggingface": metadata}), tmp_path / "t.parquet")
        assert {row.output for row in rows_of(load_task(tmp_path / "t.parquet"))} == {"0", "1", "2"}, metadata


def test_a_dataset_without_end_is_read_within_the_limits() -> None:
    def endless() -> Iterator[dict[str, str]]:
        for i in count():
            yield {"input": f"in {i}", "output": "x"}

    stream = datasets.IterableDataset.from_generator(endless)
    with reading_limits(Limits(task_rows=50)), pytest.raises(TaskFileError, match="more than 50 rows"):
        load_task(stream)


def test_arguments_of_the_wrong_kind_are_refused() -> None:
    strange: list[Any] = [5, [], [5], ["antonym", None], {}, "", [["antonym"]]]
    wrong: list[dict[str, Any]] = [{"names": names} for names in strange]
    wrong += [{"input_column": 5}, {"output_column": None}, {"name": 5}, {"name": "x"}]
    for arguments in wrong:
        with pytest.raises(InputError):
            raise AssertionError(f"{arguments} gave {list(load_tasks('demo', **arguments))}")
    with pytest.raises(InputError):
        load_tasks("")
    with pytest.raises(InputError):
        load_task(dataset(ROWS), split_seed=-1)
    with pytest.raises(InputError):
        load_task({"train": 5, "valid": None, "test": ROWS})


def test_a_single_name_is_one_task_and_not_its_letters() -> None:
    assert list(load_tasks("demo", "antonym")) == ["antonym"]
    assert list(load_tasks("demo", ("antonym", "english-french"))) == ["antonym", "english-french"]


def test_sources_that_are_neither_path_nor_dataset_are_refused() -> None:
    sources: list[Any] = [3, None, ROWS]
    for source in sources:
        with pytest.raises(InputError, match=type(source).__name__):
            load_tasks(source)


def test_a_dataset_of_the_hub_is_loaded_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def load_dataset(*names: str) -> datasets.DatasetDict:
        asked.append(names)
        return datasets.DatasetDict({"train": dataset(ROWS)})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert load_tasks("hub:user/antonym") == {"antonym": Task.from_examples("antonym", EXAMPLES, seed=0)}
    assert load_task("hub:user/words:small", name="x", split_seed=3) == Task.from_examples("x", EXAMPLES, seed=3)
    assert asked == [("user/antonym",), ("user/words", "small")]


def test_a_dataset_that_the_hub_does_not_serve_is_an_error_of_one_line() -> None:
    with pytest.raises(TaskFileError) as refused:  # tests are offline
        load_tasks("hub:user/nothing")
    assert "\n" not in str(refused.value)


# Bad files: file and row are named


def test_files_that_are_not_there_or_of_other_formats_are_refused(tmp_path: Path) -> None:
    for name in ("nowhere", "nowhere.json", "x" * 300):
        with pytest.raises(TaskFileError, match="there are no tasks at"):
            load_tasks(tmp_path / name)
    for suffix in (".txt", ".xlsx", ".csv.gz", ""):
        (tmp_path / f"t{suffix}").write_text("[]")
        with pytest.raises(TaskFileError, match=r"is not one of \.json"):
            load_tasks(tmp_path / f"t{suffix}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TaskFileError, match="holds no task"):
        load_tasks(tmp_path / "empty")


def test_a_split_that_is_missing_empty_or_holds_a_bad_row_is_named(tmp_path: Path) -> None:
    for split in SPLITS:
        folder = write_folder(tmp_path / split / "antonym")
        (folder / f"{split}.json").unlink()
        for source in (folder, folder.parent):
            with pytest.raises(TaskFileError, match=f"no file of the {split} split"):
                load_tasks(source)
        for rows, place in (([], f"{split}.json is empty"), ([*ROWS[:2], {"input": "hot"}], f"{split}.json, row 3")):
            (folder / f"{split}.json").write_text(json.dumps(rows))
            with pytest.raises(TaskFileError, match=place):
                load_tasks(folder)


BAD_ROWS: list[Any] = [
    "hot", ["hot", "cold"], None, {}, {"Input": "a", "output": "b"}, {"input": None, "output": "b"},
    {"input": "a", "output": True}, {"input": "a", "output": {"text": "b"}}, {"input": ["a", "b"], "output": "b"},
    {"input": "a", "output": []}, {"input": "a", "output": ["b", None]}, {"input": "a", "output": [["b"]]},
    {"input": "a", "output": ""}, {"input": " \n", "output": "b"}, {"input": "a", "output": float("nan")},
    {"input": float("-inf"), "output": "b"}, {"input": "a\ud800", "output": "b"},
]  # fmt: skip
BAD_TABLES = {
    "input|output\na|b\nc|d|e\nf|g": "row 2", "input|output\na|b|c\nd|e|f\ng|h|i": "row 1",
    "input|output\na|b\nc\nd|e": "row 2", "input|output\na|b\n|c\nd|e": "row 2",
    "word|opposite\na|b\nc|d\ne|f": "'word', 'opposite'", 'input|output\nx|y\na|"b\nc|d\ne|f': "row 2",
    "input|output\na|b\n# more\nc|d\n": "row 2", 'input|output\na|"b"c\n': "quotation mark",
    "input|output|input\na|b|c\n": "two columns", "input|output\n": "0 rows", "": "0 rows",
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
    for missing in (None, float("nan")):
        path = write([*ROWS[:2], {"input": "x", "output": missing}], tmp_path / "t.parquet")
        with pytest.raises(TaskFileError, match="row 3: 'output'"):
            load_tasks(path)


def test_files_that_are_not_what_their_suffix_says_are_refused_by_name(tmp_path: Path) -> None:
    long = '[{"input": "a", "output": ' + "1" * 5000 + "}]"
    texts = ["", "[", "[{]", "{'input': 1}", '[{"input": "a", "output": "b"},]', "[" * 200_000, long]
    contents: dict[str, list[bytes]] = {
        ".json": [text.encode() for text in (*texts, '{"input": "a"}', '"text"', "null", "5", "[]")],
        ".jsonl": [f'{{"input": "a", "output": "b"}}\n\n{line}\n'.encode() for line in ("{", "[" * 200_000, "hot")],
        ".csv": ["input,output\na,b\n".encode("utf-16-le"), "input,output\nété,x\n".encode("latin-1")],
        ".parquet": [b"PAR1 but no more"],
    }
    for suffix, files in contents.items():
        for content in files:
            (tmp_path / f"t{suffix}").write_bytes(content)
            with pytest.raises(TaskFileError, match=rf"t\{suffix}") as refused:
                load_tasks(tmp_path / f"t{suffix}")
            assert "\n" not in str(refused.value)
    for suffix in WRITERS:
        with pytest.raises(TaskFileError, match=rf"t\{suffix}: task 't' has 2 rows"):
            load_tasks(write(ROWS[:2], tmp_path / f"t{suffix}"))


def test_two_tasks_of_one_name_are_refused_with_both_files(tmp_path: Path) -> None:
    for suffix in (".csv", ".json"):
        write(ROWS, tmp_path / f"antonym{suffix}")
    with pytest.raises(
        TaskFileError, match=r"two tasks are called 'antonym': .*antonym\.csv and .*antonym\.json; rename"
    ):
        load_tasks(tmp_path)


def test_an_unknown_name_is_refused_with_the_nearest(tmp_path: Path) -> None:
    write(ROWS, tmp_path / "antonym.csv")
    with pytest.raises(InputError, match=r"unknown task 'antonyms'; did you mean 'antonym'\?"):
        load_tasks(tmp_path, ["antonyms"])
    with pytest.raises(InputError, match=r"unknown task 'zzz'; known: .* and \d+ more"):
        load_tasks("demo", ["zzz"])


def test_several_tasks_are_not_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(ROWS, tmp_path / f"{name}.csv")
    with pytest.raises(InputError, match=r"holds 2 tasks; pick one with names=\[...\], or use load_tasks"):
        load_task(tmp_path)


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


@pytest.fixture(scope="module")
def tasks57(shared_data: Path) -> dict[str, Task]:
    return load_tasks(shared_data / "tasks57")


def test_all_45_shared_tasks_load(tasks57: dict[str, Task]) -> None:
    assert len(tasks57) == 45
    assert all(task.name == name for name, task in tasks57.items())


def test_the_audits_of_the_shared_tasks_count_the_known_defects(tasks57: dict[str, Task]) -> None:
    found: dict[str, tuple[int, ...]] = {}
    for name, task in tasks57.items():
        a = task.audit()
        counts = (a.test_in_train, a.test_in_valid, a.valid_in_train, a.conflicting_test, a.conflicting_inputs)
        found |= {name: (a.n_test, *counts)} if any(counts) else {}
    assert found == AUDITED


def test_the_splits_of_a_shared_task_are_those_of_its_files(tasks57: dict[str, Task], shared_data: Path) -> None:
    for name, task in tasks57.items():
        for split in SPLITS:
            rows = json.loads((shared_data / "tasks57" / name / f"{split}.json").read_text())
            assert [(row.input, row.outputs) for row in getattr(task, split)] == [
                (str(row["input"]), (str(row["output"]),)) for row in rows
            ]


def test_the_integer_outputs_of_word_length_are_text(tasks57: dict[str, Task]) -> None:
    assert {row.output for row in tasks57["word_length"].train} <= {str(n) for n in range(1, 30)}


def test_the_shared_tasks_of_one_file_load_and_are_split_as_in_the_paper(shared_data: Path) -> None:
    found = load_tasks(shared_data / "function_vectors_format")
    counts = {name: tuple(len(getattr(task, split)) for split in SPLITS) for name, task in found.items()}
    assert counts == {"antonym": (1678, 216, 504), "choose_first_of_3": (700, 90, 210), "word_length": (570, 73, 171)}
    for task in found.values():
        audit = task.audit()
        assert (audit.test_in_train, audit.conflicting_inputs, audit.duplicates) == (0, 0, 0)
