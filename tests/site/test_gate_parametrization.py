"""Gate parametrizations, and the joint fits under them."""

import numpy as np
import pytest
import torch

import site_lens as sl
from site_lens.site.gate_parametrization import GateParametrization, HardConcrete, PricedLogit, Sigmoid, Unbounded
from site_lens.site.optimizer import AlphaMapRun, JointOptimizer
from site_lens.site.plan import make_plan
from tests.conftest import Tasks

PARAMETRIZATIONS: dict[str, tuple[GateParametrization, dict[str, object]]] = {
    "sigmoid": (Sigmoid(), {}),
    "priced_logit": (PricedLogit(-0.1), {}),
    "unbounded": (Unbounded(), {"mix": "additive", "lr": 0.05}),
    "hard_concrete": (HardConcrete(0.25), {}),
}
"""Every parametrization, and the settings it is used with."""

EVERY = pytest.mark.parametrize("name", PARAMETRIZATIONS)
SMALL = sl.SiteConfig(n_steps=8, n_prompts=4, n_shots=4, n_valid=10, eval_every=4)
ALL_HEADS = torch.ones(6, 8, dtype=torch.bool)


@pytest.fixture(scope="module")
def jobs(demo: sl.LensModel, demo_tasks: Tasks) -> list[sl.SiteJob]:
    """Two tasks that take different numbers of steps."""
    two = [demo_tasks["antonym"], demo_tasks["choose_last_of_3"]]
    embeddings = sl.capture_embeddings(demo, two, n_prompts=4, n_shots=4)
    configs = [SMALL, SMALL.replace(n_steps=5)]
    return [sl.SiteJob(task, config, embeddings[task.name]) for task, config in zip(two, configs, strict=True)]


def run(model: sl.LensModel, jobs: list[sl.SiteJob], gates: GateParametrization) -> list[AlphaMapRun]:
    return JointOptimizer(model, make_plan(model, jobs), budget_bytes=2**30, gates=gates).run(progress=False)


def under(name: str, jobs: list[sl.SiteJob]) -> list[sl.SiteJob]:
    """Give jobs the settings that a parametrization is used with."""
    return [sl.SiteJob(job.task, job.config.replace(**PARAMETRIZATIONS[name][1]), job.embedding) for job in jobs]


def gap(one: AlphaMapRun, other: AlphaMapRun) -> float:
    return float(np.abs(np.array(one.alphas) - np.array(other.alphas)).max())


@EVERY
def test_the_start_is_the_parameter_of_its_gates(name: str) -> None:
    gates = PARAMETRIZATIONS[name][0]
    inside = torch.linspace(0.01, 0.99, 48).view(6, 8)
    assert torch.allclose(gates.deterministic(gates.raw(inside)), inside, atol=1e-6)


def test_the_probability_of_an_open_gate_is_the_share_of_draws_that_are_not_0() -> None:
    gates, n = HardConcrete(0.25), 200_000
    uniform = (torch.arange(n) + 0.5) / n  # every draw once: no noise is left
    for raw in torch.tensor([-4.0, 0.0, 2.5]):
        sampled = gates.sample(raw, uniform)
        assert float((sampled > 0).float().mean()) == pytest.approx(float(gates.open_probability(raw)), abs=1e-4)
        # The distribution is symmetric: as many gates are fully open at `raw` as are fully closed at `-raw`.
        assert float((sampled == 1).float().mean()) == pytest.approx(1 - float(gates.open_probability(-raw)), abs=1e-4)


def test_a_hard_concrete_gate_has_a_slope_between_its_ends_and_none_at_them() -> None:
    gates = HardConcrete(0.25)
    uniform = torch.tensor([0.0, 0.001, 0.3, 0.5, 0.7, 0.999])
    raw = torch.zeros(6, requires_grad=True)
    sampled = gates.sample(raw, uniform)
    sampled.sum().backward()  # type: ignore[no-untyped-call]
    assert raw.grad is not None
    assert sampled.tolist() == sorted(sampled.tolist())
    assert (raw.grad > 0).tolist() == [False, False, True, True, True, False]
    above, below = (gates.sample(torch.full((6,), step), uniform) for step in (1e-3, -1e-3))
    assert torch.allclose(raw.grad, (above - below) / 2e-3, atol=1e-3)


