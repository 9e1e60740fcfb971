"""Agreement: the same task over seeds and starts, against other tasks."""

from typing import Any

import numpy as np
import pytest

import site_lens as sl
from site_lens.diagnostics.alpha_rows import AlphaRows
from tests.fakes import GRID, fake_alphas, fake_fit, fake_fits, fake_trace


def several(task: str, *, noise: float, n: int = 4, starts: str = "alike") -> list[sl.SiteFit]:
    """Fits of one task whose alphas are those of the task and noise."""
    rng = np.random.default_rng(len(task))
    own = fake_alphas(task)
    found = []
    for seed in range(n):
        alphas = np.clip(own + rng.normal(0, noise, own.shape), 0, 1).astype(np.float32)
        trace = fake_trace(alphas, seed=seed)
        first = np.full(own.shape, 0.5) if starts == "alike" else rng.uniform(size=own.shape)
        path = np.concatenate([first[None], trace.alphas[1:]])
        found.append(fake_fit(task, seed, alphas, trace=trace.replace(alphas=path)))
    return found


def test_fits_of_a_task_agree_more_than_fits_of_different_tasks() -> None:
    found = sl.seed_agreement(sl.SiteFits([*several("antonym", noise=0.05), *several("plural", noise=0.05)]))
    for one in found.tasks:
        assert one.n_fits == 4
        assert one.sampling is not None and one.elsewhere is not None
        assert one.sampling > 0.9 > 0.4 > one.elsewhere
        assert one.starts is None


def test_correlation_jaccard_and_ranks_are_means_over_pairs_as_a_plain_loop_finds_them() -> None:
    fits = several("antonym", noise=0.4, n=3)
    one = sl.seed_agreement(sl.SiteFits(fits)).of("antonym")
    flat = [fit.gates.values.ravel() for fit in fits]
    pairs = [(flat[a], flat[b]) for a in range(3) for b in range(a)]
    correlations = [np.corrcoef(a, b)[0, 1] for a, b in pairs]
    jaccards = [((a > 0.5) & (b > 0.5)).sum() / ((a > 0.5) | (b > 0.5)).sum() for a, b in pairs]
    assert one.sampling == pytest.approx(np.mean(correlations), abs=1e-6)
    assert one.lowest == pytest.approx(np.min(correlations), abs=1e-6)
    assert one.jaccard == pytest.approx(np.mean(jaccards))


def test_fits_that_start_elsewhere_are_told_from_fits_that_draw_otherwise() -> None:
    one = sl.seed_agreement(sl.SiteFits(several("antonym", noise=0.1, starts="random"))).of("antonym")
    assert one.sampling is None
    assert one.own == one.starts is not None


def test_the_maps_are_mean_and_standard_deviation_over_fits() -> None:
    fits = [fake_fit("a", seed, np.full(GRID.shape, alpha)) for seed, alpha in enumerate((0.2, 0.4, 0.9))]
    found = sl.seed_agreement(sl.SiteFits(fits))
    np.testing.assert_allclose(found.mean[0], 0.5, atol=1e-6)
    np.testing.assert_allclose(found.spread[0], np.std([0.2, 0.4, 0.9]), atol=1e-6)


def test_a_single_fit_has_no_agreement_and_no_spread() -> None:
    found = sl.seed_agreement(fake_fits(["antonym"]))
    one = found.of("antonym")
    assert (one.n_fits, one.sampling, one.starts, one.lowest, one.elsewhere, one.own) == (1, *[None] * 5)
    assert not found.spread.any()
    assert found.frame().loc[0, "n_fits"] == 1
    assert len(found.heads_frame()) == len(GRID)


def test_a_fit_that_kept_its_start_takes_no_part() -> None:
    start = np.random.default_rng(0).uniform(size=GRID.shape)
    kept: dict[str, Any] = {"status": "no_improvement", "kept_step": 0}
    fits = several("antonym", noise=0.1, n=2)
    with_start = [*fits, fake_fit("antonym", 2, start, **kept), fake_fit("plural", 0, start, **kept)]
    found, alone = sl.seed_agreement(sl.SiteFits(with_start)), sl.seed_agreement(sl.SiteFits(fits))
    assert found.of("antonym") == alone.of("antonym")
    assert (found.mean[0] == alone.mean[0]).all()
    assert (found.of("plural").n_fits, found.of("plural").own) == (0, None)
    assert (found.mean[1] == fits[0].gates.values.dtype.type(start)).all()
    rows = AlphaRows.of(sl.SiteFits(with_start))
    assert list(rows.fitted) == ["antonym"] and rows.fitted["antonym"].shape[0] == 2
    assert any("plural" in note for note in rows.notes)
