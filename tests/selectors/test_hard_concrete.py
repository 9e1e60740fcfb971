"""Hard-concrete gates reach their density, and say what they used."""

import pytest

import site_lens as sl
from site_lens.selectors.learned_gates import hard_concrete
from tests.conftest import Bench
from tests.planted import CARRIERS, COUNTER

SMALL = sl.ComparisonConfig(n_prompts=8, n_shots=4, l0_steps=60, site=sl.SiteConfig(batch_size=4))


@pytest.mark.parametrize("density", [0.1, 0.25, 0.5])
def test_the_density_asked_for_is_reached(bench: Bench, density: float) -> None:
    for scores in hard_concrete(bench(SMALL.replace(l0_density=density), "antonym", "choose_last_of_3")).values():
        assert scores.values.min() >= 0
        assert scores.values.max() <= 1
        assert scores.values.mean() == pytest.approx(density, abs=0.03)
        assert f"{density:.0%}" in scores.meaning


def test_the_planted_heads_are_open_and_the_one_that_works_against_the_task_is_closed(
    planted_bench: sl.ComparisonContext,
) -> None:
    for task, scores in hard_concrete(planted_bench).items():
        assert min(scores[head] for head in CARRIERS[task[-1]]) > 0.9
        assert scores[COUNTER] < 0.1
