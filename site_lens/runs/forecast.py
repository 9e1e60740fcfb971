"""Forecast of a study: what `fit_and_evaluate` has to do, and how long that takes on this machine."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from site_lens.activations.cached_queries import CachedQueries
from site_lens.activations.capture import last_z_of
from site_lens.activations.prefill import rows_per_decode
from site_lens.methods.evaluate import shared_sets
from site_lens.methods.registry import ZERO_EMBEDDING
from site_lens.models.base import LensModel
from site_lens.models.locking import on_model
from site_lens.site.fit import SiteConfig
from site_lens.site.path_fitting import PRICE_BATCH, PathSettings
from site_lens.tasks.prompt_sampling import MAX_QUERIES, need_rows, prompts_of_embedding, sample_rows, zero_shot_prompts
from site_lens.tasks.prompt_template import Prompt, PromptTemplate
from site_lens.tasks.task import Task, task_list

PROBED = 4
"""Tasks on whose prompts the speed is measured."""
FEW_ROWS, MANY_ROWS = 8, 64
"""Rows of the two steps that are timed: the time of a step is taken as a straight line through them."""
FORWARD = 0.4
"""Time of a step without gradients, as a share of one with them."""
SHARE_CHOSEN = 1 / 8
"""Share of the heads that a chosen set is taken to have: each of them is tried alone."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Work of a study, and the time that it takes."""

    n_tasks: int
    n_fits: int
    """Fits with controls, and those of the path; one a task fewer where the chosen price is 0."""
    n_queries: int
    """Test queries of all tasks."""
    n_methods: int
    seconds: float
    """Seconds on this machine: within a factor of 2 where it does nothing else meanwhile."""

    def __str__(self) -> str:
        minutes = self.seconds / 60
        takes = f"about {_counted(minutes / 60, 'hour') if minutes >= 90 else _counted(minutes, 'minute')}"
        if minutes < 1:
            takes = "less than a minute"
        tasks = _counted(self.n_tasks, "task")
        return f"{tasks}, {self.n_fits} fits, {self.n_queries} queries x {self.n_methods} methods: {takes}"


@dataclass(frozen=True, slots=True)
class _Speed:
    """Measured seconds: of a token of a prompt, and of a step with gradients, by call and by row."""

    token: float
    call: float
    row: float
    rows_at_once: int
    """Rows of a call at most."""

    def step(self, n_rows: float) -> float:
        """Return the seconds of one training step of so many rows."""
        return math.ceil(n_rows / self.rows_at_once) * self.call + n_rows * self.row


