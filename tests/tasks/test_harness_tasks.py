"""Harness tasks become tasks: letter by letter, with the splits that the harness has."""

from pathlib import Path
from typing import Any

import pytest

import site_lens as sl
from site_lens.records.errors import InputError, TaskFileError, UnknownNameError
from site_lens.tasks.task import Example, Task
from tests.harness import SPLITS, WORDS, write_task

pytest.importorskip("lm_eval")

THREE = {"train": WORDS[:10], "validation": WORDS[10:14], "test": WORDS[14:]}


def example(row: dict[str, Any]) -> Example:
    return Example(f"Q: {row['word']}\nA:", (row["answer"],))


def load(path: Path, **options: Any) -> Task:
    return sl.load_task(f"lm_eval:{path}", **options)


def refused(path: Path | str) -> InputError:
    with pytest.raises(InputError) as info:
        sl.load_tasks(f"lm_eval:{path}")
    assert len(str(info.value).splitlines()) == 1, info.value
    return info.value


def test_three_splits_are_kept_as_they_are(tmp_path: Path) -> None:
    task = load(write_task(tmp_path, THREE))
    train, valid, test = (tuple(map(example, THREE[split])) for split in SPLITS.values())
    assert task == Task("words", train, valid, test)
    assert load(tmp_path / "task.yaml", name="other", split_seed=3) == Task("other", train, valid, test)


def test_test_is_what_the_harness_scores_and_the_rest_is_divided_by_a_seed(tmp_path: Path) -> None:
    first, second = WORDS[:13], WORDS[13:]
    for i, splits in enumerate([("train", "validation"), ("train", "test"), ("validation", "test")]):
        path = write_task(tmp_path / str(i), dict(zip(splits, (first, second), strict=True)))
        task = load(path)
        assert task.test == tuple(map(example, second)), splits
        assert sorted(task.train + task.valid, key=repr) == sorted(map(example, first), key=repr), splits
        assert len(task.valid) == 1  # 9 of 79
        assert load(path) == task != load(path, split_seed=1)
    single = write_task(tmp_path / "single", {"validation": WORDS})
    assert load(single, split_seed=2) == Task.from_examples("words", map(example, WORDS), seed=2)


def test_few_shot_rows_are_train_unless_they_are_another_split(tmp_path: Path) -> None:
    rows = {"dev": WORDS[:8], "validation": WORDS[8:12], "test": WORDS[12:]}
    task = load(write_task(tmp_path / "dev", rows, fewshot_split="dev"))
    assert (task.train, task.valid) == (tuple(map(example, WORDS[:8])), tuple(map(example, WORDS[8:12])))
    for name in ("fewshot_split", "training_split"):
        task = load(write_task(tmp_path / name, {"test": WORDS}, **{name: "test"}))
        assert not set(task.train) & set(task.test)
    task = load(write_task(tmp_path / "same", THREE, validation_split="test"))
    assert task.test == tuple(map(example, WORDS[14:]))
    assert set(task.train) | set(task.valid) == set(map(example, WORDS[:10]))


def test_targets_are_texts_indices_into_choices_or_lists_of_them(tmp_path: Path) -> None:
    rows = [row | {"one": "no", "all": [0, 1], "texts": ["a", "b"]} for row in WORDS]
    choices = ["no", "yes"]
    cases: list[tuple[dict[str, Any], list[tuple[str, ...]]]] = [
        ({"doc_to_target": "label", "doc_to_choice": choices}, [("no",), ("yes",)]),
        ({"doc_to_target": "{{label}}", "doc_to_choice": choices}, [("no",), ("yes",)]),
        ({"doc_to_target": "one", "doc_to_choice": choices}, [("no",), ("no",)]),
        ({"doc_to_target": "all", "doc_to_choice": choices}, [("no", "yes"), ("no", "yes")]),
        ({"doc_to_target": "texts", "output_type": "generate_until"}, [("a", "b"), ("a", "b")]),
        ({"doc_to_target": "label", "output_type": "generate_until"}, [("0",), ("1",)]),
        ({"doc_to_target": " {{answer}}", "output_type": "loglikelihood"}, [(" out 0",), (" out 1",)]),
        ({"doc_to_target": "label", "doc_to_choice": "{{[word, answer]}}"}, [("in 0",), ("out 1",)]),
    ]
    for i, (fields, expected) in enumerate(cases):
        task = load(write_task(tmp_path / str(i), {"train": rows[:4], "validation": rows, "test": rows}, **fields))
        assert [row.outputs for row in task.train[:2]] == expected, fields


