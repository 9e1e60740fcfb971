"""Comparison context: a model, its tasks and settings, and the one cache of what several methods need."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from site_lens.activations.cached_queries import CachedQueries
from site_lens.activations.capture import captured
from site_lens.activations.embedding import TaskEmbedding
from site_lens.activations.prefill import prompt_batches
from site_lens.activations.prefix_settings import PREFIX_BUDGET
from site_lens.heads.scores import HeadScores
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.records.bounds import check_sizes
from site_lens.records.errors import FitError, InputError
from site_lens.records.hashing import seed_stream
from site_lens.selectors.config import ComparisonConfig
from site_lens.site.fit import SiteFits
from site_lens.site.fitting import fit_variants
from site_lens.site.head_path import Content, HeadPaths
from site_lens.site.path_fitting import fit_path
from site_lens.site.plan import SiteJob
from site_lens.tasks.prompt_sampling import (
    PromptSet,
    embedding_prompts,
    few_shot_prompts,
    prompts_of_embedding,
    sample_rows,
    sampled,
)
from site_lens.tasks.task import Example, Task, task_list

T = TypeVar("T")
Key: TypeAlias = tuple[Any, ...]


class FiniteEmbeddings(dict[str, TaskEmbedding]):
    """Embeddings by task, where a task whose embedding is not finite raises a FitError when it is asked for."""

    def __init__(self, finite: Mapping[str, TaskEmbedding], broken: Mapping[str, str]) -> None:
        super().__init__(finite)
        self._broken = broken

    def __missing__(self, task: str) -> TaskEmbedding:
        raise FitError(self._broken[task]) if task in self._broken else KeyError(task)


@dataclass
class Stopwatch:
    """Time of a block, with its share of what it used that was made for all tasks at once."""

    elapsed: float = 0.0
    seconds: float = 0.0
    """Time for one task, whoever made what it used, and when: what is made for all tasks counts by its share."""
    inside: float = 0.0
    """Part of `elapsed` in which something was made that others may need, too."""
    needed: set[Key] = field(default_factory=set)
    """What it used, and what that was made of."""

    @property
    def own(self) -> float:
        """Time of the block, less what was made in it that others may need, too."""
        return self.elapsed - self.inside


class ComparisonContext:
    """Comparison context: the model, the tasks and the settings that every selector and method is given.

    Mean outputs, fits and scores that several of them need are made when the first one asks, and kept.

    Args:
        model: The model.
        tasks: The tasks.
        config: Settings; the defaults of the sources when None.
        budget_bytes: Bytes of prefixes to hold at a time in fits.
        progress: Show progress bars; on a terminal and in notebooks only when None.
    """

    def __init__(
        self,
        model: LensModel,
        tasks: Task | Mapping[str, Task] | Iterable[Task],
        config: ComparisonConfig | None = None,
        *,
        budget_bytes: int = PREFIX_BUDGET,
        progress: bool | None = None,
    ) -> None:
        check_sizes(budget_bytes=budget_bytes)
        self.model = model
        self.tasks = {task.name: task for task in task_list(tasks)}
        self.config = config or ComparisonConfig()
        self.budget_bytes = budget_bytes
        self.progress = progress
        self._made: dict[Key, tuple[Any, Stopwatch]] = {}
        self._running: list[Stopwatch] = []

    @property
    def resources(self) -> dict[str, Any]:
        """Arguments of all functions that fit: byte budget of prefixes, and progress bar."""
        return {"budget_bytes": self.budget_bytes, "progress": self.progress}

    def once(self, key: Key, make: Callable[[], T]) -> T:
        """Return what was made under a key, making it the first time and taking down how long that took."""
        if key not in self._made:
            with self.stopwatch() as watch:
                made = make()
            self._made[key] = made, watch
            if self._running:
                self._running[-1].inside += watch.elapsed
        value: T
        value, watch = self._made[key]
        for outer in self._running:
            outer.needed |= {key} | watch.needed
        return value

    @contextmanager
    def stopwatch(self) -> "Iterator[Stopwatch]":
        """Measure a block that works for one task."""
        watch = Stopwatch()
        self._running.append(watch)
        start = time.perf_counter()
        try:
            yield watch
        finally:
            watch.elapsed = time.perf_counter() - start
            watch.seconds = watch.own + sum(self._made[key][1].own for key in watch.needed) / len(self.tasks)
            self._running.pop()

    def embeddings(self, n_prompts: int | None = None, n_shots: int | None = None) -> "FiniteEmbeddings":
        """Return every task's embedding of `n_prompts` prompts of `n_shots`; M and N of the settings when None.

        Asked for one that is not finite, they raise a FitError; the others are there.
        """
        found, broken = self._captured(n_prompts, n_shots)
        return FiniteEmbeddings({name: each for name, each in found.items() if name not in broken}, broken)

    def _captured(
        self, n_prompts: int | None, n_shots: int | None = None
    ) -> tuple[dict[str, TaskEmbedding], dict[str, str]]:
        """Return embeddings, zeros for those that are not finite, and for which tasks that is, and where."""
        config = self.config
        n = config.n_prompts if n_prompts is None else n_prompts
        shots = config.n_shots if n_shots is None else n_shots
        settings: dict[str, Any] = {"n_prompts": n, "n_shots": shots, "seed": config.seed, "template": config.template}
        return self.once(
            (ComparisonContext.embeddings, n, shots),
            lambda: captured(self.model, self.tasks, **settings, progress=self.progress),
        )

    def fits(self, **changes: Any) -> SiteFits:
        """Return a SITE fit of every task with some settings changed, such as `embedding="zero"`."""
        config = self.config.site_config(**changes)

        def fit() -> SiteFits:
            embeddings, broken = self._captured(config.n_prompts)
            jobs = [
                SiteJob(task, config, embeddings[name], trouble=broken.get(name)) for name, task in self.tasks.items()
            ]
            return fit_variants(self.model, {"fits": jobs}, throw=False, **self.resources)["fits"]

        return self.once((ComparisonContext.fits, config.digest), fit)

    def paths(self) -> HeadPaths:
        """Return the head path of every task, which begins at the fits of the context."""
        config = self.config.site_config(shared=False)

        def fit() -> HeadPaths:
            given: dict[Content, SiteFits] = {
                "task": self.fits(shared=False),
                "zero": self.fits(shared=False, embedding="zero", mix="convex"),
            }
            return fit_path(self.model, self.tasks, config, fits=given, **self.resources)

        return self.once((ComparisonContext.paths, config.digest), fit)

    def stream(self, task: str, purpose: str) -> np.random.Generator:
        """Return the random numbers of a task for a purpose, the same whenever they are asked for."""
        return seed_stream(self.config.seed, self.tasks[task].digest, purpose)

    def embedding_set(self, task: str, *, shuffled: bool = False) -> PromptSet:
        """Draw the prompts that a task's embedding is made of, or the same ones with their labels shuffled."""
        of_task, config = self.tasks[task], self.config
        counts = {"n_prompts": config.n_prompts, "n_shots": config.n_shots, "seed": config.seed}
        return prompts_of_embedding(of_task, config.template, **counts, shuffled=shuffled)

    def mean_over(self, texts: Sequence[str], read: Callable[[Batch], Tensor]) -> Tensor:
        """Average what `read` returns of every text, one row each, over texts; in batches of like length."""
        ids = self.model.encoder.encode(texts)
        sums = [read(batch).sum(0) for _, batch in prompt_batches(self.model, ids)]
        return torch.stack(sums).sum(0) / len(ids)

    def valid_rows(self, task: str) -> tuple[Example, ...]:
        """Return the rows of valid on which every method chooses what it chooses, a sample if there are many."""
        return sampled(self.tasks[task].valid, self.config.n_valid)

    def probe_set(self, task: str, *, shuffled: bool = False) -> PromptSet:
        """Draw the few-shot prompts on which causal selectors measure a task, the same for all of them."""
        of_task, config, n_shots = self.tasks[task], self.config, self.config.n_shots
        stream = self.stream(task, "probes")
        if config.probe_queries == "train":
            return embedding_prompts(
                of_task, config.template, n_prompts=config.n_probes, n_shots=n_shots, stream=stream, shuffled=shuffled
            )
        sample = sample_rows(of_task.valid, config.n_valid)
        rows = [sample[i] for i in stream.integers(len(sample), size=config.n_probes)]
        queries = [of_task.valid[row] for row in rows]
        shuffle = self.stream(task, "shuffled probes") if shuffled else None
        prompts = few_shot_prompts(of_task, queries, config.template, n_shots=n_shots, stream=stream, shuffle=shuffle)
        return replace(prompts, queried_rows=frozenset(rows))

    def probes(self, task: str, *, shuffled: bool = False) -> CachedQueries:
        """Return these prompts as queries with cached prefixes."""
        prompts = self.probe_set(task, shuffled=shuffled).prompts
        return CachedQueries(self.model, prompts, budget_bytes=self.budget_bytes)

    def mean_z(self, task: str, n_prompts: int | None = None) -> Float[Tensor, "layer head d_head"]:
        """Return a task's embedding, of M prompts when None, on the model's device."""
        return torch.tensor(self.embeddings(n_prompts)[task].mean, device=self.model.device)

    def labelled(self, *parts: str, task: str) -> int:
        """Count the labelled rows behind some parts of a method, shared rows once.

        Parts are `embedding` (M prompts), `effects` (the mean outputs of indirect effects), `probes` and `valid`.
        """
        train: set[int] = set()
        valid: set[int] = set()
        for part in parts:
            if part in ("embedding", "effects"):
                n_prompts = self.config.effect_prompts if part == "effects" else None
                train |= set(self.embeddings(n_prompts)[task].labelled_rows)
            elif part == "probes":
                drawn = self.probe_set(task)
                train |= drawn.labelled_rows
                (valid if self.config.probe_queries == "valid" else train).update(drawn.queried_rows)
            elif part == "valid":
                valid |= set(sample_rows(self.tasks[task].valid, self.config.n_valid))
            else:
                raise InputError(f"no labelled rows are known of {part!r}")
        return len(train) + len(valid)

    def head_scores(
        self, task: str, selector: str, values: NDArray[np.floating], meaning: str, **costs: Any
    ) -> HeadScores:
        """Return a record of the scores of the model's heads; `costs` are its passes, labelled rows and notes."""
        grid = self.model.grid
        return HeadScores(grid=grid, values=values * grid.mask, selector=selector, meaning=meaning, task=task, **costs)


def once(make: Callable[[ComparisonContext], T]) -> Callable[[ComparisonContext], T]:
    """Let a function of a context run once on each; what it made is kept under the function itself, not its name."""

    @wraps(make)
    def made_once(context: ComparisonContext) -> T:
        return context.once((make,), lambda: make(context))

    return made_once


def each_task(
    score: Callable[[ComparisonContext, str], HeadScores],
) -> Callable[[ComparisonContext], dict[str, HeadScores]]:
    """Let a function that scores the heads for one task do so once for every task of a context."""

    def scored(context: ComparisonContext) -> dict[str, HeadScores]:
        return {task: score(context, task) for task in context.tasks}

    for name in ("__module__", "__name__", "__qualname__", "__doc__"):  # its own signature stays, unlike under `wraps`
        setattr(scored, name, getattr(score, name))
    return once(scored)
