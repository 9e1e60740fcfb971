"""Fitting of head paths: several prices, contents and starts of every task in one joint batch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import torch

from site_lens.activations.cached_queries import CachedQueries
from site_lens.activations.prefix_settings import PREFIX_BUDGET
from site_lens.models.base import LensModel
from site_lens.models.identity import library_versions
from site_lens.models.locking import on_model
from site_lens.records.bounds import check_sizes
from site_lens.records.errors import InputError
from site_lens.site.fit import SiteConfig, SiteFit
from site_lens.site.fitting import embedded_jobs, fit_variants
from site_lens.site.head_path import OPEN, Content, HeadPath, HeadPaths, PathFit
from site_lens.tasks.prompt_sampling import sampled, zero_shot_prompts
from site_lens.tasks.prompt_template import PromptTemplate
from site_lens.tasks.task import Task, task_list

PRICES = (-0.01, 0.0, 0.003, 0.01, 0.03)
"""Prices of a head by default, in nats: one at which open heads are paid for, the paper's 0, and three rising ones."""


@on_model
def fit_path(
    model: LensModel,
    tasks: Task | Mapping[str, Task] | Iterable[Task],
    config: SiteConfig | None = None,
    *,
    prices: Sequence[float] = PRICES,
    contents: Sequence[Content] = ("task", "zero"),
    n_starts: int = 3,
    template: PromptTemplate | None = None,
    budget_bytes: int = PREFIX_BUDGET,
    progress: bool | None = None,
) -> HeadPaths:
    """Fit SITE under several prices of a head, and choose the smallest head set that does as well as any, on valid.

    All tasks, prices, contents and fits share one batch. The first fit has the seed and start of `config`; each further
    one the next seed, its own embedding and queries, and a random start, so that their agreement says how sure the set
    is. Gates are rounded at 0.5 and measured on the rows of valid; `HeadPath.chosen` states the rule.

    Args:
        model: The model.
        tasks: The tasks.
        config: Settings of the fits, but for price, content, seed and start; `SiteConfig(n_steps=200)` when None.
        prices: Nats per unit of alpha, rising; at least one of 0 or more.
        contents: What open heads are replaced by; "task" and, as the control, "zero".
        n_starts: Fits at every price.
        template: How examples become text; the paper's when None.
        budget_bytes: Bytes of prefixes to hold at a time.
        progress: Show progress bars; on a terminal and in notebooks only when None.

    Raises:
        InputError: Prices do not rise, a count is out of its bounds, a task has too few rows, or the settings ask for a
            control.

    Example:
        >>> import site_lens as sl
        >>> model, tasks = sl.load_model("demo"), sl.load_tasks("demo", ["antonym"])
        >>> config = sl.SiteConfig(n_prompts=4, n_shots=3, n_steps=10)
        >>> path = sl.fit_path(model, tasks, config, prices=(0, 0.01), n_starts=1)["antonym"]
        >>> path.gates.shape
        (2, 2, 1, 6, 8)
    """
    base, listed = config or SiteConfig(n_steps=200), task_list(tasks)
    check_sizes(n_starts=n_starts, budget_bytes=budget_bytes)
    _check(base, prices, contents)
    starts = [PathFit(seed=base.seed + i, init=base.init if i == 0 else "random") for i in range(n_starts)]
    jobs = [
        embedded_jobs(
            model, listed, base.replace(seed=start.seed, init=start.init), template=template, progress=progress
        )
        for start in starts
    ]
    variants = {
        f"{content} {price} {start}": [
            replace(job, config=job.config.replace(embedding=content, head_price=float(price))) for job in jobs[start]
        ]
        for content, price, start in product(contents, prices, range(n_starts))
    }
    fitted = fit_variants(model, variants, budget_bytes=budget_bytes, throw=False, progress=progress)
    paths = []
    for task in listed:
        fits = [by_task[task.name] for by_task in fitted.values()]
        gates = np.stack([fit.gates.values for fit in fits])
        loss, right = _rounded(model, task, fits, gates > OPEN, base, budget_bytes)
        shape = (len(contents), len(prices), n_starts)
        paths.append(
            HeadPath(
                task=task.name,
                prices=tuple(map(float, prices)),
                contents=tuple(contents),
                fits=tuple(starts),
                gates=gates.reshape(*shape, *model.grid.shape),
                loss=loss[1:].reshape(*shape, -1),
                right=right[1:].reshape(*shape, -1),
                zero_shot_loss=loss[0],
                zero_shot_right=right[0],
                config=base,
                template=fits[0].template,
                task_digest=task.digest,
                family=task.family,
                model=model.identity,
                versions=library_versions(),
                notes=_notes(fits),
            )
        )
    return HeadPaths(paths)


def _check(config: SiteConfig, prices: Sequence[float], contents: Sequence[Content]) -> None:
    if config.shared or config.embedding != "task" or config.null != "none" or config.head_price:
        raise InputError("a path sets head_price and embedding itself; leave them, shared and null as they are")
    if list(prices) != sorted(set(prices)) or not prices or prices[-1] < 0:
        raise InputError(f"needs rising prices, the last of them 0 or more, got {tuple(prices)}")
    if len(set(contents)) < len(contents) or "task" not in contents:
        raise InputError(f"needs each content once, 'task' among them, got {tuple(contents)}")


def _notes(fits: Sequence[SiteFit]) -> tuple[str, ...]:
    """Return the notes of all fits, each once, and one where fits and the choice of a set look at different losses."""
    notes = dict.fromkeys(note for fit in fits for note in fit.notes)
    if fits[0].config.loss == "answer":
        notes |= {"gates were fitted on the whole answer; the set was chosen by the loss of its first token": None}
    return tuple(notes)


def _rounded(
    model: LensModel,
    task: Task,
    fits: Sequence[SiteFit],
    is_open: np.ndarray,
    config: SiteConfig,
    budget_bytes: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return losses and right answers on valid, (variant query) each: without any edit, then under rounded gates."""
    rows = sampled(task.valid, config.n_valid)
    queries = CachedQueries(model, zero_shot_prompts(rows, fits[0].template), budget_bytes=budget_bytes)
    gates = np.concatenate([np.zeros_like(is_open[:1]), is_open]).astype(np.float32)
    means = np.stack([fits[0].embedding.mean, *(fit.embedding.mean for fit in fits)])
    answers = queries.answers(torch.tensor(gates), torch.tensor(means), torch.arange(len(gates)), rule=config.mix)
    return -answers.log_prob.float().cpu().numpy(), answers.right.float().cpu().numpy()
