"""Row 3: sixteen fits on a larger model, with as many distinct prompts as published and with a pool of 64."""

import statistics
import time
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

import site_lens as sl
from analysis.benchmarks.measuring import Result, alone, compare, seconds
from analysis.benchmarks.published import PublishedLoop, Query, asked, hugging_face
from analysis.benchmarks.settings import Settings
from site_lens.activations.prefix_settings import PrefixDType
from site_lens.models.base import LensModel

N_FITS, N_STEPS, N_TIMED = 16, 400, 10


@dataclass(frozen=True, slots=True)
class Pool:
    """Which train rows may be drawn, and how ours is timed on them."""

    n_rows: int | None
    """(a) None: every train row, so that nearly all prompts of a fit differ; (b) 64."""
    part: float
    """Share of the steps that ours takes; its time is divided by it: where all prompts differ, steps cost alike."""
    target: float | None
    prefix_dtype: PrefixDType = "model"
    n_runs: int = 2


POOLS = (Pool(None, 0.25, 2.5), Pool(64, 1.0, 8.0), Pool(None, 0.25, None, "bfloat16", n_runs=1))


def measure(settings: Settings) -> list[Result]:
    """Compare the time of all fits, prefixes counted; the published loop's is that of its steps, times their number."""
    task, model, plain = settings.subjects
    embedding = sl.capture_embeddings(model, [task], n_prompts=8, n_shots=4)[task.name]
    mean = torch.tensor(embedding.mean, device=model.device)
    first = variant(task, 0, None)
    queries, valid = asked(model, first.train[:N_STEPS]), asked(model, first.valid[:50])
    published = PublishedLoop(hugging_face(plain), mean).fit(queries, [])
    lines = [
        alone(3, "loss on valid that the published loop reached", "nats", [loss_of(plain, mean, published, valid)])
    ]
    for pool in POOLS:
        n_steps = round(N_STEPS * pool.part)
        rival, ours = [], []
        for _ in range(pool.n_runs):
            rival.append(published_step(plain, mean, queries) * N_STEPS * N_FITS)
            start = time.perf_counter()
            fits = fit_all(model, [variant(task, i, pool.n_rows) for i in range(N_FITS)], embedding, n_steps, pool)
            ours.append((time.perf_counter() - start) / pool.part)
        distinct = statistics.mean(len(np.unique(fit.trace.train_rows)) for fit in fits.values()) / pool.part
        how = (
            f"about {distinct:.0f} distinct prompts a fit"
            if pool.part < 1
            else f"{distinct:.0f} distinct prompts a fit"
        )
        how += ", prefixes in bfloat16" * (pool.prefix_dtype == "bfloat16")
        what = f"{N_FITS} fits of {N_STEPS} steps, {settings.size} Llama, {how}"
        what += f"; ours timed on {n_steps} steps" * (pool.part < 1)
        lines.append(compare(3, what, "s", rival, ours, pool.target))
        if pool.part == 1:
            reached = torch.tensor(fits[first.name].gates.values, device=model.device)
            loss = loss_of(plain, mean, reached, valid)
            lines.append(alone(3, f"loss on valid that ours reached, {how}", "nats", [loss]))
    return lines


def published_step(plain: torch.nn.Module, mean: torch.Tensor, queries: list[Query]) -> float:
    """Mean time of a step of the published loop, after two to warm up."""
    loop = PublishedLoop(hugging_face(plain), mean)
    times = [seconds(partial(loop.step, query)) for query in queries[: N_TIMED + 2]]
    return statistics.mean(times[2:])


def fit_all(
    model: LensModel, tasks: list[sl.Task], embedding: sl.TaskEmbedding, n_steps: int, pool: Pool
) -> sl.SiteFits:
    """Fit all tasks together; validated once on one row, as the rival's time has no validation in it."""
    config = sl.SiteConfig(
        n_steps=n_steps, batch_size=1, eval_every=n_steps, n_valid=1, keep="last", loss="first_token",
        prefix_dtype=pool.prefix_dtype,
    )  # fmt: skip
    return sl.fit_site(model, tasks, config, embeddings={task.name: embedding for task in tasks}, progress=False)


def variant(task: sl.Task, i: int, n_rows: int | None) -> sl.Task:
    """The same task with a number before every input: prompts as long, none of them shared with another variant."""

    def numbered(rows: tuple[sl.Example, ...]) -> tuple[sl.Example, ...]:
        return tuple(replace(row, input=f"{i} {row.input}") for row in rows)

    return replace(task, name=f"{task.name}_{i}", train=numbered(task.train[:n_rows]), valid=numbered(task.valid))


@torch.no_grad()
def loss_of(plain: torch.nn.Module, mean: torch.Tensor, alpha: torch.Tensor, queries: list[Query]) -> float:
    """Mean cross-entropy of the first answer token under some alphas."""
    loop = PublishedLoop(hugging_face(plain), mean)
    loop.raw = torch.logit(alpha.clamp(1e-6, 1 - 1e-6))
    return statistics.mean(float(loop.loss(query)) for query in queries)
