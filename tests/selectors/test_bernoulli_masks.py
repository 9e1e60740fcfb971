"""REINFORCE over masks: its estimator is the slope of the expected loss, and it asks rows of train alone."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import site_lens as sl
from site_lens.activations.cached_queries import CachedQueries
from site_lens.records.hashing import seed_stream
from site_lens.selectors.bernoulli_masks import (
    LEAST,
    MaskedQueries,
    bernoulli_masks,
    best_masks,
    judged_rows,
    learn_probabilities,
    mask_embeddings,
    mask_labelled,
    reinforce,
    valid_losses,
)
from site_lens.tasks.prompt_sampling import zero_shot_prompts
from tests.conftest import Bench
from tests.planted import CARRIERS, COUNTER, TEMPLATE, planted_tasks

SMALL = sl.ComparisonConfig(n_prompts=8, n_shots=4, mask_steps=10)
QUICK = sl.ComparisonConfig(mask_steps=200, masks_per_step=16)
TASKS = ("antonym", "choose_last_of_3")
GRID = torch.ones(1, 3, dtype=torch.bool)


def at_the_end(*given: Any) -> Tensor:
    """Probabilities after the last step, (task rate layer head)."""
    *_, (_, reached) = learn_probabilities(*given)
    return reached


def loss_of(mask: Tensor) -> Tensor:
    """A loss of masks of three heads, (... head): one helps, one hurts, two of them act together."""
    a, b, c = mask.float().unbind(-1)
    return 2 - 1.5 * a + 0.7 * b - 0.9 * a * c


def test_the_estimate_is_the_slope_of_the_expected_loss_found_by_enumeration() -> None:
    logits = torch.tensor([0.25, 0.5, 0.75]).logit().requires_grad_()
    every = torch.tensor(list(product([False, True], repeat=3)))
    p = torch.sigmoid(logits)
    chance = torch.where(every, p, 1 - p).prod(1)
    expected = (chance * loss_of(every)).sum()
    (slope,) = torch.autograd.grad(expected, logits)
    # Probabilities of quarters: 64 masks hold every mask as often as it is expected, and no noise is left.
    sample = every.repeat_interleave((64 * chance).round().long(), 0)
    assert len(sample) == 64
    losses = loss_of(sample)
    estimate = reinforce(logits.detach(), sample, losses) * (losses.std() + LEAST)
    assert torch.allclose(estimate, slope, atol=1e-5)


def test_a_head_that_helps_is_learned_and_one_that_hurts_is_dropped() -> None:
    def losses(step: int, masks: Tensor) -> Tensor:
        noise = torch.tensor(seed_stream("noise", step).normal(0, 0.2, masks.shape[:2]), dtype=torch.float32)
        return loss_of(masks[:, :, 0]) + noise

    ((probabilities,),) = at_the_end(losses, [seed_stream("bandit")], GRID, QUICK)[:, 1:2]
    helps, hurts, joins = probabilities[0].tolist()
    assert helps > 0.95
    assert joins > 0.95
    assert hurts < 0.05


def test_heads_that_a_ragged_grid_lacks_are_in_no_mask() -> None:
    mask, seen = torch.tensor([[True, True], [True, False]]), list[Tensor]()

    def losses(step: int, masks: Tensor) -> Tensor:
        seen.append(masks)
        return masks.float().sum((-2, -1))

    at_the_end(losses, [seed_stream("ragged")], mask, QUICK.replace(mask_steps=5))
    assert torch.cat(seen).flatten(0, -3).any(0).tolist() == mask.tolist()


def test_the_losses_of_masks_are_those_of_hard_replacement_in_the_rows_that_were_drawn(
    demo: sl.LensModel, bench: Bench
) -> None:
    config = SMALL.replace(masks_per_step=150, rate_factors=(1.0,))  # two tasks: more rows than one decode takes
    context = bench(config, *TASKS)
    asked = MaskedQueries(context)
    masks = torch.tensor(seed_stream("masks").random((2, 150, *demo.grid.shape)) < 0.3)
    found = asked.losses(4, masks)
    for i, task in enumerate(context.tasks.values()):
        row = task.train[int(asked.rows[4, i])]
        held = CachedQueries(demo, zero_shot_prompts([row], config.template))
        embedding = torch.tensor(mask_embeddings(context)[task.name].mean)
        answers = held.answers(masks[i].float(), embedding[None])
        assert torch.allclose(found[i], -answers.log_prob[:, 0], atol=1e-4)


def test_the_loss_of_a_checkpoint_is_that_of_its_masks_on_valid(demo: sl.LensModel, bench: Bench) -> None:
    """Probabilities of 0 and 1 leave one mask, whatever is drawn."""
    context = bench(SMALL, "antonym")
    certain = torch.tensor(seed_stream("certain").random((2, *demo.grid.shape)) < 0.3).float()
    held = CachedQueries(demo, zero_shot_prompts(context.valid_rows("antonym"), SMALL.template))
    embedding = torch.tensor(mask_embeddings(context)["antonym"].mean)[None]
    expected, found = -held.answers(certain, embedding).log_prob.mean(1), valid_losses(context, "antonym", certain)
    assert found == pytest.approx(expected.tolist(), abs=0.2)  # a thousandth of the draws is the other way
    assert valid_losses(context, "antonym", certain[:1]) == pytest.approx(found[:1])


def test_a_task_learns_the_same_whoever_else_is_on_the_bench(bench: Bench) -> None:
    together = bernoulli_masks(bench(SMALL, *TASKS))["antonym"]
    alone = bernoulli_masks(bench(SMALL, "antonym"))["antonym"]
    assert np.allclose(alone.values, together.values, atol=1e-4)


def test_the_best_mask_holds_the_planted_heads_and_not_the_one_that_works_against_them(planted: sl.LensModel) -> None:
    config = sl.ComparisonConfig(template=TEMPLATE, n_shots=8, mask_steps=250)
    context = sl.ComparisonContext(planted, planted_tasks(), config, progress=False)
    for task, heads in best_masks(context).items():
        assert set(sl.HeadSet.of(planted.grid, CARRIERS[task[-1]])) <= set(heads)
        assert sl.Head.parse(COUNTER) not in heads


def test_forwards_and_labelled_rows_are_counted(bench: Bench) -> None:
    context = bench(SMALL, *TASKS)
    for task, scores in bernoulli_masks(context).items():
        n_valid = len(context.tasks[task].valid)
        # The embedding, and for three rates ten steps of 32 masks and eleven evaluations of ten.
        assert scores.n_forwards == 100 + 3 * (10 * 32 + 11 * 10 * n_valid)
        shown = set(mask_embeddings(context)[task].labelled_rows)
        assert scores.n_labelled is not None
        assert len(shown) <= scores.n_labelled - n_valid <= len(shown) + 10
        judged = set(judged_rows(context, task))
        assert len(judged) == 50
        n_rows = mask_labelled(context, task) - n_valid
        assert max(len(shown | judged), scores.n_labelled - n_valid) <= n_rows <= len(shown | judged) + 10
    assert bernoulli_masks(context) is bernoulli_masks(context)