def test_the_penalty_vanishes_at_the_target_alone_and_its_price_grows() -> None:
    gates = HardConcrete(0.25)
    raw = torch.linspace(-12, 12, 2001)[:, None, None].expand(-1, 6, 8)
    costs = {
        progress: gates.penalty(raw, torch.full((2001,), progress), ALL_HEADS) for progress in (0.0, 0.25, 0.5, 0.99)
    }
    at_least = {progress: float(gates.open_probability(raw[cost.argmin(), 0, 0])) for progress, cost in costs.items()}
    assert at_least == pytest.approx({0.0: 1.0, 0.25: 0.625, 0.5: 0.25, 0.99: 0.25}, abs=0.01)
    assert costs[0.99][0] > 5 * costs[0.5][0]
    there = torch.arange(6)[:, None].expand(6, 8) < 3  # heads that a ragged grid lacks do not count
    absent = torch.cat([raw[:1, :3], raw[:1, 3:] + 9], dim=1)
    assert torch.equal(*(gates.penalty(each, torch.tensor([0.9]), there) for each in (raw[:1], absent)))


def test_the_price_of_a_logit_is_shared_by_the_heads_and_has_no_slope_beyond_its_limits() -> None:
    mask = torch.tensor([[True, True, True], [True, False, False]])
    raw = torch.tensor([[[-5.0, -3.9, 3.9], [5.0, 1.0, 9.0]]], requires_grad=True)
    cost = PricedLogit(0.1).penalty(raw, torch.zeros(1), mask)
    cost.sum().backward()  # type: ignore[no-untyped-call]
    assert raw.grad is not None
    assert cost.tolist() == pytest.approx([0.0], abs=1e-6)
    assert torch.allclose(raw.grad, torch.tensor([[[0.0, 0.025, 0.025], [0.0, 0.0, 0.0]]]))


@EVERY
def test_a_joint_fit_equals_the_separate_fits_under_every_parametrization(
    demo: sl.LensModel, jobs: list[sl.SiteJob], name: str
) -> None:
    mine = under(name, jobs)
    joint = run(demo, mine, PARAMETRIZATIONS[name][0])
    for job, together in zip(mine, joint, strict=True):
        (alone,) = run(demo, [job], PARAMETRIZATIONS[name][0])
        assert gap(alone, together) < 1e-4
        assert np.allclose(alone.raws, together.raws, atol=1e-3)


def test_hard_concrete_draws_differ_by_seed_and_agree_for_one_seed(demo: sl.LensModel, jobs: list[sl.SiteJob]) -> None:
    gates, job = HardConcrete(0.25), jobs[1]
    other = sl.SiteJob(job.task, job.config.replace(seed=1), job.embedding)
    (first,), (again,), (differing,) = (run(demo, [each], gates) for each in (job, job, other))
    assert np.array_equal(first.alphas, again.alphas)
    assert gap(first, differing) > 0.01


@EVERY
def test_a_warm_start_keeps_the_margin_from_0_and_1(demo: sl.LensModel, jobs: list[sl.SiteJob], name: str) -> None:
    gates, (job, _) = PARAMETRIZATIONS[name][0], under(name, jobs)
    warm = sl.HeadGates.constant(demo.grid, 0.0).replace(values=np.linspace(0, 1, 48).reshape(6, 8))
    (found,) = run(demo, [sl.SiteJob(job.task, job.config.replace(n_steps=1), job.embedding, warm)], gates)
    assert np.allclose(found.start, np.clip(warm.values, gates.margin, 1 - gates.margin), atol=1e-6)
    assert np.array_equal(found.start, found.alphas[0])


def test_the_loss_recorded_is_without_the_penalty(demo: sl.LensModel, jobs: list[sl.SiteJob]) -> None:
    costly = type("Costly", (Sigmoid,), {"penalty": lambda self, raw, progress, mask: 100 + 0 * raw.sum((1, 2))})()
    for plain, other in zip(run(demo, jobs, Sigmoid()), run(demo, jobs, costly), strict=True):
        assert plain.loss == other.loss
