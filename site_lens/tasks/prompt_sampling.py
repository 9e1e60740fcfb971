"""Prompt sampling: demonstrations and queries of prompts, drawn from a stream that the caller passes."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import ArrayLike, NDArray

from site_lens.records.errors import InputError
from site_lens.records.hashing import digest_json, seed_stream
from site_lens.tasks.prompt_template import Prompt, PromptTemplate
from site_lens.tasks.task import Example, Task, task_list

MAX_QUERIES = 200
"""Test rows that a task is asked by default, a sample: enough to know an accuracy to .07 or better."""


@dataclass(frozen=True, slots=True)
class PromptSet:
    """Prompts, and the rows of train that they are made of."""

    prompts: tuple[Prompt, ...]
    labelled_rows: frozenset[int]
    queried_rows: frozenset[int] = frozenset()
    """Rows that the prompts ask for, whose labels they do not show; empty where the caller brought the queries."""
    rows: tuple[tuple[int, ...], ...] = ()
    """Rows of train of each prompt, demonstrations in order and the query last; empty where queries are of no train."""


def sample_tasks(tasks: Iterable[Task], n_tasks: int, *, seed: int) -> dict[str, Task]:
    """Draw tasks evenly over the families, blindly: by seed alone, never by any result.

    Args:
        tasks: The tasks to draw from.
        n_tasks: How many to draw.
        seed: Seed of the draw.

    Raises:
        InputError: There are fewer tasks than that.
    """
    stream = seed_stream(seed, "sample of tasks")
    families: dict[str | None, list[Task]] = {}
    for task in task_list(tasks):
        families.setdefault(task.family, []).append(task)
    shuffled = [[members[i] for i in stream.permutation(len(members))] for members in families.values()]
    rounds = [task for layer in zip_longest(*shuffled) for task in layer if task is not None]
    if not isinstance(n_tasks, int) or not 1 <= n_tasks <= len(rounds):
        raise InputError(f"cannot draw {n_tasks!r:.60} of {len(rounds)} tasks")
    return {task.name: task for task in rounds[:n_tasks]}


def sample_rows(rows: Sequence[Example], n: int | None) -> list[int]:
    """Sample the indices of n rows of a split, in rising order; all of them when n is None or there are no more.

    Files are often sorted, so the first rows are no sample. The draw depends on the content of the rows and on
    nothing else: all methods, seeds and studies ask the same rows, and a smaller sample is part of a larger one.
    """
    if n is None or n >= len(rows):
        return list(range(len(rows)))
    stream = seed_stream("sample of rows", digest_json([asdict(row) for row in rows]))
    return sorted(stream.permutation(len(rows))[:n].tolist())


def sampled(rows: Sequence[Example], n: int | None) -> tuple[Example, ...]:
    """Return the rows of `sample_rows`."""
    return tuple(rows[i] for i in sample_rows(rows, n))


def zero_shot_prompts(examples: Sequence[Example], template: PromptTemplate) -> tuple[Prompt, ...]:
    """Render every example as a query without demonstrations."""
    return tuple(template.render([], example) for example in examples)


def embedding_prompts(
    task: Task,
    template: PromptTemplate,
    *,
    n_prompts: int,
    n_shots: int,
    stream: np.random.Generator,
    shuffled: bool = False,
) -> PromptSet:
    """Draw the few-shot prompts of a task embedding: each shows n_shots rows of train and asks one more.

    Args:
        task: The task.
        template: How examples become text.
        n_prompts: Prompts to draw.
        n_shots: Demonstrations of each.
        stream: Source of the draws; the rows drawn do not depend on `shuffled`.
        shuffled: Permute the outputs among the demonstrations of a prompt, which leaves its form and takes the mapping.

    Reference: Soft_Injection; the n_shots + 1 rows of a prompt are distinct, prompts are drawn independently. Shuffled
    labels: Todd et al., arXiv 2310.15213, section 2.3.
    """
    need_rows(task, len(task.train) - 1, n_shots)
    drawn = [stream.choice(len(task.train), n_shots + 1, replace=False).tolist() for _ in range(n_prompts)]
    return _of_rows(task, template, drawn, shuffle=stream if shuffled else None)


def prompts_of_rows(task: Task, template: PromptTemplate, rows: Sequence[Sequence[int]]) -> PromptSet:
    """Render few-shot prompts of given rows of train, demonstrations in order and the query last.

    Raises:
        InputError: There is no prompt, prompts differ in length, or a row is not one of train.
    """
    drawn = as_rows(task, rows, "prompt_rows", "(prompt row)")
    if drawn.shape[1] < 1 or drawn.min(initial=0) < 0:
        raise InputError(f"prompt_rows of {task.name!r} need a query at least, and no row below 0")
    return _of_rows(task, template, drawn.tolist())


def _of_rows(
    task: Task, template: PromptTemplate, drawn: list[list[int]], shuffle: np.random.Generator | None = None
) -> PromptSet:
    """Render a prompt of each list of train rows, the query last; `shuffle` permutes the answers of the others."""
    prompts = []
    for *shots, query in drawn:
        shown = [task.train[i] for i in shots]
        prompts.append(template.render(with_shuffled_answers(shown, shuffle) if shuffle else shown, task.train[query]))
    shown_rows = frozenset(i for *shots, _ in drawn for i in shots)
    return PromptSet(tuple(prompts), shown_rows, frozenset(query for *_, query in drawn), tuple(map(tuple, drawn)))


def as_rows(task: Task, rows: ArrayLike, what: str, axes: str) -> NDArray[np.int64]:
    """Turn indices of train rows into an array of two axes, -1 where no row is meant.

    Raises:
        InputError: They are no whole numbers, have other axes, or name a row that train does not have.
    """
    try:
        given = np.asarray(rows)
        with np.errstate(invalid="ignore"):  # what is not finite is no whole number, which is said below
            whole = given.astype(np.int64)
    except (TypeError, ValueError):
        given = whole = np.zeros(0, dtype=np.int64)
    if given.ndim != 2 or not given.size or given.dtype.kind not in "iuf" or not (given == whole).all():
        raise InputError(f"{what} of {task.name!r} must be whole numbers with axes {axes}, got {str(rows):.80}")
    if whole.min() < -1 or whole.max() >= len(task.train):
        raise InputError(
            f"{what} of {task.name!r} must be rows of train, 0 to {len(task.train) - 1}, got {whole.min()} to "
            f"{whole.max()}"
        )
    return whole


def prompts_of_embedding(
    task: Task, template: PromptTemplate, *, n_prompts: int, n_shots: int, seed: int, shuffled: bool = False
) -> PromptSet:
    """Draw the prompts that a task's embedding is made of; every method that averages over them shares them."""
    stream = seed_stream(seed, task.digest, "embedding", n_shots)
    return embedding_prompts(task, template, n_prompts=n_prompts, n_shots=n_shots, stream=stream, shuffled=shuffled)


