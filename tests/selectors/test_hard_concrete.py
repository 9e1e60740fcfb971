"""Hard-concrete gates reach their density, and say what they used."""

import numpy as np
import pytest

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.selectors.config import ComparisonConfig
from site_lens.selectors.context import ComparisonContext
from site_lens.selectors.learned_gates import hard_concrete, learn_gates
from site_lens.site.gate_parametrization import HardConcrete
from tests.planted import CARRIERS, COUNTER

SMALL = ComparisonConfig(n_prompts=8, n_shots=4, l0_steps=60, site=sl.SiteConfig(batch_size=4))


def bench_of(model: LensModel, tasks: dict[str, sl.Task], config: ComparisonConfig = SMALL) -> ComparisonContext:
    two = [tasks["antonym"], tasks["choose_last_of_3"]]
    return ComparisonContext(model, two, config, progress=False)


@pytest.mark.parametrize("density", [0.1, 0.25, 0.5])
def test_the_density_asked_for_is_reached(demo: LensModel, demo_tasks: dict[str, sl.Task], density: float) -> None:
    for scores in hard_concrete(bench_of(demo, demo_tasks, SMALL.replace(l0_density=density))).values():
        assert scores.values.min() >= 0
        assert scores.values.max() <= 1
        assert scores.values.mean() == pytest.approx(density, abs=0.03)
        assert f"{density:.0%}" in scores.meaning


def test_the_scores_order_the_heads_as_the_settled_gates_do(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> None:
    law = HardConcrete(0.25)
    context = bench_of(demo, demo_tasks)
    for found in learn_gates(context, law, name="gates", n_steps=60, lr=0.2).values():
        order = np.argsort(law.open_probability(found.raw).numpy().ravel())
        assert (np.diff(found.gates.ravel()[order]) >= 0).all()
        assert (found.gates == 0).any()


def test_the_planted_heads_are_open_and_the_one_that_works_against_the_task_is_closed(
    planted_bench: ComparisonContext,
) -> None:
    for task, scores in hard_concrete(planted_bench).items():
        assert min(scores[head] for head in CARRIERS[task[-1]]) > 0.9
        assert scores[COUNTER] < 0.1
