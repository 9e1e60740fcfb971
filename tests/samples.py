"""One small record of every kind that can be stored, and how long laws are tried."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings

import site_lens as sl
from site_lens.methods.evaluation import MethodCost
from site_lens.records.base import Record
from site_lens.studies.cache import StudyPiece
from tests.fake_studies import (
    fake_ablation,
    fake_arithmetic,
    fake_content,
    fake_landscape,
    fake_sensitivity,
    fake_text_profiles,
)
from tests.fakes import (
    ACCURACIES,
    fake_attention,
    fake_embedding,
    fake_evaluation,
    fake_fit,
    fake_identity,
    fake_transfer,
)
from tests.plots.test_faithfulness_plot import fake_faithfulness
from tests.site.test_head_path import fake_path
from tests.studies.test_roles import planted_profiles

laws = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
"""Decorates every test of a law: no deadline, for machines that are shared."""

SMALL = sl.HeadGrid((2, 0, 3))
"""Two heads, a layer without attention, three heads."""


def scores() -> sl.HeadScores:
    return sl.HeadScores(
        grid=SMALL, values=np.linspace(-1, 1, 9).reshape(3, 3) * SMALL.mask, selector="test", meaning="x"
    )


def gates() -> sl.HeadGates:
    return sl.HeadGates(grid=SMALL, values=np.linspace(0.125, 0.875, 9).reshape(3, 3) * SMALL.mask, task="antonym")


def fit(**changes: Any) -> Record:
    return fake_fit(
        "antonym", model=fake_identity(grid=SMALL), config=sl.SiteConfig(n_steps=20), labelled_rows=(3, 5), **changes
    )


def gates_by_task() -> sl.ScoresByTask:
    return sl.ScoresByTask(gates().replace(task=task) for task in ("antonym", "plural"))


def scores_by_task() -> sl.ScoresByTask:
    return sl.ScoresByTask(scores().replace(task=task) for task in ("antonym", "plural"))


def evaluation() -> Record:
    costs = [
        MethodCost(n_trained=i, stored_bytes=8, fit_seconds=None, query_seconds=0.5) for i in range(len(ACCURACIES))
    ]
    return fake_evaluation("antonym", n_queries=4, model=fake_identity(grid=SMALL), costs=tuple(costs))


def small_fits() -> sl.SiteFits:
    families = {"antonym": "words", "synonym": "words", "plural": "forms", "past": "forms"}
    model, config = fake_identity(grid=SMALL), sl.SiteConfig(n_steps=20)
    return sl.SiteFits(fake_fit(task, model=model, config=config, family=family) for task, family in families.items())


SAMPLES: dict[str, Callable[[], Record]] = {
    "head_scores": scores,
    "head_gates": gates,
    "task_embedding": lambda: fake_embedding("antonym", model=fake_identity(grid=SMALL)),
    "site_fit": fit,
    "head_path": lambda: fake_path(((4, 5), (2, 2), (1, 1)), ((0.5, 0.5), (0.5, 0.5), (1.5, 1.5))),
    "evaluation": evaluation,
    "attention_sample": lambda: fake_attention("antonym", heads=("L0H1", "L2H1"), model=fake_identity(grid=SMALL)),
    "convergence": lambda: sl.check_convergence(small_fits()["antonym"]),
    "agreement": lambda: sl.seed_agreement(small_fits()),
    "diagnosis": lambda: sl.diagnose(small_fits()),
    "overlap": lambda: sl.head_overlap(small_fits()),
    "transfer_matrix": lambda: fake_transfer("abcde", n_queries=6),
    "transfer_reading": lambda: sl.summarize_transfer(fake_transfer("abcde", n_queries=6)),
    "prompt_sensitivity": lambda: fake_sensitivity(n_queries=6),
    "fit_landscape": fake_landscape,
    "content_controls": lambda: fake_content(n_queries=6),
    "faithfulness": fake_faithfulness,
    "head_profiles": lambda: planted_profiles([0, 1, 0, 1, 0, 1, 0, 1]),
    "text_profiles": lambda: fake_text_profiles(heads=("L0H1", "L2H1"), grid=SMALL),
    "fit_ablation": lambda: fake_ablation({"default": 0.5, "up": 0.8}),
    "task_arithmetic": lambda: fake_arithmetic([0.9], [0.1], weights=[0.5]),
    "task_clusters": lambda: sl.cluster_tasks(small_fits(), n_bootstrap=5),
    "head_clusters": lambda: sl.cluster_heads(small_fits()),
    "co_clusters": lambda: sl.cocluster(small_fits()),
    "method_table": lambda: sl.method_table(sl.Evaluations([fake_evaluation("antonym"), fake_evaluation("plural")])),
    "study_piece": lambda: StudyPiece.of({"right": np.ones((2, 3), np.float32), "n": np.array(3, np.float32)}),
    "selector_agreement": lambda: sl.compare_selectors({"site": gates_by_task(), "test": scores_by_task()}),
}