def test_texts_are_kept_letter_by_letter_and_functions_beside_the_file_are_run(tmp_path: Path) -> None:
    (tmp_path / "shout.py").write_text("def text(doc):\n    return doc['word'].upper()\n")
    rows = [{"word": f"  été {i}\t", "answer": f"日本\n{i} שלום 🙂 "} for i in range(5)]
    path = write_task(tmp_path, {"test": rows}, doc_to_text=None, output_type="generate_until")
    path.write_text(path.read_text().replace("{", '{"doc_to_text": !function shout.text, ', 1))
    task = load(path)
    assert Example("  ÉTÉ 2\t", ("日本\n2 שלום 🙂 ",)) in (*task.train, *task.valid, *task.test)


def test_rows_without_an_answer_are_named(tmp_path: Path) -> None:
    with_choices = {"doc_to_choice": ["no", "yes"], "doc_to_target": "label"}
    cases: list[tuple[Any, dict[str, Any]]] = [
        ({"label": -1}, with_choices),
        ({"answer": "maybe"}, with_choices | {"doc_to_target": "answer"}),
        ({"answer": "  "}, {"output_type": "generate_until"}),
        ({"word": ""}, {"output_type": "generate_until", "doc_to_text": "word"}),
    ]
    for i, (change, fields) in enumerate(cases):
        rows = [row | {"answer": "no"} | (change if row is WORDS[2] else {}) for row in WORDS]
        error = refused(write_task(tmp_path / str(i), {"test": rows}, **fields))
        assert isinstance(error, TaskFileError) and "row 3" in str(error), error


def test_tasks_of_another_kind_are_refused_in_one_line(tmp_path: Path) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "image": {"doc_to_image": "word"},
        "perplexity": {"output_type": "loglikelihood_rolling"},
        "several inputs": {"doc_to_text": "label", "doc_to_choice": ["no", "yes"]},
        "no text": {"doc_to_text": None},
        "no target": {"doc_to_target": None, "output_type": "generate_until"},
        "no such field": {"doc_to_text": "{{gone}}"},
        "no such split": {"test_split": "gone"},
    }
    for kind, fields in kinds.items():
        refused(write_task(tmp_path / kind, THREE, **fields))
    refused(write_task(tmp_path / "train alone", {"train": WORDS}))
    refused(write_task(tmp_path / "two rows", {"test": WORDS[:2]}))
    refused(write_task(tmp_path / "one row", {"train": WORDS[:1], "test": WORDS}))


def test_files_that_are_no_task_are_refused_in_one_line(tmp_path: Path) -> None:
    path, bad = write_task(tmp_path, THREE), tmp_path / "bad.yaml"
    bad.write_text("group: several\ntask:\n  - words\n")
    assert "group" in str(refused(bad))
    for text in ("", "[1, 2]", "task: [", "a: 1"):
        bad.write_text(text)
        assert isinstance(refused(bad), TaskFileError), text
    assert str(path) in str(refused(tmp_path / "tusk.yaml"))
    with sl.reading_limits(sl.Limits(task_rows=5)):
        assert isinstance(refused(path), TaskFileError)


@pytest.mark.slow  # the harness reads the files of its 14,000 tasks
def test_registered_tasks_go_by_their_names_and_groups_are_refused() -> None:
    assert isinstance(refused("arc_eazy"), UnknownNameError) and "arc_easy" in str(refused("arc_eazy"))
    for group in ("mmlu", "ai2_arc"):
        error = refused(group)
        assert "group" in str(error) and not isinstance(error, UnknownNameError)
    assert isinstance(refused("arc_easy"), TaskFileError)  # its data set is on the hub, which tests do not reach
