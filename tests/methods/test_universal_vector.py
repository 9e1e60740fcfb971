"""The universal function vector is the mean of the others' function vectors, and knows nothing of its own task."""

import torch

import site_lens as sl
from site_lens.methods.function_vector import function_vector, universal_vector
from site_lens.models.base import LensModel
from tests.conftest import Bench

SMALL = sl.ComparisonConfig(n_prompts=6, n_shots=4, n_probes=3, n_valid=8, n_vector_heads=5, effect_prompts=None)


TASKS = ("english-french", "country-capital", "antonym")


def written(method: sl.Method, model: LensModel) -> torch.Tensor:
    """Return what a method adds to the stream."""
    (edit,) = method.edits(model)
    assert (edit.column, edit.hook_point) == (-1, "residual")
    return edit.change(torch.zeros(1, model.host.cfg.d_model))[0]


def test_it_is_the_mean_of_the_function_vectors_of_all_other_tasks(demo: LensModel, bench: Bench) -> None:
    context = bench(SMALL, *TASKS)
    own = {name: written(function_vector(context, name), demo) for name in context.tasks}
    for task in context.tasks:
        method = universal_vector(context, task)
        expected = torch.stack([own[other] for other in own if other != task]).mean(0)
        torch.testing.assert_close(written(method, demo), expected)
        others = sum(context.labelled("effects", "probes", task=other) for other in own if other != task)
        assert method.n_labelled == others + context.labelled("valid", task=task)
        assert method.n_trained == 0


def test_universal_heads_are_chosen_by_the_other_tasks_alone(demo: LensModel, bench: Bench) -> None:
    config = SMALL.replace(vector_heads="universal")
    context, without = bench(config, *TASKS), bench(config, *TASKS[:2])
    expected = torch.stack([written(function_vector(without, name), demo) for name in TASKS[:2]]).mean(0)
    torch.testing.assert_close(written(universal_vector(context, "antonym"), demo), expected)
