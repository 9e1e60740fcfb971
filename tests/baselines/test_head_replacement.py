"""MTV puts the embedding in place of a set of heads, at the last prompt token and at every generated one."""

import inspect

import numpy as np
import pytest

import site_lens as sl
from site_lens.baselines.head_replacement import head_replacement
from site_lens.baselines.site_variants import all_heads_one
from site_lens.core.sampling import zero_shot_prompts
from site_lens.interventions.asking import Asked
from site_lens.interventions.generating import generate
from site_lens.interventions.methods import Method, prompting
from site_lens.interventions.scoring import Scores, score_methods
from site_lens.models.protocol import LensModel
from site_lens.selectors.masks import best_masks
from site_lens.selectors.settings import ComparisonConfig
from site_lens.selectors.workbench import Workbench
from tests.planted import CARRIERS

SMALL = ComparisonConfig(n_prompts=6, n_shots=4, mask_steps=4, masks_per_step=4, mask_prompts=None, mask_shots=None)


@pytest.fixture
def bench(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> Workbench:
    return Workbench(demo, demo_tasks["antonym"], SMALL, progress=False)


def with_heads(bench: Workbench, heads: sl.HeadSet) -> Method:
    """The method of a bench on which some heads are said to have been chosen for every task."""
    bench.once((inspect.unwrap(best_masks),), lambda: dict.fromkeys(bench.tasks, heads))
    return head_replacement(bench, next(iter(bench.tasks)))


def answers(bench: Workbench, *methods: Method) -> list[Scores]:
    task = next(iter(bench.tasks.values()))
    asked = Asked.of(bench.model, zero_shot_prompts(task.test[:10], bench.config.template))
    return [scores for _, scores in score_methods(bench.model, asked, methods)]


def test_no_heads_are_zero_shot_prompting(bench: Workbench) -> None:
    method = with_heads(bench, sl.HeadSet.of(bench.model.grid, []))
    plain, found = answers(bench, prompting(0), method)
    assert np.array_equal(plain.metrics["log_prob"], found.metrics["log_prob"])


def test_all_heads_are_alpha_one_at_every_head(bench: Workbench) -> None:
    method = with_heads(bench, ~sl.HeadSet.of(bench.model.grid, []))
    everywhere, found = answers(bench, all_heads_one(bench, "antonym"), method)
    assert np.array_equal(everywhere.metrics["log_prob"], found.metrics["log_prob"])


def test_generated_tokens_are_edited_too(bench: Workbench) -> None:
    method = with_heads(bench, ~sl.HeadSet.of(bench.model.grid, []))
    edits = method.edits(bench.model)
    prompts = ["Q: hot\nA: cold\n\nQ: big\nA:", "Q: one, two\nA: one\n\nQ: red, dog\nA:", "Q: day\nA:"]
    once = generate(bench.model, prompts, edits, max_new_tokens=8, stop_at="<never>")
    every = generate(bench.model, prompts, edits, every_step=method.every_step, max_new_tokens=8, stop_at="<never>")
    assert method.every_step
    # With every head replaced at every token, what follows depends on the token before it alone.
    assert len(set(every)) == 1 < len(set(once))


def test_the_planted_carriers_bring_the_task_and_busy_heads_do_not(planted_bench: Workbench) -> None:
    task = next(iter(planted_bench.tasks.values()))
    carriers = sl.HeadSet.of(planted_bench.model.grid, CARRIERS["u"])
    right = []
    for heads in (carriers, ~carriers):
        config = planted_bench.config.replace(mask_steps=2, masks_per_step=2)
        one = Workbench(planted_bench.model, task, config, progress=False)
        right.append(answers(one, with_heads(one, heads))[0].metrics["first_token"].mean())
    assert right[0] == 1 > right[1]


def test_the_heads_that_reinforce_chose_are_replaced_and_counted(bench: Workbench) -> None:
    method = head_replacement(bench, "antonym")
    chosen = best_masks(bench)["antonym"]
    planted = with_heads(Workbench(bench.model, bench.tasks, SMALL, progress=False), chosen)
    found, expected = answers(bench, method, planted)
    assert np.array_equal(found.metrics["log_prob"], expected.metrics["log_prob"])
    assert method.n_trained == len(bench.model.grid)
    assert 0 < method.n_labelled <= len(bench.tasks["antonym"].train) + len(bench.tasks["antonym"].valid)
