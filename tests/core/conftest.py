"""One small record of every kind that can be stored, and how long laws are tried."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from site_lens.core.fits import SiteConfig
from site_lens.core.heads import HeadGrid
from site_lens.core.records import Record
from site_lens.core.scores import HeadGates, HeadScores
from tests.fakes import fake_embedding, fake_evaluation, fake_fit, fake_identity

laws = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
"""Decorates every test of a law: no deadline, for machines that are shared."""

SMALL = HeadGrid((2, 0, 3))
"""Two heads, a layer without attention, three heads."""


def scores() -> HeadScores:
    return HeadScores(grid=SMALL, values=np.linspace(-1, 1, 9).reshape(3, 3) * SMALL.mask, selector="test", meaning="x")


def gates() -> HeadGates:
    return HeadGates(grid=SMALL, values=np.linspace(0.125, 0.875, 9).reshape(3, 3) * SMALL.mask, task="antonym")


def fit(**changes: Any) -> Record:
    return fake_fit(
        "antonym", model=fake_identity(grid=SMALL), config=SiteConfig(n_steps=20), labelled_rows=(3, 5), **changes
    )


SAMPLES: dict[str, Callable[[], Record]] = {
    "head_scores": scores,
    "head_gates": gates,
    "task_embedding": lambda: fake_embedding("antonym", model=fake_identity(grid=SMALL)),
    "site_fit": fit,
    "evaluation": lambda: fake_evaluation("antonym", n_queries=4, model=fake_identity(grid=SMALL)),
}


@pytest.fixture(scope="session", params=SAMPLES)
def record(request: pytest.FixtureRequest) -> Record:
    """A small record, each kind in turn."""
    return SAMPLES[request.param]()
