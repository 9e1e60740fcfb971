"""Models of the tests of methods, and what they are asked."""

from collections.abc import Callable

import pytest

import site_lens as sl
from site_lens.activations.queries import Queries
from site_lens.methods.first_token_metrics import Scores, score_methods
from site_lens.models.batch import Batch
from site_lens.tasks.prompt_sampling import zero_shot_prompts
from site_lens.tasks.task import Example


@pytest.fixture(params=["demo", "gpt2"])
def model(request: pytest.FixtureRequest, demo: sl.LensModel, tiny: Callable[[str], sl.LensModel]) -> sl.LensModel:
    """The demo model, and a tiny GPT-2, whose blocks are built in another way."""
    return demo if request.param == "demo" else tiny("gpt2")


def batch_of(model: sl.LensModel, *texts: str) -> Batch:
    """Return texts as one batch."""
    return Batch.of(model.encoder.encode(texts), pad=model.encoder.pad, device=model.device)


def answers(context: sl.ComparisonContext, rows: tuple[Example, ...], *methods: sl.Method) -> list[Scores]:
    """Ask methods some rows without demonstrations."""
    asked = Queries.of(context.model, zero_shot_prompts(rows, context.config.template))
    return [scores for _, scores in score_methods(context.model, asked, methods)]
