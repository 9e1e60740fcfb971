"""The learnable task vector adds w t to z, whatever the sign of w."""

import inspect

import numpy as np
import torch

import site_lens as sl
from site_lens.methods.learned_task_vector import learned_task_vector
from site_lens.methods.method import Method, prompting
from site_lens.selectors.context import ComparisonContext
from site_lens.selectors.learned_gates import head_weights
from tests.methods.conftest import answers
from tests.planted import CARRIERS

TASK = "swapped_u"


def with_weights(context: ComparisonContext, weights: np.ndarray) -> Method:
    """The method of a context on which some weights are said to have been learned."""
    scores = sl.HeadScores(grid=context.model.grid, values=weights, selector="planted", meaning="planted", n_labelled=7)
    context.once((inspect.unwrap(head_weights),), lambda: {TASK: scores})
    return learned_task_vector(context, TASK)


def test_a_weight_of_any_size_adds_so_many_mean_outputs(planted_bench: ComparisonContext) -> None:
    grid = planted_bench.model.grid
    weights = np.linspace(-2.5, 3, len(grid)).reshape(grid.shape)
    mean = torch.tensor(planted_bench.embeddings()[TASK].mean)
    z = torch.randn(2, *mean.shape[1:], generator=torch.Generator().manual_seed(0))
    for edit in with_weights(planted_bench, weights).edits(planted_bench.model):
        added = torch.tensor(weights[edit.layer], dtype=torch.float32)[:, None] * mean[edit.layer]
        assert torch.allclose(edit.change(z), z + added) and edit.column == -1


def test_the_mean_output_of_the_planted_carriers_brings_the_task(planted_bench: ComparisonContext) -> None:
    carriers = sl.HeadSet.of(planted_bench.model.grid, CARRIERS["u"])
    for sign, right in ((1.0, 1.0), (-1.0, 0.0)):
        context = ComparisonContext(planted_bench.model, planted_bench.tasks, planted_bench.config, progress=False)
        method = with_weights(context, sign * carriers.mask())
        (found,) = answers(context, context.tasks[TASK].test, method)
        assert found.metrics["first_token"].mean() == right


def test_learned_weights_bring_the_task_and_are_counted(planted_bench: ComparisonContext) -> None:
    config = planted_bench.config.replace(weight_steps=60)
    context = ComparisonContext(planted_bench.model, planted_bench.tasks[TASK], config, progress=False)
    method = learned_task_vector(context, TASK)
    plain, found = answers(context, context.tasks[TASK].test, prompting(0), method)
    assert plain.metrics["first_token"].mean() < 1 == found.metrics["first_token"].mean()
    assert method.n_trained == len(context.model.grid)
    assert 0 < method.n_labelled <= len(context.tasks[TASK].train) + len(context.tasks[TASK].valid)