@on_model
def forecast(
    model: LensModel,
    tasks: Task | Mapping[str, Task] | Iterable[Task],
    config: SiteConfig | None = None,
    *,
    seeds: Sequence[int] | None = None,
    controls: Sequence[str] = (ZERO_EMBEDDING,),
    prices: Sequence[float] | None = None,
    n_starts: int | None = None,
    n_eval_shots: int = 10,
    n_sets: int | None = None,
    max_queries: int | None = MAX_QUERIES,
    template: PromptTemplate | None = None,
) -> Forecast:
    """Forecast how long `fit_and_evaluate` takes with these arguments, from the speed of a few prompts and two steps.

    The arguments are those of `fit_and_evaluate`. Generated answers are not counted.

    Raises:
        InputError: A task has too few rows for its prompts, or a prompt exceeds the context.

    Example:
        >>> import site_lens as sl
        >>> config = sl.SiteConfig(n_prompts=4, n_shots=3, n_steps=10)
        >>> work = sl.forecast(sl.load_model("demo"), sl.load_tasks("demo", ["antonym"]), config, max_queries=8)
        >>> work.n_queries, work.n_methods
        (8, 8)
    """
    config, listed, template = config or SiteConfig(), task_list(tasks), template or PromptTemplate()
    for task in listed:
        need_rows(task, len(task.train) - 1, max(config.n_shots, n_eval_shots))
    asked = [prompt for task in listed for prompt in zero_shot_prompts(task.train[:FEW_ROWS], template)]
    one_each: dict[str, Any] = {"n_prompts": 1, "n_shots": config.n_shots, "seed": 0}
    shown = [p for task in listed[:PROBED] for p in prompts_of_embedding(task, template, **one_each).prompts]
    speed = _measured(model, shown, (asked * MANY_ROWS)[:MANY_ROWS])
    query, few_shot = _mean_tokens(model, asked), _mean_tokens(model, shown)
    demonstration = (few_shot - query) / config.n_shots

    # Fits without a price: those asked for, and what the path adds to them, further starts and gates alone.
    path = PathSettings.of(model, config, prices, n_starts, None)
    n_prices = 0 if config.shared else sum(price != 0 for price in path.prices)
    n_tasks, n_seeds, n_starts = len(listed), len(seeds or (0,)), path.n_starts if n_prices else 1
    n_dense = n_tasks * (n_seeds * (1 + len(controls)) + n_starts - 1)
    n_dense += n_tasks * (n_prices > 0 and ZERO_EMBEDDING not in controls)
    seconds = config.n_steps * speed.step(n_dense * config.batch_size)
    # Fits under prices, all starts side by side, and their control at the chosen price.
    n_walks, n_controlled, batch = n_tasks * n_starts, n_tasks * (n_prices > 0), max(config.batch_size, PRICE_BATCH)
    n_priced = n_walks * n_prices + n_controlled
    seconds += path.n_steps * (n_prices * speed.step(n_walks * batch) + speed.step(n_controlled * batch))
    # Evaluations on valid: during the dense fits, at the begin and the end of the others, of each, rounded, at last.
    n_evaluated = n_dense * (config.n_steps // config.eval_every + 1) + 3 * n_priced
    n_evaluated += int(n_controlled * SHARE_CHOSEN * len(model.grid))
    n_rows = n_evaluated * min(config.n_valid, max(len(task.valid) for task in listed))
    # Test queries under every method: their last tokens.
    n_queries = sum(len(sample_rows(task.test, max_queries)) for task in listed)
    n_methods = 2 + n_seeds * (3 + len(controls)) + 2 * (n_prices > 0)
    n_rows += n_queries * n_methods
    # Tokens that are passed before all that: prompts of embeddings, and prefixes of queries.
    n_train = sum(min(len(task.train), config.n_steps * config.batch_size) + len(task.valid) for task in listed)
    n_train_priced = sum(min(len(task.train), path.n_steps * batch) for task in listed)
    tokens = max(n_seeds, n_starts) * (n_tasks * config.n_prompts * few_shot + n_train * query)
    tokens += n_starts * n_prices * n_train_priced * query
    n_sets = n_tasks * shared_sets(model, n_sets) or n_queries
    tokens += n_queries * 2 * query + n_sets * n_eval_shots * demonstration
    seconds += FORWARD * speed.step(n_rows) + tokens * speed.token
    return Forecast(n_tasks, n_dense + n_priced, n_queries, n_methods, seconds)


def _measured(model: LensModel, shown: Sequence[Prompt], asked: Sequence[Prompt]) -> _Speed:
    """Time prompts with demonstrations, and steps of few and of many queries."""
    token = _seconds(model, lambda: last_z_of(model, shown)) / (_mean_tokens(model, shown) * len(shown))
    few, many = (CachedQueries(model, asked[:n]) for n in (FEW_ROWS, MANY_ROWS))
    short = _seconds(model, lambda: few.gradients(torch.Tensor.clone))
    long = _seconds(model, lambda: many.gradients(torch.Tensor.clone))
    row = max(0.0, long - short) / (MANY_ROWS - FEW_ROWS)
    return _Speed(token, max(0.0, short - FEW_ROWS * row), row, rows_per_decode(model))


def _seconds(model: LensModel, work: Callable[[], object]) -> float:
    """Time some work twice, and return the shorter time: a first call does what no other does again."""

    def once() -> float:
        start = time.perf_counter()
        work()
        if model.device.type == "cuda":
            torch.cuda.synchronize(model.device)
        return time.perf_counter() - start

    return min(once(), once())


def _mean_tokens(model: LensModel, prompts: Sequence[Prompt]) -> float:
    ids = model.encoder.encode([prompt.text for prompt in prompts])
    return sum(map(len, ids)) / len(ids)


def _counted(number: float, unit: str) -> str:
    """Write a number of whole units, at least one."""
    n = max(1, round(number))
    return f"{n} {unit}{'s' if n > 1 else ''}"
