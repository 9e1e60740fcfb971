"""Convergence to binary: numbers worked out on paper, and early stops that are not scolded."""

import numpy as np
import pytest
from numpy.typing import ArrayLike

from site_lens.diagnostics.convergence import bimodality, check_convergence
from site_lens.heads.head_set import HeadGrid
from site_lens.site.fit import SiteConfig, SiteFit
from tests.fakes import fake_fit, fake_identity, fake_trace

FOUR = HeadGrid.full(1, 4)


def fit_of(paths: ArrayLike, *, n_steps: int = 40, grid: HeadGrid = FOUR) -> SiteFit:
    """A fit evaluated every 10 steps whose alphas go along `paths`, (evaluation head)."""
    alphas = np.asarray(paths, dtype=np.float32).reshape(-1, *grid.shape)
    trace = fake_trace(alphas[-1], n_steps=10 * (len(alphas) - 1)).replace(alphas=alphas)
    config = SiteConfig(n_steps=n_steps)
    return fake_fit("planted", 0, alphas[-1], model=fake_identity(grid=grid), config=config, trace=trace, kept_step=0)


PATHS = [
    [0.5, 0.5, 0.5, 0.5],
    [0.8, 0.4, 0.4, 0.6],
    [0.95, 0.05, 0.6, 0.4],
    [1.0, 0.0, 0.95, 0.05],
    [1.0, 0.0, 0.05, 0.05],
]


def test_a_hand_made_trajectory_gets_the_numbers_worked_out_on_paper() -> None:
    found = check_convergence(fit_of(PATHS))
    assert found.steps == (0, 10, 20, 30, 40)
    np.testing.assert_allclose(found.undecided, [1, 1, 0.5, 0, 0])
    # Step 10: heads 0 and 3 open; step 20: 2 opens and 3 closes; step 40: 2 closes again.
    np.testing.assert_allclose(found.flips, [0, 2, 2, 0, 1])
    assert found.settled_step == 30
    assert found.late_flips == 1  # of the crossings after step 30
    h = 0.286397  # entropy of 0.05 and of 0.95, in bits
    expected = [1, (0.721928 + 3 * 0.970951) / 4, (2 * h + 2 * 0.970951) / 4, h / 2, h / 2]
    np.testing.assert_allclose(found.entropy, expected, atol=1e-5)


def test_bimodality_is_one_for_two_values_five_ninths_for_a_uniform_and_one_third_for_a_normal_sample() -> None:
    samples = ([0.0, 1.0] * 5000, np.linspace(0, 1, 10_000), np.random.default_rng(0).normal(size=10_000))
    assert bimodality(np.stack([np.asarray(row) for row in samples])) == pytest.approx([1, 5 / 9, 1 / 3], abs=0.02)


def test_bimodality_of_gates_half_open_is_below_one_by_the_number_of_heads() -> None:
    for n in (4, 6, 48, 144, 1024):
        (found,) = bimodality(np.array([[0.0, 1.0] * (n // 2)]))
        assert found == pytest.approx((n - 2) * (n - 3) / (n**2 - 1)), n


def test_a_fit_that_was_stopped_early_is_measured_over_its_own_steps_and_its_flips_are_not_late() -> None:
    found = check_convergence(fit_of(PATHS[:3], n_steps=400))
    assert not found.whole
    assert found.late_flips is None
    assert found.settled_step is None
    assert check_convergence(fit_of([PATHS[0], PATHS[4]], n_steps=10)).late_flips is None  # no evaluation in between


def test_a_fit_is_settled_only_if_it_stays_so() -> None:
    there_and_back = [[0.5] * 4, [1.0, 0.0, 1.0, 0.0], [0.5] * 4]
    assert check_convergence(fit_of(there_and_back, n_steps=20)).settled_step is None
    assert check_convergence(fit_of([[1.0, 0.0, 1.0, 0.0]] * 2, n_steps=10)).settled_step == 0


def test_places_without_a_head_do_not_count() -> None:
    ragged = HeadGrid((4, 0, 2))
    paths = np.zeros((2, 3, 4))
    paths[:, ragged.mask] = 0.5
    found = check_convergence(fit_of(paths, n_steps=10, grid=ragged))
    assert found.n_heads == 6
    np.testing.assert_allclose(found.undecided, 1)
