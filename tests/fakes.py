"""Small records with planted numbers, for tests that need no model."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

import site_lens as sl
from site_lens.models.identity import ModelIdentity
from site_lens.records.hashing import digest_json, seed_stream
from site_lens.studies.transfer.result import KINDS as TRANSFER_KINDS

GRID = sl.HeadGrid.full(6, 8)
VERSIONS = {"site_lens": "0.1.0", "torch": "2.13.0", "transformer-lens": "4.3.0", "transformers": "5.1.0"}
ACCURACIES = {"zero_shot": 0.05, "ten_shot": 0.7, "site": 0.85, "site_hard": 0.8, "site_zero_embedding": 0.3}
"""Share of right answers a method, planted when a test names none."""


def rights(rate: ArrayLike, n_queries: int) -> np.ndarray:
    """Answer the first share of the queries right: (... query)."""
    return (np.arange(n_queries) < np.round(np.asarray(rate)[..., None] * n_queries)).astype(np.float32)


def fake_identity(name: str = "fake-model", *, grid: sl.HeadGrid = GRID, **changes: Any) -> ModelIdentity:
    """Build the identity of a model that does not exist."""
    fields: dict[str, Any] = {
        "name": name,
        "architecture": "LlamaForCausalLM",
        "host": "TransformerBridge",
        "grid": grid,
        "d_head": 4,
        "dtype": "float32",
        "processing": "raw",
        "value_bias": False,
        "bos": True,
        "weights_digest": digest_json([name, "weights"]),
        "tokenizer_digest": digest_json([name, "tokenizer"]),
    }
    return ModelIdentity(**fields | changes)


def fake_embedding(task: str, *, seed: int = 0, model: ModelIdentity | None = None, **changes: Any) -> sl.TaskEmbedding:
    """Build a task embedding drawn from the stream of task and seed."""
    model = model or fake_identity()
    shape = (*model.grid.shape, model.d_head)
    fields: dict[str, Any] = {
        "task": task,
        "mean": seed_stream(task, seed, "mean").normal(size=shape),
        "spread": seed_stream(task, seed, "spread").uniform(0.1, 1.0, size=shape),
        "n_prompts": 50,
        "n_shots": 10,
        "seed": seed,
        "template": sl.PromptTemplate(),
        "task_digest": digest_json([task]),
        "labelled_rows": tuple(range(60)),
        "model": model,
    }
    return sl.TaskEmbedding(**fields | changes)


def fake_alphas(task: str, *, seed: int = 0, grid: sl.HeadGrid = GRID, share_open: float = 0.25) -> np.ndarray:
    """Draw nearly binary alphas (layer head): about `share_open` of the heads near 1."""
    stream = seed_stream(task, seed, "alphas")
    is_open = stream.random(grid.shape) < share_open
    return np.where(is_open, stream.uniform(0.85, 1, grid.shape), stream.uniform(0, 0.15, grid.shape)) * grid.mask


def fake_trace(alphas: np.ndarray, *, seed: int = 0, n_steps: int = 100, eval_every: int = 10) -> sl.SiteTrace:
    """Build a trace that falls from loss 3 towards 0.5 while the alphas go from 0.5 to `alphas`."""
    stream = seed_stream(seed, "trace")
    steps = np.arange(n_steps)
    evals = np.arange(0, n_steps + 1, eval_every)
    way = (evals / n_steps)[:, None, None]
    return sl.SiteTrace(
        loss=0.5 + 2.5 * np.exp(-steps / 25) + stream.normal(0, 0.08, n_steps),
        train_rows=stream.integers(0, 60, (n_steps, 8)),
        eval_steps=tuple(int(step) for step in evals),
        valid_loss=0.6 + 2.4 * np.exp(-evals / 25),
        valid_accuracy=1 - np.exp(-evals / 25),
        alphas=(1 - way) * 0.5 * (alphas != 0) + way * alphas,
    )


def fake_fit(
    task: str,
    seed: int = 0,
    alphas: ArrayLike | None = None,
    *,
    model: ModelIdentity | None = None,
    config: sl.SiteConfig | None = None,
    **changes: Any,
) -> sl.SiteFit:
    """Build a fit whose gates are `alphas` (layer head), or are drawn from the stream of task and seed."""
    model = model or fake_identity()
    planted = fake_alphas(task, seed=seed, grid=model.grid) if alphas is None else np.asarray(alphas, dtype=np.float32)
    config = (config or sl.SiteConfig()).replace(seed=seed)
    fields: dict[str, Any] = {
        "task": task,
        "config": config,
        "gates": sl.HeadGates(grid=model.grid, values=planted, task=task),
        "embedding": fake_embedding(task, seed=seed, model=model),
        "trace": fake_trace(planted, seed=seed, n_steps=config.n_steps, eval_every=config.eval_every),
        "status": "converged",
        "kept_step": config.n_steps - config.eval_every,
        "labelled_rows": tuple(range(80)),
        "n_valid": 12,
        "task_digest": digest_json([task]),
        "template": sl.PromptTemplate(),
        "versions": VERSIONS,
    }
    return sl.SiteFit(**fields | changes)


def fake_fits(tasks: Iterable[str], **options: Any) -> sl.SiteFits:
    """Build one fit a task; options go to `fake_fit`."""
    return sl.SiteFits(fake_fit(task, **options) for task in tasks)


def fake_evaluation(
    task: str,
    accuracies: Mapping[str, float] | None = None,
    *,
    n_queries: int = 40,
    seed: int = 0,
    model: ModelIdentity | None = None,
    **changes: Any,
) -> sl.Evaluation:
    """Build an evaluation in which each method answers a planted share of the queries right."""
    planted = dict(ACCURACIES if accuracies is None else accuracies)
    right = np.zeros((len(planted), n_queries), dtype=np.float32)
    for row, (method, share) in zip(right, planted.items(), strict=True):
        row[seed_stream(task, seed, method).permutation(n_queries)[: round(share * n_queries)]] = 1
    fields: dict[str, Any] = {
        "task": task,
        "methods": tuple(planted),
        "first_token": right,
        "rank": np.where(right == 1, 1, 7),
        "log_prob": np.where(right == 1, -0.2, -3.0),
        "labelled_rows": tuple({"zero_shot": 0, "ten_shot": 10}.get(method, 92) for method in planted),
        "n_heads": (5,) * len(planted),
        "queries": tuple(f"query {i}" for i in range(n_queries)),
        "targets": tuple(f"target {i}" for i in range(n_queries)),
        "n_shots": 10,
        "seed": seed,
        "template": sl.PromptTemplate(),
        "task_digest": digest_json([task]),
        "model": model or fake_identity(),
        "versions": VERSIONS,
    }
    return sl.Evaluation(**fields | changes)


def fake_attention(task: str, heads: tuple[str, ...] = ("L0H1", "L2H1"), **changes: Any) -> sl.AttentionSample:
    """Build an attention sample of two prompts in which every token looks at all before it alike."""
    tokens = (("<s>", " hot", "\n", "A:"), ("<s>", ' "cold"', "</script>", "\n", "A:"))
    patterns = np.zeros((2, len(heads), 5, 5), dtype=np.float32)
    for i, row in enumerate(tokens):
        n = len(row)
        patterns[i, :, :n, :n] = np.tril(np.ones((n, n))) / np.arange(1, n + 1)[:, None]
    fields: dict[str, Any] = {
        "task": task,
        "model": fake_identity(),
        "heads": heads,
        "tokens": tokens,
        "n_shots": (0, 3),
        "patterns": patterns,
    }
    return sl.AttentionSample(**fields | changes)


def fake_transfer(
    tasks: Iterable[str] = ("a", "b", "c", "d", "e"),
    *,
    rates: Mapping[str, ArrayLike] | None = None,
    references: tuple[float, float, float] = (0.1, 0.6, 0.9),
    null: float = 0.1,
    n_queries: int = 40,
    alphas: ArrayLike | None = None,
    families: Iterable[str | None] | None = None,
    **changes: Any,
) -> sl.TransferMatrix:
    """Build a matrix with planted accuracies (source target) by kind; the diagonal is always the own fit's."""
    names = tuple(tasks)
    n = len(names)
    planted = np.full((len(TRANSFER_KINDS), n, n), 0.1)
    for i, kind in enumerate(TRANSFER_KINDS):
        planted[i] = np.asarray((rates or {}).get(kind, planted[i]))
        np.fill_diagonal(planted[i], references[2])

    right = rights(planted, n_queries)
    gates = np.stack([fake_alphas(task) for task in names]) if alphas is None else np.asarray(alphas)
    fields: dict[str, Any] = {
        "tasks": names,
        "families": (None,) * n if families is None else tuple(families),
        "alphas": gates,
        "right": right,
        "log_prob": np.where(right == 1, -0.1, -3.0),
        "references": np.broadcast_to(rights(references, n_queries)[:, None], (3, n, n_queries)),
        "nulls": np.broadcast_to(rights(null, n_queries), (3, 2, n, n_queries)),
        "asked": np.ones((n, n_queries)),
        "n_shots": 10,
        "hard": False,
        "seed": 0,
        "fit_digests": tuple(digest_json([task, "fit"]) for task in names),
        "model": fake_identity(),
        "versions": VERSIONS,
    }
    return sl.TransferMatrix(**fields | changes)
