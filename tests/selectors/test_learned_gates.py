"""Hard-concrete gates reach their density; weights of the learnable task vector: their sign, start and effect."""

import numpy as np
import pytest

import site_lens as sl
from site_lens.selectors.learned_gates import hard_concrete, head_weights
from tests.conftest import Bench
from tests.planted import CARRIERS, COUNTER

GATES = sl.ComparisonConfig(n_prompts=8, n_shots=4, l0_steps=60, site=sl.SiteConfig(batch_size=4))
SMALL = GATES.replace(weight_steps=25, rate_factors=(1.0,))
TASKS = ("antonym", "choose_last_of_3")


def test_carriers_weigh_more_than_zero_what_works_against_the_task_less_and_idle_heads_nothing(
    planted_bench: sl.ComparisonContext,
) -> None:
    for task, scores in head_weights(planted_bench).items():
        carriers = CARRIERS[task[-1]]
        assert min(scores[head] for head in carriers) > 0.5
        assert scores[COUNTER] < -0.5
        idle = ~sl.HeadSet.of(scores.grid, [*carriers, COUNTER]).mask()
        assert np.abs(scores.values[idle]).max() < 1e-3


def test_the_first_step_goes_from_zero_by_the_learning_rate_either_way(bench: Bench) -> None:
    context = bench(SMALL.replace(weight_steps=1), *TASKS)
    lr = context.config.weight_lr
    for scores in head_weights(context).values():
        assert np.allclose(np.abs(scores.values), lr, rtol=1e-3)
        assert 0 < (scores.values > 0).mean() < 1


def test_price_and_layers_of_the_site_settings_are_not_those_of_the_weights(bench: Bench) -> None:
    few = SMALL.replace(weight_steps=3)
    plain = bench(few, *TASKS)
    priced = bench(few.replace(site=SMALL.site.replace(head_price=0.05, alpha_per="layer")), *TASKS)
    for task, scores in head_weights(plain).items():
        assert np.allclose(scores.values, head_weights(priced)[task].values, atol=1e-6)


@pytest.mark.parametrize("density", [0.1, 0.5])
def test_the_density_asked_for_is_reached(bench: Bench, density: float) -> None:
    """Gates begin open, and some tasks lose on valid as they are closed: the density decides which step is kept."""
    for scores in hard_concrete(bench(GATES.replace(l0_density=density), *TASKS)).values():
        assert 0 <= scores.values.min() <= scores.values.max() <= 1
        assert scores.values.mean() == pytest.approx(density, abs=0.03)
        assert f"{density:.0%}" in scores.meaning
