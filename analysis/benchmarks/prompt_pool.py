"""Row 3: sixteen fits on a larger model, with as many distinct prompts as published and with a pool of 64."""

import statistics
import time
from dataclasses import replace
from functools import partial

import numpy as np
import torch

import site_lens as sl
from analysis.benchmarks.measuring import Result, alone, compare, seconds
from analysis.benchmarks.published import PublishedLoop, Query, asked, hugging_face
from analysis.benchmarks.settings import Settings
from site_lens.core.fits import PrefixDType
from site_lens.models.protocol import LensModel

N_FITS, N_STEPS, N_TIMED = 16, 400, 10
POOLS: tuple[tuple[int | None, PrefixDType, int, float | None], ...] = (
    (None, "model", 2, 2.5), (64, "model", 2, 8.0), (None, "bfloat16", 1, None),
)  # fmt: skip
"""Rows that may be drawn, arithmetic of the prefixes, runs, and targets: (a) every train row, so that nearly all
prompts of a fit differ; (b) 64; and (a) again with prefixes in bfloat16, once, to show what they give and change."""


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
    for pool, dtype, n_runs, target in POOLS:
        rival, ours = [], []
        for _ in range(n_runs):
            rival.append(published_step(plain, mean, queries) * N_STEPS * N_FITS)
            start = time.perf_counter()
            fits = fit_all(model, [variant(task, i, pool) for i in range(N_FITS)], embedding, dtype)
            ours.append(time.perf_counter() - start)
        reached = torch.tensor(fits[first.name].gates.values, device=model.device)
        distinct = statistics.mean(len(np.unique(fit.trace.train_rows)) for fit in fits.values())
        how = f"{distinct:.0f} distinct prompts a fit" + (", prefixes in bfloat16" if dtype == "bfloat16" else "")
        what = f"{N_FITS} fits of {N_STEPS} steps, {settings.size} Llama, {how}"
        lines += [
            compare(3, what, "s", rival, ours, target),
            alone(3, f"loss on valid that ours reached, {how}", "nats", [loss_of(plain, mean, reached, valid)]),
        ]  # fmt: skip
    return lines


def published_step(plain: torch.nn.Module, mean: torch.Tensor, queries: list[Query]) -> float:
    """Mean time of a step of the published loop, after two to warm up."""
    loop = PublishedLoop(hugging_face(plain), mean)
    times = [seconds(partial(loop.step, query)) for query in queries[: N_TIMED + 2]]
    return statistics.mean(times[2:])


def fit_all(
    model: LensModel, tasks: list[sl.Task], embedding: sl.TaskEmbedding, prefix_dtype: PrefixDType
) -> sl.SiteFits:
    """Fit all tasks together."""
    config = sl.SiteConfig(n_steps=N_STEPS, batch_size=1, eval_every=N_STEPS, keep="last", prefix_dtype=prefix_dtype)
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
