"""MTV puts the embedding in place of a set of heads, at the last prompt token and at every generated one."""

import inspect

import numpy as np
import pytest

import site_lens as sl
from site_lens.methods.mtv import head_replacement
from site_lens.methods.site_variants import all_heads_one
from site_lens.selectors.bernoulli_masks import best_masks
from tests.methods.conftest import answers
from tests.planted import CARRIERS

SMALL = sl.ComparisonConfig(n_prompts=6, n_shots=4, mask_steps=4, masks_per_step=4, mask_prompts=None, mask_shots=None)


@pytest.fixture
def context(demo: sl.LensModel, demo_tasks: dict[str, sl.Task]) -> sl.ComparisonContext:
    return sl.ComparisonContext(demo, demo_tasks["antonym"], SMALL, progress=False)


def with_heads(context: sl.ComparisonContext, heads: sl.HeadSet) -> sl.Method:
    """The method of a context on which some heads are said to have been chosen for every task."""
    context.once((inspect.unwrap(best_masks),), lambda: dict.fromkeys(context.tasks, heads))
    return head_replacement(context, next(iter(context.tasks)))


def test_all_heads_are_alpha_one_everywhere_and_generated_tokens_are_edited_too(
    context: sl.ComparisonContext,
) -> None:
    method = with_heads(context, ~sl.HeadSet.of(context.model.grid, []))
    everywhere, found = answers(context, context.tasks["antonym"].test, all_heads_one(context, "antonym"), method)
    assert np.array_equal(everywhere.metrics["log_prob"], found.metrics["log_prob"])
    edits = method.edits(context.model)
    prompts = ["Q: hot\nA: cold\n\nQ: big\nA:", "Q: one, two\nA: one\n\nQ: red, dog\nA:", "Q: day\nA:"]
    once = sl.generate(context.model, prompts, edits, max_new_tokens=8, stop_at="<never>")
    every = sl.generate(
        context.model, prompts, edits, every_step=method.every_step, max_new_tokens=8, stop_at="<never>"
    )
    assert method.every_step
    # With every head replaced at every token, what follows depends on the token before it alone.
    assert len(set(every)) == 1 < len(set(once))


def test_the_planted_carriers_bring_the_task_and_busy_heads_do_not(planted_bench: sl.ComparisonContext) -> None:
    task = next(iter(planted_bench.tasks.values()))
    carriers = sl.HeadSet.of(planted_bench.model.grid, CARRIERS["u"])
    right = []
    for heads in (carriers, ~carriers):
        config = planted_bench.config.replace(mask_steps=2, masks_per_step=2)
        one = sl.ComparisonContext(planted_bench.model, task, config, progress=False)
        (found,) = answers(one, task.test[:10], with_heads(one, heads))
        right.append(found.metrics["first_token"].mean())
    assert right[0] == 1 > right[1]


def test_the_heads_that_reinforce_chose_are_replaced_and_counted(context: sl.ComparisonContext) -> None:
    method = head_replacement(context, "antonym")
    chosen = best_masks(context)["antonym"]
    planted = with_heads(sl.ComparisonContext(context.model, context.tasks, SMALL, progress=False), chosen)
    found, expected = answers(context, context.tasks["antonym"].test[:10], method, planted)
    assert np.array_equal(found.metrics["log_prob"], expected.metrics["log_prob"])
    assert method.n_trained == len(context.model.grid)
    assert 0 < method.n_labelled <= len(context.tasks["antonym"].train) + len(context.tasks["antonym"].valid)
