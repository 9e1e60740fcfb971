"""Section of examples: what the model says to some queries under each method, and one whole prompt."""

from collections.abc import Iterable
from typing import Any

from site_lens.methods.evaluation import Evaluation
from site_lens.report.headline import plain_names

N_EXAMPLES = 6
"""Queries of each task that are shown: the first of the random sample that was asked."""


def examples(evaluations: Iterable[Evaluation]) -> list[dict[str, Any]]:
    """Return the examples of every task whose answers were kept."""
    return [_of(evaluation) for evaluation in evaluations if evaluation.answers]


def _of(evaluation: Evaluation) -> dict[str, Any]:
    """Return answers to some queries of one task.

    A row is a query, the expected answer, and of each method its answer and whether it counts as right. Methods are
    named in plain words.
    """
    names = plain_names(evaluation.reference, evaluation.n_shots, "chosen heads")
    methods = [name for name in names if name in evaluation.methods]
    places = [evaluation.methods.index(name) for name in methods]
    rows = [
        (query, target, [(evaluation.answers[place][i], bool(evaluation.answers_right[place, i])) for place in places])
        for i, query, target in zip(range(N_EXAMPLES), evaluation.queries, evaluation.targets, strict=False)
    ]
    shown = {"methods": [names[name] for name in methods], "rows": rows}
    return shown | {"task": evaluation.task, "prompt": evaluation.prompt, "n_shots": evaluation.n_shots}
