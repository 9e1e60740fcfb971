"""Plain prompting: no demonstrations, as many as SITE's prompts show, or as many as fit."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from site_lens.activations.generation import answer_room
from site_lens.methods.method import Method, prompting
from site_lens.models.tokenization import Encoder
from site_lens.records.errors import InputError
from site_lens.selectors.context import ComparisonContext
from site_lens.tasks.prompt_template import PromptTemplate
from site_lens.tasks.task import Example, Task

MANY = 50
"""Demonstrations of many-shot prompting at most: as many rows as SITE's default embedding averages prompts."""


def zero_shot(context: ComparisonContext, task: str) -> Method:
    """Ask the bare query."""
    return prompting(0)


def few_shot(context: ComparisonContext, task: str) -> Method:
    """Show N demonstrations, drawn anew for each query; shown as `ten_shot` where N is 10."""
    return prompting(context.config.n_shots)


def many_shot(context: ComparisonContext, task: str) -> Method:
    """Show as many demonstrations as the context, the train rows and a cap of 50 allow.

    The context must hold the longest test query behind the longest demonstrations, so that every draw fits.

    Raises:
        InputError: Not even one demonstration fits.
    """
    of_task, template, encoder = context.tasks[task], context.config.template, context.model.encoder
    bounds = {
        "the cap": MANY,
        "the train rows": _rows_to_show(of_task),
        "the context": _fitting(of_task, template, encoder),
    }
    limit = min(bounds, key=lambda name: bounds[name])
    n_shots = bounds[limit]
    if n_shots < 1:
        raise InputError(f"task {task!r} has no room for a demonstration, by the bound of {limit}; leave many_shot out")
    note = f"many_shot shows {n_shots} demonstrations of {task!r}; the bound is {limit}"
    return replace(prompting(n_shots), kind="many_shot", notes=(note,))


def _rows_to_show(task: Task) -> int:
    """Count the train rows that may stand beside any test query: a row with the query's own input is never shown."""
    repeats = Counter(row.input for row in task.train)
    return len(task.train) - max(repeats[query.input] for query in task.test)


def _fitting(task: Task, template: PromptTemplate, encoder: Encoder) -> int:
    """Return how many of the longest demonstrations, up to the cap, the context holds before the longest query."""

    def n_tokens(shots: Sequence[Example], query: Example) -> int:
        # The encoder itself refuses what is too long; here too long is an answer.
        text = template.render(shots, query).text
        return len(encoder.begin) + len(encoder.tokenizer(text, add_special_tokens=False).input_ids)

    query = max(task.test, key=lambda row: n_tokens([], row))
    shots = sorted(task.train, key=lambda row: -n_tokens([row], query))[:MANY]
    budget = encoder.n_ctx - answer_room(encoder, [template.render([], row) for row in task.test])
    return bisect_right(range(1, len(shots) + 1), budget, key=lambda n: n_tokens(shots[:n], query))
