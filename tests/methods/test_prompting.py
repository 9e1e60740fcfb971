"""Plain prompting: how many demonstrations are shown, and that they fit."""

import site_lens as sl
from site_lens.activations.generation import MAX_NEW_TOKENS
from site_lens.methods.evaluate import EvaluationSettings, evaluate_methods
from site_lens.methods.prompting import many_shot, zero_shot
from site_lens.models.base import LensModel
from site_lens.selectors.config import ComparisonConfig
from site_lens.selectors.context import ComparisonContext
from tests.planted import TEMPLATE


def bench_of(model: LensModel, task: sl.Task) -> ComparisonContext:
    return ComparisonContext(model, task, ComparisonConfig(template=TEMPLATE), progress=False)


def rows(n: int, *, start: int = 0, words: int = 1) -> tuple[sl.Example, ...]:
    """Rows whose inputs are so many words of the planted vocabulary."""
    return tuple(
        sl.Example(" ".join([f"u{i % 40}"] + [f"u{j}:" for j in range(words - 1)]), ("a",))
        for i in range(start, start + n)
    )


def test_many_shot_fills_the_context_and_leaves_room_for_an_answer(planted_bench: ComparisonContext) -> None:
    # A demonstration takes three tokens (Q, word, label), the query two.
    expected = (planted_bench.model.encoder.n_ctx - MAX_NEW_TOKENS - 2) // 3
    task = planted_bench.tasks["direct_u"]
    method = many_shot(planted_bench, "direct_u")
    assert (method.name, method.n_shots, method.n_labelled) == ("many_shot", expected, expected)
    assert method.notes == (f"many_shot shows {expected} demonstrations of 'direct_u'; the bound is the context",)
    settings, counts = EvaluationSettings(TEMPLATE, generated=True), list[int]()
    methods = [method, zero_shot(planted_bench, "direct_u")]
    measured = evaluate_methods(planted_bench.model, task, methods, settings, answered=counts.append)
    assert measured.first_token[0].mean() == 1 and sum(counts) == measured.first_token.size


def test_many_shot_is_bounded_by_the_rows_that_may_stand_beside_every_query(planted: LensModel) -> None:
    train = (*rows(6), *rows(2))  # the inputs u0 and u1 come twice
    method = many_shot(bench_of(planted, sl.Task("few", train, train[:1], rows(1))), "few")
    assert method.n_shots == 6
    assert "the bound is the train rows" in method.notes[0]
