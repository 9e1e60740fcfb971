"""Measuring of studies: the fit of each task, its test queries, and one measurement a task with checkpoints."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from site_lens.activations.cached_queries import Answers, CachedQueries
from site_lens.methods.method import use_notes
from site_lens.models.base import LensModel
from site_lens.models.identity import library_versions
from site_lens.records.base import Float32, Record, array_axes
from site_lens.records.hashing import seed_stream
from site_lens.records.progress import progress_bar
from site_lens.site.fit import SiteFit, SiteFits
from site_lens.studies.base import asked_queries, stack
from site_lens.studies.cache import Arrays, StudyCache
from site_lens.tasks.prompt_sampling import few_shot_prompts, sampled, zero_shot_prompts
from site_lens.tasks.prompt_template import Prompt, PromptTemplate
from site_lens.tasks.task import Task


def first_fits(
    model: LensModel, tasks: Sequence[Task], fits: SiteFits, *, hard: bool = False
) -> tuple[list[SiteFit], tuple[str, ...]]:
    """Return the fit with the lowest seed of each task, and notes on their use with this model and these tasks.

    With `hard` alphas are rounded at 0.5.

    Raises:
        InputError: A task has no fit.
        MismatchError: A fit belongs to another model.
    """
    first, notes = [], dict[str, None]()
    for task in tasks:
        first.append(fits.first(task.name))
        notes |= dict.fromkeys(use_notes(model, task, first[-1]))
    if not hard:
        return first, tuple(notes)
    return [fit.replace(gates=fit.gates.hard()) for fit in first], (*notes, *nothing_to_round(first))


def nothing_to_round(fits: Iterable[SiteFit]) -> tuple[str, ...]:
    """Return a note on the fits that kept their start: rounding closes, or opens, all of their heads."""
    tasks = [fit.task for fit in fits if fit.gates.is_flat and fit.gates.undecided(0, 1)]
    return (f"rounded alphas of {', '.join(tasks)} mean nothing: all alphas of the fit are alike",) if tasks else ()


def common_fields(
    model: LensModel, tasks: Sequence[Task], fits: Sequence[SiteFit] = (), notes: Sequence[str] = (), n_queries: int = 0
) -> dict[str, Any]:
    """Return the fields that most records of studies have: tasks, queries asked, digests of fits, model, notes."""
    fields: dict[str, Any] = {"model": model.identity, "versions": library_versions(), "notes": tuple(notes)}
    if fits:
        fields["fit_digests"] = tuple(fit.digest for fit in fits)
    if n_queries:
        fields["asked"] = asked_queries([min(n_queries, len(task.test)) for task in tasks])
    return fields | {"tasks": tuple(task.name for task in tasks)}


def measure_tasks(
    record: type[Record],
    tasks: Sequence[Task],
    measure: Callable[[int], Arrays],
    *,
    cache: StudyCache | None = None,
    keys: Sequence[str] = (),
    progress: bool | None = None,
) -> dict[str, Float32]:
    """Measure task by task, and stack the arrays along the record's axis of tasks.

    Args:
        record: Class of the record, whose fields the arrays are.
        tasks: The tasks.
        measure: Measures the task of an index; its arrays lack the axis of tasks.
        cache: Cache of what was measured, task by task.
        keys: Name of each task in the cache; digests of the tasks when empty.
        progress: Show a progress bar; on a terminal and in notebooks only when None.

    Returns:
        Arrays as the record has them, with 0 where a task has fewer queries than others.
    """
    cache, parts = cache or StudyCache(None), []
    with progress_bar(len(tasks), record.kind.replace("_", " "), unit="task", progress=progress) as bar:
        for i, task in enumerate(tasks):
            parts.append(cache.arrays(keys[i] if keys else task.digest, lambda i=i: measure(i)))  # type: ignore[misc]
            bar.update()
    axes = array_axes(record)
    along = {name: next(i for i, axis in enumerate(axes[name]) if axis in ("task", "target")) for name in parts[0]}
    return {name: stack([part[name] for part in parts], axis) for name, axis in along.items()}


def zero_shot_queries(model: LensModel, task: Task, n_queries: int, template: PromptTemplate) -> CachedQueries:
    """Cache the sample of a task's test rows that `evaluate` takes, without demonstrations."""
    return CachedQueries(model, zero_shot_prompts(sampled(task.test, n_queries), template))


def evaluation_prompts(
    task: Task, n_queries: int, template: PromptTemplate, *, n_shots: int, seed: int, shuffled: bool = False
) -> tuple[Prompt, ...]:
    """Return few-shot prompts with demonstrations of their own for each query, as `evaluate(n_sets=0)` asks them.

    With `shuffled` their labels are permuted.
    """
    stream = seed_stream(seed, task.digest, "evaluation", n_shots)
    shuffle = seed_stream(seed, task.digest, "interchange", n_shots) if shuffled else None
    queries = sampled(task.test, n_queries)
    return few_shot_prompts(task, queries, template, n_shots=n_shots, stream=stream, shuffle=shuffle).prompts


def answer_arrays(answers: Answers) -> tuple[Float32, Float32]:
    """Return right answers and log-probabilities, (variant query) each."""
    return answers.right.float().cpu().numpy(), answers.log_prob.float().cpu().numpy()


def prompted(
    model: LensModel, task: Task, n_queries: int, template: PromptTemplate, *, n_shots: int, seed: int
) -> Float32:
    """Return right answers of zero-shot and few-shot prompting, (reference query)."""
    shots = evaluation_prompts(task, n_queries, template, n_shots=n_shots, seed=seed)
    asked = zero_shot_queries(model, task, n_queries, template), CachedQueries(model, shots)
    return np.concatenate([answer_arrays(queries.under([]))[0] for queries in asked])


def ask(
    queries: CachedQueries, fit: SiteFit, alphas: ArrayLike, embeddings: ArrayLike, embedding_of: ArrayLike = 0
) -> tuple[Float32, Float32]:
    """Ask queries under gates and embeddings that are mixed in by the rule of a fit; see `CachedQueries.answers`.

    Args:
        queries: The queries.
        fit: The fit.
        alphas: Gates, (... layer head).
        embeddings: Embeddings, (embedding layer head d_head).
        embedding_of: Which embedding each map of gates mixes in, in order; the first when 0.

    Returns:
        Right answers and log-probabilities, (... query) each.
    """
    maps, means = np.asarray(alphas, dtype=np.float32), torch.tensor(np.asarray(embeddings, dtype=np.float32))
    gates = torch.tensor(maps.reshape(-1, *maps.shape[-2:]))
    owners = torch.tensor(np.broadcast_to(embedding_of, len(gates)))
    right, log_prob = answer_arrays(queries.answers(gates, means, owners, rule=fit.config.mix))
    shape = (*maps.shape[:-2], len(queries))
    return right.reshape(shape), log_prob.reshape(shape)
