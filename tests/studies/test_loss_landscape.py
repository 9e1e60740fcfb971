"""The landscape of the planted model: one basin, whose maps agree where heads matter and nowhere else."""

import numpy as np
import pytest

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.studies.loss_landscape.result import PLANE
from tests.planted import CARRIERS, TEMPLATE, planted_tasks

CONFIG = sl.SiteConfig(n_prompts=10, n_shots=8)
OPTIONS = {"n_fits": 18, "n_nulls": 4, "lrs": (0.2, 0.5), "n_steps": (50, 100), "max_lines": 80}


def measured(model: LensModel, **options: object) -> sl.FitLandscape:
    whole = planted_tasks()["direct_u"]
    rows = (*whole.train, *whole.valid, *whole.test)
    task = sl.Task.from_examples("direct_u", rows, shares=(0.4, 0.1, 0.5))  # enough test rows for a verdict
    return sl.fit_landscape(model, task, CONFIG, template=TEMPLATE, progress=False, **OPTIONS | options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def landscape(planted: LensModel) -> sl.FitLandscape:
    return measured(planted)


def test_all_fits_lie_in_one_basin_without_barriers(landscape: sl.FitLandscape) -> None:
    assert landscape.verdict == "one basin"
    assert landscape.barriers.max() < 0.01 * landscape.gain
    assert landscape.right[~landscape.null].all()


def test_all_fits_open_the_carriers(landscape: sl.FitLandscape) -> None:
    carriers = sl.HeadSet.of(landscape.model.grid, CARRIERS["u"])
    assert carriers <= landscape.always_open()


def test_heads_that_write_nothing_stay_where_they_began(landscape: sl.FitLandscape) -> None:
    idle = landscape.alphas[:, 0, 1:]  # of layer 0 the first head alone writes, at tokens before the last
    for fit, alphas in zip(landscape.fits, idle, strict=True):
        if fit.start != "random":
            assert np.allclose(alphas, fit.start, atol=1e-6)
    # So maps of one basin may agree little: where they began shows.
    own = ~landscape.null
    assert landscape.jaccard()[np.ix_(own, own)].min() < 0.6


def test_ends_of_lines_and_corners_of_the_slice_are_the_fits(landscape: sl.FitLandscape) -> None:
    first, second = np.array(landscape.lines).T
    assert np.allclose(landscape.profiles[:, 0], landscape.losses[first], atol=1e-5)
    assert np.allclose(landscape.profiles[:, -1], landscape.losses[second], atol=1e-5)
    zero, one = PLANE.index(0.0), PLANE.index(1.0)
    corners = [landscape.slice[zero, zero], landscape.slice[zero, one], landscape.slice[one, zero]]
    assert np.allclose(corners, landscape.losses[list(landscape.plane)], atol=1e-5)
    assert landscape.losses[landscape.plane[0]] == landscape.losses[landscape.improved].min()


def test_losses_are_those_of_the_same_fit_on_its_own(planted: LensModel, landscape: sl.FitLandscape) -> None:
    task, own = planted_tasks()["direct_u"], landscape.fits[0]
    config = CONFIG.replace(init=own.start, lr=own.lr, n_steps=own.n_steps, seed=own.seed)
    embeddings = sl.capture_embeddings(planted, task, n_prompts=10, n_shots=8, template=TEMPLATE, progress=False)
    fit = sl.fit_site(planted, task, config, embeddings=embeddings, progress=False)["direct_u"]
    assert np.abs(fit.gates.values - landscape.alphas[0]).max() < 1e-4


def test_null_fits_do_not_learn_the_task(landscape: sl.FitLandscape) -> None:
    null = landscape.null
    assert landscape.losses[null].min() > landscape.losses[~null].max()


def test_starts_and_settings_are_spread_evenly(landscape: sl.FitLandscape) -> None:
    own = [fit for fit in landscape.fits if not fit.null]
    starts = [fit.start for fit in own]
    assert starts.count("random") == 9
    assert {starts.count(start) for start in (0.1, 0.5, 0.9)} == {3}
    assert len({fit.seed for fit in landscape.fits}) == len(landscape.fits)
    for start in (0.1, 0.5, 0.9):
        assert len({(fit.lr, fit.n_steps) for fit in own if fit.start == start}) == 3


def test_the_same_seed_gives_the_same_landscape_and_another_one_does_not(planted: LensModel) -> None:
    small = {"n_fits": 4, "n_nulls": 0, "n_steps": (10,)}
    one, same, other = (measured(planted, seed=seed, **small) for seed in (0, 0, 1))
    assert one == same
    assert one.verdict == "too few"
    assert not np.array_equal(one.alphas, other.alphas)


def test_what_cannot_be_a_landscape_is_refused(planted: LensModel) -> None:
    with pytest.raises(sl.InputError, match="at least 3"):
        measured(planted, n_fits=2)
    with pytest.raises(sl.InputError, match="one task's own fit"):
        sl.fit_landscape(planted, planted_tasks()["direct_u"], CONFIG.replace(shared=True), template=TEMPLATE)
