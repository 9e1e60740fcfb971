"""REINFORCE over masks: its estimator is the slope of the expected loss, and it asks rows of train alone."""

from itertools import product

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
TASKS = ("antonym", "choose_last_of_3")


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


def test_a_head_that_helps_is_learned_one_that_hurts_is_dropped_and_one_that_the_grid_lacks_is_in_no_mask() -> None:
    grid, seen = torch.tensor([[True, True, True, False]]), list[Tensor]()

    def losses(step: int, masks: Tensor) -> Tensor:
        seen.append(masks)
        noise = torch.tensor(seed_stream("noise", step).normal(0, 0.2, masks.shape[:2]), dtype=torch.float32)
        return loss_of(masks[:, :, 0, :3]) + noise

    config = sl.ComparisonConfig(mask_steps=200, masks_per_step=16)
    *_, (_, reached) = learn_probabilities(losses, [seed_stream("bandit")], grid, config)
    helps, hurts, joins = reached[0, 1, 0, :3].tolist()
    assert min(helps, joins) > 0.95 and hurts < 0.05
    assert torch.cat(seen).flatten(0, 1).any(0).tolist() == grid.tolist()


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
    config = SMALL.replace(mask_steps=4, mask_prompts=None, n_valid=8)
    together, alone = (bernoulli_masks(bench(config, *names))["antonym"] for names in (TASKS, TASKS[:1]))
    assert np.allclose(alone.values, together.values, atol=1e-4)


def test_the_best_mask_holds_the_planted_heads_and_not_the_one_that_works_against_them(planted: sl.LensModel) -> None:
    config = sl.ComparisonConfig(template=TEMPLATE, n_shots=8, mask_steps=250, rate_factors=(1.0,))
    tasks = [planted_tasks()[name] for name in ("direct_u", "swapped_v")]
    context = sl.ComparisonContext(planted, tasks, config, progress=False)
    for task, heads in best_masks(context).items():
        assert set(sl.HeadSet.of(planted.grid, CARRIERS[task[-1]])) <= set(heads)
        assert sl.Head.parse(COUNTER) not in heads


def test_forwards_and_labelled_rows_are_counted(bench: Bench) -> None:
    context = bench(SMALL.replace(mask_steps=4, n_valid=8), *TASKS)
    for task, scores in bernoulli_masks(context).items():
        # The embedding, and for three rates four steps of 32 masks and five evaluations of ten.
        assert scores.n_forwards == 100 + 3 * (4 * 32 + 5 * 10 * 8)
        shown, judged = set(mask_embeddings(context)[task].labelled_rows), set(judged_rows(context, task))
        assert scores.n_labelled is not None and len(judged) == 50
        assert len(shown) <= scores.n_labelled - 8 <= len(shown) + 4
        n_rows = mask_labelled(context, task) - 8
        assert max(len(shown | judged), scores.n_labelled - 8) <= n_rows <= len(shown | judged) + 4
    assert bernoulli_masks(context) is bernoulli_masks(context)
