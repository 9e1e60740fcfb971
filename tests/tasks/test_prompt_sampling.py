import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import site_lens as sl
from site_lens.records.hashing import seed_stream
from site_lens.tasks.prompt_sampling import assign_sets, embedding_prompts, few_shot_prompts, sample_rows, sampled
from tests.samples import laws

TEMPLATE = sl.PromptTemplate()


def task_of(name: str = "planted", *, n_train: int = 12, family: str | None = None) -> sl.Task:
    """A task whose row i asks "in i" and answers "out i", so that a prompt tells which rows it shows."""
    rows = [sl.Example(f"in {i}", (f"out {i}",)) for i in range(n_train + 4)]
    return sl.Task(name, tuple(rows[:n_train]), tuple(rows[n_train : n_train + 1]), tuple(rows[n_train + 1 :]), family)


def rows_shown(text: str) -> tuple[list[int], int]:
    """The rows that a prompt answers, and the one that it asks."""
    *shots, query = [int(part.split("\n")[0]) for part in text.split("Q: in ")[1:]]
    return shots, query


@laws
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(0, 11))
def test_embedding_prompts_show_distinct_rows_of_train_and_ask_another(seed: int, n_prompts: int, n_shots: int) -> None:
    task = task_of()
    drawn = embedding_prompts(task, TEMPLATE, n_prompts=n_prompts, n_shots=n_shots, stream=seed_stream(seed))
    assert len(drawn.prompts) == n_prompts
    labelled = set()
    for prompt in drawn.prompts:
        shots, query = rows_shown(prompt.text)
        assert len({*shots, query}) == n_shots + 1
        assert max([*shots, query]) < len(task.train)
        assert prompt.answer == f" out {query}"
        labelled |= set(shots)
    assert drawn.labelled_rows == labelled


@laws
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 10))
def test_queries_of_a_set_show_the_same_rows_but_never_their_own(seed: int, n_sets: int, n_shots: int) -> None:
    task, stream = task_of(), seed_stream(seed)
    queries = (*task.train, *task.test)
    sets = assign_sets(len(queries), n_sets, stream)
    assert np.ptp(np.bincount(sets, minlength=n_sets)) <= 1
    drawn = few_shot_prompts(task, queries, TEMPLATE, n_shots=n_shots, stream=stream, set_of=sets)
    shown_by_set: dict[int, list[list[int]]] = {}
    for of, prompt in zip(sets, drawn.prompts, strict=True):
        shots, query = rows_shown(prompt.text)
        assert len(set(shots)) == n_shots and query not in shots
        shown_by_set.setdefault(of, []).append(shots)
    for shown in shown_by_set.values():
        # A query among them gave way to another row: two prompts differ in two places at most.
        assert all(sum(a != b for a, b in zip(shown[0], one, strict=True)) <= 2 for one in shown)


@laws
@given(st.integers(0, 10**6), st.integers(0, 11))
def test_few_shot_prompts_ask_every_query_once_and_in_order(seed: int, n_shots: int) -> None:
    task = task_of()
    queries = (*task.test, *task.train[:3])
    drawn = few_shot_prompts(task, queries, TEMPLATE, n_shots=n_shots, stream=seed_stream(seed))
    shown = [rows_shown(prompt.text) for prompt in drawn.prompts]
    assert [query for _, query in shown] == [13, 14, 15, 0, 1, 2]
    assert all(len(set(shots)) == n_shots for shots, _ in shown)
    assert all(query not in shots for shots, query in shown)
    assert drawn.labelled_rows == {row for shots, _ in shown for row in shots}


def test_no_row_with_the_querys_own_input_is_shown() -> None:
    rows = tuple(sl.Example(f"in {i % 2}", (f"out {i}",)) for i in range(12))
    task = sl.Task("planted", rows, rows[:1], rows[:1])
    drawn = few_shot_prompts(task, task.test, TEMPLATE, n_shots=6, stream=seed_stream(0))
    assert rows_shown(drawn.prompts[0].text) == ([1] * 6, 0)
    assert drawn.labelled_rows == {1, 3, 5, 7, 9, 11}


def test_draws_depend_on_their_stream_alone_and_a_longer_one_begins_with_a_shorter_one() -> None:
    def draw(n: int, *parts: object) -> tuple[sl.Prompt, ...]:
        return embedding_prompts(task_of(), TEMPLATE, n_prompts=n, n_shots=3, stream=seed_stream(*parts)).prompts

    first = draw(5, 0, "embedding")
    assert draw(9, 0, "embedding")[:5] == draw(5, 0, "embedding") == first
    assert first not in (draw(5, 1, "embedding"), draw(5, 0, "evaluation"))


def test_too_few_rows_are_refused_with_both_numbers() -> None:
    said, task = "has 10 train rows, too few for 10-shot prompts: only 9 may be shown", task_of(n_train=10)
    with pytest.raises(sl.InputError, match=said):
        embedding_prompts(task, TEMPLATE, n_prompts=1, n_shots=10, stream=seed_stream(0))
    few_shot_prompts(task, task.test, TEMPLATE, n_shots=10, stream=seed_stream(0))
    with pytest.raises(sl.InputError, match=said):
        few_shot_prompts(task, task.train, TEMPLATE, n_shots=10, stream=seed_stream(0))


FAMILIES = {"lexical": 5, "list": 2, "number": 9}
TASKS = [task_of(f"{family} {i}", family=family) for family, n in FAMILIES.items() for i in range(n)]


@laws
@given(st.integers(0, 10**6), st.integers(1, len(TASKS)))
def test_tasks_are_drawn_evenly_over_the_families(seed: int, n_tasks: int) -> None:
    drawn = sl.sample_tasks(TASKS, n_tasks, seed=seed)
    assert len(drawn) == n_tasks
    assert all(drawn[name].name == name for name in drawn)
    counts = {family: sum(task.family == family for task in drawn.values()) for family in FAMILIES}
    short = [family for family, n in counts.items() if n < FAMILIES[family]]  # those that still have tasks to give
    assert not short or max(counts.values()) - min(counts[family] for family in short) <= 1


def test_the_draw_of_tasks_depends_on_the_seed_and_not_on_what_the_tasks_hold() -> None:
    longer = [task_of(task.name, n_train=20, family=task.family) for task in TASKS]
    assert list(sl.sample_tasks(TASKS, 6, seed=3)) == list(sl.sample_tasks(longer, 6, seed=3))
    assert len({tuple(sl.sample_tasks(TASKS, 6, seed=seed)) for seed in range(20)}) > 15
    for n_tasks in (0, len(TASKS) + 1):
        with pytest.raises(sl.InputError):
            sl.sample_tasks(TASKS, n_tasks, seed=0)


def test_a_sample_of_rows_is_drawn_by_their_content_and_a_smaller_one_is_part_of_it() -> None:
    rows = [sl.Example(f"word {i}", ("a" if i < 150 else "b",)) for i in range(200)]  # sorted by answer
    found = sample_rows(rows, 60)
    assert found == sample_rows(list(rows), 60) == sorted(set(found))
    assert len(found) == 60
    assert 6 <= sum(rows[i].output == "b" for i in found) <= 25  # a quarter of 60, give or take three deviations
    assert set(sample_rows(rows, 10)) < set(sample_rows(rows, 20)) < set(found)
    assert sample_rows([*rows, sl.Example("more", ("a",))], 60) != found
    for n in (200, 500, None):
        assert sample_rows(rows, n) == list(range(200))
    assert sampled(rows, 3) == tuple(rows[i] for i in sample_rows(rows, 3))
