"""Loss landscape: the planted model has one basin, whose maps agree where heads matter; verdicts on planted lines."""

import numpy as np
import pytest

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.studies.loss_landscape.result import PLANE
from tests.fake_studies import fake_landscape
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


def test_all_fits_lie_in_one_basin_and_open_the_carriers(landscape: sl.FitLandscape) -> None:
    assert landscape.verdict == "one basin"
    assert landscape.barriers.max() < 0.01 * landscape.gain
    assert landscape.right[~landscape.null].all()
    assert sl.HeadSet.of(landscape.model.grid, CARRIERS["u"]) <= landscape.always_open()
    assert landscape.losses[landscape.null].min() > landscape.losses[~landscape.null].max()


def test_heads_that_write_nothing_stay_where_they_began(landscape: sl.FitLandscape) -> None:
    idle = landscape.alphas[:, 0, 1:]  # of layer 0 the first head alone writes, at tokens before the last
    for fit, alphas in zip(landscape.fits, idle, strict=True):
        if fit.start != "random":
            assert np.allclose(alphas, fit.start, atol=1e-6)
    # So maps of one basin may agree little: where they began shows.
    own = ~landscape.null
    assert landscape.jaccard()[np.ix_(own, own)].min() < 0.6


def test_ends_of_lines_and_corners_of_the_slice_are_the_fits(landscape: sl.FitLandscape) -> None:
    ends = np.array(landscape.lines)
    assert np.allclose(landscape.profiles[:, [0, -1]], landscape.losses[ends], atol=1e-5)
    zero, one = PLANE.index(0.0), PLANE.index(1.0)
    corners = landscape.slice[[zero, zero, one], [zero, one, zero]]
    assert np.allclose(corners, landscape.losses[list(landscape.plane)], atol=1e-5)
    assert landscape.losses[landscape.plane[0]] == landscape.losses[landscape.improved].min()


def test_a_fit_is_the_same_fit_on_its_own(planted: LensModel, landscape: sl.FitLandscape) -> None:
    task, own = planted_tasks()["direct_u"], landscape.fits[0]
    config = CONFIG.replace(init=own.start, lr=own.lr, n_steps=own.n_steps, seed=own.seed)
    embeddings = sl.capture_embeddings(planted, task, n_prompts=10, n_shots=8, template=TEMPLATE, progress=False)
    fit = sl.fit_site(planted, task, config, embeddings=embeddings, progress=False)["direct_u"]
    assert np.abs(fit.gates.values - landscape.alphas[0]).max() < 1e-4


def test_the_same_seed_gives_the_same_landscape_and_another_one_does_not(planted: LensModel) -> None:
    small = {"n_fits": 4, "n_nulls": 0, "n_steps": (10,)}
    first, same, other = (measured(planted, seed=seed, **small) for seed in (0, 0, 1))
    assert first == same
    assert first.verdict == "too few"
    assert not np.array_equal(first.alphas, other.alphas)


def test_a_barrier_is_the_rise_above_the_higher_end_in_units_of_the_gain() -> None:
    flat, hilly = fake_landscape(n_fits=16), fake_landscape(n_fits=16, bump=1.0)
    assert np.allclose(flat.barriers, 0, atol=1e-6)
    assert (flat.verdict, hilly.verdict) == ("one basin", "several basins")
    assert np.allclose(hilly.barriers, hilly.profiles.max(1) - hilly.profiles[:, [0, -1]].max(1))
    assert flat.free is not None and flat.free.n == 120 and flat.free.low < flat.free.value == 1
    # A twentieth of the gain is no barrier, however large that is in nats.
    assert fake_landscape(n_fits=16, bump=1.0, gain=20.0).verdict == "one basin"


def test_too_few_fits_rows_or_lines_and_too_little_gain_are_no_verdict() -> None:
    whole = fake_landscape()
    worse = tuple(fit.replace(status="no_improvement") if i < 5 else fit for i, fit in enumerate(whole.fits))
    for few in (
        fake_landscape(n_fits=5),
        fake_landscape(right=np.ones((12, 5))),
        whole.replace(lines=whole.lines[:3], profiles=whole.profiles[:3]),
        whole.replace(fits=worse),
    ):
        assert few.verdict == "too few"
    assert fake_landscape(gain=0.05).verdict == "no gain"


def test_agreement_is_1_with_itself_and_a_flat_map_has_no_order() -> None:
    landscape = fake_landscape()
    alphas = landscape.alphas.copy()
    alphas[0], alphas[1] = alphas[3], 0.2
    changed = landscape.replace(alphas=alphas)
    for alike in (changed.jaccard(), changed.ranks()):
        assert alike[0, 3] == pytest.approx(1)
        assert np.allclose(alike, alike.T, equal_nan=True)
    assert not changed.ranks()[1].any()
    first, second = landscape.alphas[:2] > 0.5
    assert landscape.jaccard()[0, 1] == pytest.approx((first & second).sum() / (first | second).sum())
