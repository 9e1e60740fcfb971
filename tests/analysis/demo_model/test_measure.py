from collections.abc import Callable

import numpy as np
import pytest

from analysis.demo_model.measurements import SHOTS, Measurer, chance_level, induction_scores
from analysis.demo_model.recipe import Recipe
from analysis.demo_model.tasks import build_demo_tasks
from analysis.demo_model.tokenizer import build_tokenizer, taught_words
from analysis.demo_model.training import build_model
from site_lens.models.base import LensModel
from site_lens.tasks.task import Example, Task

SMALL = Recipe(n_layers=2, d_model=32, d_mlp=64, n_heads=4, n_key_value_heads=2, d_head=8)


@pytest.fixture(scope="module")
def measurer() -> Measurer:
    tokenizer = build_tokenizer()
    model = build_model(SMALL, tokenizer)
    model.set_attn_implementation("eager")
    return Measurer(model, tokenizer)


def test_an_untrained_model_knows_nothing(measurer: Measurer) -> None:
    task = next(task for task in build_demo_tasks() if task.name == "reverse_2")
    curve = measurer.curve(task, n_queries=5)
    assert curve.accuracy == (0.0,) * len(SHOTS)
    assert curve.several_tokens
    assert measurer.random_mapping(taught_words(), n_pairs=4, n_shots=5, n_prompts=10) == 0.0


def test_the_demo_model_has_an_induction_head_and_a_random_model_has_none(
    demo: LensModel, tiny: Callable[[str], LensModel]
) -> None:
    assert isinstance(demo, LensModel)
    scores = induction_scores(demo.host, taught_words(), n_sequences=3)
    assert scores.shape == demo.grid.shape
    assert scores.max() > 0.5
    untrained = tiny("llama")
    assert isinstance(untrained, LensModel)
    assert np.all(induction_scores(untrained.host, taught_words(), n_words=10, n_sequences=3) < 0.2)


def test_chance_is_the_better_of_a_constant_and_a_word_of_the_list() -> None:
    rows = tuple(Example(x, (y,)) for x, y in [("a", "u"), ("b", "u"), ("c", "u"), ("d", "v")])
    lists = tuple(Example(x, (y,)) for x, y in [("a, b", "a"), ("c, d", "d")])
    assert chance_level(Task("words", rows, rows[:1], rows)) == 0.75
    assert chance_level(Task("lists", lists, lists[:1], lists)) == 0.5
