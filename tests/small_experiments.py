"""Ablations and combinations of tasks with planted numbers, for tests that need no model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from site_lens.records.hashing import digest_json
from site_lens.site.fit import SiteConfig
from site_lens.studies.ablation.result import FitAblation, Variant
from site_lens.studies.task_arithmetic.result import KINDS, TaskArithmetic
from site_lens.tasks.prompt_template import PromptTemplate
from tests.fakes import VERSIONS, fake_alphas, fake_identity


def answers(rates: ArrayLike, n_queries: int) -> np.ndarray:
    """(... query): the first queries right, as many as each rate says."""
    wanted: np.ndarray = np.arange(n_queries) < np.round(np.asarray(rates)[..., None] * n_queries)
    return np.ascontiguousarray(wanted, dtype=np.float32)


def fake_ablation(
    rates: Mapping[str, float], *, tasks: Sequence[str] = ("a", "b"), n_queries: int = 60, **changes: Any
) -> FitAblation:
    """Build an ablation in which every variant answers a planted share of each task's queries right."""
    names = list(rates)
    variants = [Variant(name=name, factor="init", against=names[0] if i else None) for i, name in enumerate(names)]
    gates = np.stack([fake_alphas(task) for task in tasks])
    fields: dict[str, Any] = {
        "tasks": tuple(tasks),
        "variants": tuple(variants),
        "right": answers(np.array([[rates[name]] * len(tasks) for name in names]), n_queries),
        "asked": np.ones((len(tasks), n_queries)),
        "alphas": np.stack([gates] * len(names)),
        "config": SiteConfig(),
        "template": PromptTemplate(),
        "model": fake_identity(),
        "versions": VERSIONS,
    }
    return FitAblation(**fields | changes)


def fake_arithmetic(
    first: Sequence[float],
    second: Sequence[float],
    *,
    weights: Sequence[float] = (0, 0.5, 1),
    tasks: tuple[str, str] = ("a", "b"),
    references: tuple[float, float, float] = (0.1, 0.9, 0.8),
    n_queries: int = 60,
    **changes: Any,
) -> TaskArithmetic:
    """Build a combination with planted accuracies of both tasks by weight, the same for every kind."""
    rates = np.broadcast_to(np.array([first, second]).T, (len(KINDS), len(weights), 2))
    fields: dict[str, Any] = {
        "tasks": tasks,
        "families": (None, None),
        "weights": tuple(weights),
        "alphas": np.stack([fake_alphas(task) for task in tasks]),
        "right": answers(rates, n_queries),
        "log_prob": np.where(answers(rates, n_queries) == 1, -0.1, -3.0),
        "references": answers(np.array(references)[:, None].repeat(2, axis=1), n_queries),
        "asked": np.ones((2, n_queries)),
        "rule": "convex",
        "fit_digests": tuple(digest_json([task, "fit"]) for task in tasks),
        "model": fake_identity(),
        "versions": VERSIONS,
    }
    return TaskArithmetic(**fields | changes)
