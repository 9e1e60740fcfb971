"""The universal function vector is the mean of the others' function vectors, and knows nothing of its own task."""

import pytest
import torch

import site_lens as sl
from site_lens.methods.function_vector import function_vector, universal_vector
from site_lens.models.base import LensModel
from site_lens.records.errors import InputError
from site_lens.selectors.context import ComparisonContext

SMALL = sl.ComparisonConfig(n_prompts=6, n_shots=4, n_probes=3, n_valid=8, n_vector_heads=5, effect_prompts=None)


def bench(model: LensModel, tasks: dict[str, sl.Task], *names: str) -> ComparisonContext:
    return ComparisonContext(model, [tasks[name] for name in names], SMALL, progress=False)


def written(method: sl.Method, model: LensModel) -> torch.Tensor:
    """Return what a method adds to the stream."""
    (edit,) = method.edits(model)
    assert (edit.column, edit.hook_point) == (-1, "residual")
    return edit.change(torch.zeros(1, model.host.cfg.d_model))[0]


def test_it_is_the_mean_of_the_function_vectors_of_all_other_tasks(
    demo: LensModel, demo_tasks: dict[str, sl.Task]
) -> None:
    context = bench(demo, demo_tasks, "english-french", "country-capital", "antonym")
    own = {name: written(function_vector(context, name), demo) for name in context.tasks}
    for task in context.tasks:
        method = universal_vector(context, task)
        expected = torch.stack([own[other] for other in own if other != task]).mean(0)
        torch.testing.assert_close(written(method, demo), expected)
        others = sum(context.labelled("effects", "probes", task=other) for other in own if other != task)
        assert method.n_labelled == others + context.labelled("valid", task=task)
        assert method.n_trained == 0


def test_a_context_of_one_task_has_no_other_vector(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> None:
    with pytest.raises(InputError):
        universal_vector(bench(demo, demo_tasks, "antonym"), "antonym")


def test_universal_heads_are_chosen_by_the_other_tasks_alone(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> None:
    names = ["english-french", "country-capital", "antonym"]
    context, without = (
        ComparisonContext(
            demo, [demo_tasks[name] for name in each], SMALL.replace(vector_heads="universal"), progress=False
        )
        for each in (names, names[:2])
    )
    expected = torch.stack([written(function_vector(without, name), demo) for name in names[:2]]).mean(0)
    torch.testing.assert_close(written(universal_vector(context, "antonym"), demo), expected)
