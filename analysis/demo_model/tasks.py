"""The demo tasks: what the demo model was trained on, as tasks whose splits share no input."""

import random
from collections.abc import Sequence

from analysis.demo_model.lexical_rules import Pairs, lexical_pairs
from analysis.demo_model.list_rules import ListRule, list_rules
from analysis.demo_model.words import Pair
from site_lens.tasks.task import Example, Task

MIN_TRAIN = 24
"""Rows of train that a task needs: 10-shot prompts from fewer would be too much alike."""
MIN_TEST = 20
"""Rows of test that a task needs: an accuracy on fewer would say too little."""
N_LIST_TRAIN, N_LIST_VALID, N_LIST_TEST = 160, 40, 100


def build_demo_tasks() -> tuple[Task, ...]:
    """Build all demo tasks, family by family.

    Every draw depends on the name of its task alone, so a new task changes no other one.
    """
    lexical, lists = lexical_pairs(), list_rules()
    tasks = []
    for family in dict.fromkeys([*lexical, *lists]):
        for name, pairs in lexical.get(family, {}).items():
            if _is_usable(pairs):
                tasks.append(_lexical_task(name, family, pairs))
        tasks += [_list_task(name, family, rule) for name, rule in lists.get(family, {}).items()]
    return tuple(tasks)


def _lexical_sizes(n_rows: int) -> tuple[int, int, int]:
    """Split a number of rows 60/10/30 into train, valid and test; test is rounded up and valid down."""
    n_valid, n_test = n_rows // 10, -(-3 * n_rows // 10)
    return n_rows - n_valid - n_test, n_valid, n_test


def _is_usable(pairs: Pairs) -> bool:
    """Tell whether a rule has rows enough for a task."""
    n_train, _, n_test = _lexical_sizes(len(pairs))
    return n_train >= MIN_TRAIN and n_test >= MIN_TEST


def _lexical_task(name: str, family: str, pairs: Pairs) -> Task:
    """Split the rows of a rule at random."""
    rows = random.Random(name).sample(pairs, len(pairs))
    return _task(name, family, rows, _lexical_sizes(len(rows)))


def _list_task(name: str, family: str, rule: ListRule) -> Task:
    """Draw lists until there are enough different ones."""
    rng = random.Random(name)
    sizes = (N_LIST_TRAIN, N_LIST_VALID, N_LIST_TEST)
    drawn: dict[str, str] = {}
    while len(drawn) < sum(sizes):
        words, answer = rule(rng)
        drawn.setdefault(", ".join(words), answer)
    return _task(name, family, list(drawn.items()), sizes)


def _task(name: str, family: str, rows: Sequence[Pair], sizes: tuple[int, int, int]) -> Task:
    examples = tuple(Example(x, (y,)) for x, y in rows)
    n_train, n_valid, _ = sizes
    valid_end = n_train + n_valid
    return Task(name, examples[:n_train], examples[n_train:valid_end], examples[valid_end:], family)