def with_shuffled_answers(examples: Sequence[Example], stream: np.random.Generator) -> list[Example]:
    """Permute the answers among examples."""
    order = stream.permutation(len(examples))
    return [Example(row.input, examples[i].outputs) for row, i in zip(examples, order, strict=True)]


def few_shot_prompts(
    task: Task,
    queries: Sequence[Example],
    template: PromptTemplate,
    *,
    n_shots: int,
    stream: np.random.Generator,
    shuffle: np.random.Generator | None = None,
    set_of: Sequence[int] = (),
) -> PromptSet:
    """Put n_shots rows of train before every query: drawn anew for each, or one set for all queries of a set.

    A row with the query's own input is never shown: it would give the answer away, and gives way to another one. With
    `shuffle` the same rows are shown with their outputs permuted among them.

    Args:
        task: The task.
        queries: The queries.
        template: How examples become text.
        n_shots: Demonstrations of each prompt.
        stream: Source of the draws.
        shuffle: Source of the permutations.
        set_of: Set of demonstrations of each query, see `assign_sets`; drawn anew for each query when empty.
    """
    prompts, labelled = [], set()
    need_rows(task, len(task.train), n_shots)
    numbers = sorted(set(set_of)) if n_shots else []
    sets = {number: stream.choice(len(task.train), n_shots, replace=False).tolist() for number in numbers}
    for place, query in enumerate(queries):
        allowed = [i for i, row in enumerate(task.train) if row.input != query.input]
        need_rows(task, len(allowed), n_shots)
        if sets:
            shots = sets[set_of[place]]
            spare = iter(stream.permutation([i for i in allowed if i not in shots]).tolist())
            shots = [i if task.train[i].input != query.input else next(spare) for i in shots]
        else:
            shots = [allowed[i] for i in stream.choice(len(allowed), n_shots, replace=False)]
        shown = [task.train[i] for i in shots]
        prompts.append(template.render(with_shuffled_answers(shown, shuffle) if shuffle else shown, query))
        labelled.update(shots)
    return PromptSet(tuple(prompts), frozenset(labelled))


def assign_sets(n_queries: int, n_sets: int, stream: np.random.Generator) -> tuple[int, ...]:
    """Assign queries to sets of demonstrations at random, so that sets have as many queries as each other, or one less.

    Returns:
        The set of each query, from 0; nothing where `n_sets` is 0.
    """
    return tuple((stream.permutation(n_queries) % n_sets).tolist()) if n_sets else ()


def need_rows(task: Task, n_rows: int, n_shots: int) -> None:
    """Raise InputError unless `n_rows` rows, those that may stand beside a query, are enough for `n_shots`."""
    if n_rows < n_shots:
        raise InputError(
            f"task {task.name!r} has {len(task.train)} train rows, too few for {n_shots}-shot prompts: only "
            f"{max(n_rows, 0)} may be shown beside a query; add rows, or lower n_shots and n_eval_shots"
        )
