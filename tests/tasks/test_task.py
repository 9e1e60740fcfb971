from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from site_lens.records.errors import InputError
from site_lens.tasks.task import SPLITS, Example, Task, TaskAudit, few_rows, task_list
from tests.samples import laws

HOT, BIG, UP = Example("hot", ("cold",)), Example("big", ("small",)), Example("up", ("down",))
TINY = Task("tiny", (HOT,), (BIG,), (UP,))


def numbered(n: int) -> list[Example]:
    return [Example(f"in {i}", (f"out {i}",)) for i in range(n)]


def rows_of(task: Task) -> list[Example]:
    return [row for split in SPLITS for row in getattr(task, split)]


shares_of_all = st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20)).map(
    lambda parts: (parts[0] / sum(parts), parts[1] / sum(parts), parts[2] / sum(parts))
)


@laws
@given(st.lists(st.sampled_from(numbered(30)), min_size=10, max_size=300), st.integers(0, 2**32))
def test_splits_cover_all_rows_each_as_often_as_it_comes(rows: list[Example], seed: int) -> None:
    assert Counter(rows_of(Task.from_examples("planted", rows, seed=seed))) == Counter(rows)


@laws
@given(st.integers(100, 400), shares_of_all, st.integers(0, 2**32))
def test_splits_have_the_shares_asked_for(n: int, shares: tuple[float, float, float], seed: int) -> None:
    task = Task.from_examples("planted", numbered(n), shares=shares, seed=seed)
    for split, share in zip(SPLITS, shares, strict=True):
        assert abs(len(getattr(task, split)) - share * n) <= 1


def test_a_split_depends_on_its_seed_alone_and_has_the_shares_of_the_paper() -> None:
    splits = [Task.from_examples("planted", numbered(1000), seed=seed) for seed in range(10)]
    again = Task.from_examples("other name", iter(numbered(1000)), seed=3)
    assert (again.train, again.valid, again.test) == (splits[3].train, splits[3].valid, splits[3].test)
    assert len({task.digest for task in splits}) == 10
    assert [len(getattr(again, split)) for split in SPLITS] == [700, 90, 210]
    for n, shares in ((3, (0.2, 0.6, 0.2)), (10, (0.05, 0.9, 0.05)), (3, (0.01, 0.01, 0.98))):
        task = Task.from_examples("planted", numbered(n), shares=shares)
        assert min(len(task.train), len(task.valid), len(task.test)) == 1


def test_a_single_text_is_one_output_a_list_is_a_tuple_and_tasks_come_in_many_forms() -> None:
    one: Any = Example("hot", "cold")  # type: ignore[arg-type]
    several: Any = Example("hot", ["cold", "cool"])  # type: ignore[arg-type]
    assert (one, several) == (HOT, Example("hot", ("cold", "cool")))
    listed = Task("tiny", [one], (BIG,), (UP,))  # type: ignore[arg-type]
    assert (listed, listed.digest) == (TINY, TINY.digest)
    other = replace(TINY, name="other")
    assert task_list(TINY) == [TINY]
    assert task_list({"any": TINY, "key": other}) == task_list([TINY, other]) == task_list(iter((TINY, other)))


def test_the_digest_knows_name_rows_splits_and_order_but_not_the_family() -> None:
    variants = [
        TINY,
        Task("other", (HOT,), (BIG,), (UP,)),
        Task("tiny", (BIG,), (HOT,), (UP,)),
        Task("tiny", (HOT, BIG), (BIG,), (UP,)),
        Task("tiny", (BIG, HOT), (BIG,), (UP,)),
        Task("tiny", (Example("hot", ("cold", "cool")),), (BIG,), (UP,)),
    ]
    assert len({task.digest for task in variants}) == len(variants)
    assert Task("tiny", (HOT,), (BIG,), (UP,), family="lexical").digest == TINY.digest


def test_an_audit_counts_planted_leaks_conflicts_and_repetitions() -> None:
    task = Task(
        "planted",
        train=(Example("a", ("1",)), Example("a", ("1",)), Example("b", ("2",)), Example("c", ("3",))),
        valid=(Example("b", ("9",)), Example("v", ("1",)), Example("v", ("1",)), Example("v", ("1",))),
        test=(
            *(Example("a", ("1",)), Example("a", ("1",))),  # leak twice; one repeats the other
            Example("c", ("7",)),  # leaks, and contradicts train
            *(Example("d", ("1",)), Example("d", ("1", "8"))),  # contradict each other: other alternatives
        ),
    )
    assert task.audit() == TaskAudit(
        task="planted",
        n_train=4,
        n_valid=4,
        n_test=5,
        test_in_train=3,
        test_in_valid=0,
        valid_in_train=1,
        conflicting_test=3,
        conflicting_inputs=3,
        duplicates=1 + 2 + 1,
        majority_rate=0.8,
    )


def test_an_audit_sees_the_same_input_in_another_case_spacing_or_unicode_form() -> None:
    def row(x: str, y: str) -> Example:
        return Example(x, (y,))

    task = Task(
        "planted",
        train=(row("Monday", "Tuesday"), row("caf\u00e9", "x"), row("new york", "x"), row("alone", "x")),
        valid=(row("MONDAY", "TUESDAY"), row("other", "x"), row("sun", "moon")),
        test=(
            row("monday", "tuesday"),  # in train and valid, without a conflict: its output differs by case alone
            row("cafe\u0301", "y"),  # in train, in another Unicode form and with another output
            row(" New\u00a0 York ", "x"),
            *(row("sun", "Moon"), row("fresh", "x"), row("fresh", "z")),
        ),
    )
    audit = task.audit()
    assert (audit.test_in_train, audit.test_in_valid, audit.valid_in_train) == (3, 2, 1)
    assert audit.conflicting_test == 4  # caf\u00e9; sun, whose outputs differ letter by letter; fresh, twice
    assert audit.conflicting_inputs == 4  # the two forms of caf\u00e9, sun, fresh
    assert audit.duplicates == 0


def test_a_task_cut_to_some_labelled_rows_keeps_its_test_split() -> None:
    task = Task.from_examples("cut", numbered(100))
    cut = task.with_labelled(20, seed=3)
    assert (len(cut.train), len(cut.valid), cut.test) == (16, 4, task.test)
    assert set(cut.train) <= set(task.train)
    assert cut == task.with_labelled(20, seed=3) != task.with_labelled(20, seed=4)
    wrong: list[Any] = [90, "20", 20.5, None, -3, 0]
    for n_rows in wrong:
        with pytest.raises(InputError):
            task.with_labelled(n_rows, seed=0)


def test_tasks_with_few_rows_to_choose_or_judge_on_are_named() -> None:
    large = Task("large", tuple(numbered(40)), tuple(numbered(20)), tuple(numbered(30)))
    few_valid, few_test = replace(large, name="few valid", valid=(HOT,)), replace(large, name="few test", test=(HOT,))
    notes = few_rows([large, few_valid, few_test])
    assert len(notes) == 2 and "few valid (1)" in notes[0] and "few test (1)" in notes[1]
    assert not any("large (" in note for note in notes) and not few_rows([large])
