"""What a sweep would take: jobs, tokens and steps, and time where the store has timed such jobs before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from site_lens.records.errors import StorageError
from site_lens.records.hashing import digest_json
from site_lens.sweeps.jobs import SweepJob
from site_lens.sweeps.store import RunStore
from site_lens.tasks.prompt_template import PromptTemplate
from site_lens.tasks.task import SPLITS, Task

LETTERS_A_TOKEN = 4
"""A usual ratio for English text; without the tokenizer tokens can only be guessed."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What the jobs of one model, template and config would take."""

    model: str
    template: str
    config: str
    n_jobs: int
    n_stored: int
    prompt_tokens: float
    """Tokens of whole prompts that are missing, by the number of their letters: embeddings, queries, evaluation."""
    step_tokens: int
    """Queries of optimiser steps that are missing, one token each, forward and backward."""
    seconds: float | None
    """Time for what is missing on one worker, by the median of such jobs in the store; None where there are none."""


def estimate_cost(jobs: Sequence[SweepJob], store: RunStore | None) -> list[Cost]:
    """Estimate what is missing, a row for each model, template and config.

    Args:
        jobs: The jobs of a sweep.
        store: Where results are kept; None where there is no store yet.
    """
    groups: dict[tuple[str, str, str], list[SweepJob]] = {}
    for job in jobs:
        groups.setdefault((job.model.label, job.template.name, job.config.name), []).append(job)
    timed = {} if store is None else _timed(store)
    rows = []
    for (model, template, config), members in groups.items():
        missing = [job for job in members if store is None or not store.has(job.key)]
        seconds = timed.get(_kind(members[0].parts))
        rows.append(
            Cost(
                model=model,
                template=template,
                config=config,
                n_jobs=len(members),
                n_stored=len(members) - len(missing),
                prompt_tokens=sum(prompt_tokens(job) for job in missing),
                step_tokens=sum(step_tokens(job) for job in missing),
                seconds=None if seconds is None else seconds * len(missing),
            )
        )
    return rows


def prompt_tokens(job: SweepJob) -> float:
    """Guess the tokens of all whole prompts of a job: of the embedding, of training and validation, of evaluation."""
    config, task = job.config.config, job.task
    n_test = min(len(task.test), job.evaluation.max_queries or len(task.test))
    n_asked = min(config.n_queries or len(task.train), config.n_steps * config.batch_size, len(task.train))
    n_asked += min(config.n_valid, len(task.valid))
    n_examples = (
        config.n_prompts * (config.n_shots + 1)
        + n_asked * (1 + len(job.controls))  # of one batch they are shared; this is the most there can be
        + n_test * (1 + job.evaluation.n_shots + 1)
    )
    return n_examples * _example_tokens(task, job.template.template)


def step_tokens(job: SweepJob) -> int:
    """Count the queries that the optimiser asks, one token each: of the fit and of its controls."""
    config = job.config.config
    return config.n_steps * config.batch_size * (1 + len(job.controls))


def _example_tokens(task: Task, template: PromptTemplate) -> float:
    rows = [row for split in SPLITS for row in getattr(task, split)]
    shown = (
        template.query_text(row.input) + template.answer_text(row.output) + template.output_separator for row in rows
    )
    return sum(map(len, shown)) / len(rows) / LETTERS_A_TOKEN


def _kind(parts: Mapping[str, Any]) -> str:
    """What jobs have in common that take about the same time: everything but the task and the seed."""
    config = parts.get("config")
    unseeded = config | {"seed": 0} if isinstance(config, dict) else config  # a store may come from somebody else
    return digest_json([{k: v for k, v in parts.items() if k not in ("task", "config")}, unseeded])


def _timed(store: RunStore) -> dict[str, float]:
    """Median seconds of the jobs in the store, by kind."""
    seconds: dict[str, list[float]] = {}
    for key in store.stored_keys():
        try:
            kept = store.stored(key)
        except StorageError:
            continue  # a damaged result tells no time; the sweep sets it aside
        seconds.setdefault(_kind(kept.made_from), []).append(kept.seconds)
    return {kind: median(found) for kind, found in seconds.items()}
