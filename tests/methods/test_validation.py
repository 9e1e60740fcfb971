"""Choosing among candidates: on valid, by first-token accuracy, and never on test."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

import site_lens as sl
from site_lens.methods.validation import choose, choose_layer
from tests.methods.conftest import batch_of

QUERIES = ("hot", "big", "old", "day")


def rows(answer: str, words: tuple[str, ...] = QUERIES) -> tuple[sl.Example, ...]:
    return tuple(sl.Example(word, (answer,)) for word in words)


def constant_task(*, valid: str, test: str) -> sl.Task:
    """Every valid row has one answer, and every test row another."""
    return sl.Task("constant", rows(valid), rows(valid), rows(test))


def favouring(model: sl.LensModel, name: str, answer: str, by: float) -> sl.Method:
    """A method that raises the logit of the first token of an answer."""
    _, (tokens,), _ = model.encoder.encode_answers(["Q: hot\nA:"], [" " + answer])

    def raised(logits: Tensor) -> Tensor:
        return logits + by * torch.nn.functional.one_hot(torch.tensor(tokens[0]), logits.shape[1])

    return sl.Method(name, on_logits=raised)


def bench_of(model: sl.LensModel, task: sl.Task, **settings: int) -> sl.ComparisonContext:
    return sl.ComparisonContext(model, task, sl.ComparisonConfig(**settings), progress=False)


def test_the_planted_best_candidate_is_chosen_wherever_it_stands(demo: sl.LensModel) -> None:
    context = bench_of(demo, constant_task(valid="cold", test="red"))
    worse = [favouring(demo, "clean", "cold", 0.0), favouring(demo, "wrong", "red", 100.0)]
    best = favouring(demo, "best", "cold", 100.0)
    for place in range(3):
        assert choose(context, "constant", [*worse[:place], best, *worse[place:]]) is best


def test_equal_accuracies_are_told_apart_by_log_probability_and_then_by_order(demo: sl.LensModel) -> None:
    context = bench_of(demo, constant_task(valid="cold", test="red"))
    surer, less_sure = (favouring(demo, name, "cold", by) for name, by in (("surer", 40.0), ("less sure", 30.0)))
    assert choose(context, "constant", [less_sure, surer]) is surer
    again = replace(surer, kind="again")
    assert choose(context, "constant", [again, surer]) is again


def test_test_rows_do_not_count_and_valid_rows_do(demo: sl.LensModel) -> None:
    cold, red = (favouring(demo, answer, answer, 100.0) for answer in ("cold", "red"))
    for valid, test, expected in (("cold", "red", cold), ("cold", "cold", cold), ("red", "cold", red)):
        context = bench_of(demo, constant_task(valid=valid, test=test))
        assert choose(context, "constant", [red, cold]) is expected


def test_a_layer_is_chosen_where_the_change_helps(demo: sl.LensModel) -> None:
    """The stream that answers `cold` is put behind one layer, and nothing happens behind the others."""
    context = bench_of(demo, constant_task(valid="cold", test="red"))
    few_shot = "Q: big\nA: cold\n\nQ: red\nA: cold\n\nQ: day\nA: cold\n\nQ: man\nA: cold\n\nQ: good\nA:"
    batch = batch_of(demo, few_shot)
    assert demo.encoder.decode([int(demo.forward(batch).argmax())]).strip() == "cold"
    last = demo.grid.n_layers - 1
    own = demo.last_outputs(batch, "residual")[0, last]

    def change_at(layer: int) -> Callable[[Tensor], Tensor]:
        return lambda stream: own.expand_as(stream) if layer == last else stream

    chosen = choose_layer(context, "constant", sl.Method("planted", stored_bytes=5), change_at)
    (edit,) = chosen.edits(demo)
    assert (edit.layer, edit.column, edit.hook_point) == (last, -1, "residual")
    assert (chosen.name, chosen.stored_bytes) == ("planted", 5)
    assert chosen.notes == (f"planted of 'constant' acts behind layer {last}, which was chosen on valid",)
