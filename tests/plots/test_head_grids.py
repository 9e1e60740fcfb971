"""Head maps hold one number a head, over layers and heads: single maps, many, differences, spread over seeds."""

import numpy as np
from numpy.typing import ArrayLike

import site_lens as sl
from tests.fakes import fake_fit, fake_fits, fake_identity
from tests.site.test_head_path import fake_path

SMALL, RAGGED = sl.HeadGrid.full(2, 3), sl.HeadGrid((4, 0, 2))
TASKS = ["antonym", "synonym", "capital", "plural", "past"]
EFFECT = "effect on the answer: above 0 helps"


def scores(
    values: ArrayLike, grid: sl.HeadGrid = SMALL, *, task: str | None = None, meaning: str = EFFECT
) -> sl.HeadScores:
    return sl.HeadScores(grid=grid, values=values, selector="fv", meaning=meaning, task=task)


def test_a_head_map_shows_alphas_on_a_scale_from_0_to_1_with_the_ranks_of_the_table() -> None:
    fit = fake_fit("antonym", seed=3)
    figure = sl.plots.head_map(fit)
    np.testing.assert_array_equal(np.asarray(figure.data[0].z, dtype=np.float32), fit.gates.values)
    np.testing.assert_array_equal(figure.data[0].customdata, fit.gates.ranks())
    assert "one seed (3)" in figure.layout.title.subtitle.text
    closed = sl.plots.head_map(sl.HeadGates.constant(SMALL, 0.01)).layout
    assert (closed.coloraxis.cmin, closed.coloraxis.cmax, closed.coloraxis.colorbar.title.text) == (0, 1, "Alpha")
    assert sl.plots.head_map(fit, title="mine").layout.title.text == "mine"


def test_places_without_a_head_are_blank_and_painted_grey_in_every_map() -> None:
    model = fake_identity(grid=RAGGED)
    for figure in (
        sl.plots.head_map(scores(np.where(RAGGED.mask, -1.0, 0.0), RAGGED)),
        sl.plots.head_maps(fake_fits(["a"], model=model)),
        sl.plots.head_difference(fake_fit("a", model=model), fake_fit("b", model=model)),
        sl.plots.alpha_spread([fake_fit("a", seed, model=model) for seed in range(2)]),
    ):
        for values, grey in zip(figure.data[::2], figure.data[1::2], strict=True):
            np.testing.assert_array_equal(np.isnan(values.z), ~RAGGED.mask)
            np.testing.assert_array_equal(np.isnan(grey.z), RAGGED.mask)
            assert not grey.showscale
            assert (values.xaxis, values.yaxis) == (grey.xaxis, grey.yaxis)


def test_every_figure_of_a_control_says_that_it_shows_one() -> None:
    for draw in (sl.plots.head_map, sl.plots.training, sl.plots.alpha_paths, sl.plots.alpha_histogram):
        for changes, words in (({"null": "shuffled_answers"}, "shuffled answers"), ({"embedding": "zero"}, "of zeros")):
            control = fake_fit("antonym", config=sl.SiteConfig(**changes))
            assert words in draw(control).layout.title.subtitle.text
            assert words not in draw(fake_fit("antonym")).layout.title.subtitle.text


def test_every_fit_has_its_map_in_order_on_one_scale() -> None:
    fits = fake_fits([*TASKS, "a" * 60])
    figure = sl.plots.head_maps(fits, columns=3)
    for trace, fit in zip(figure.data, fits.values(), strict=True):
        np.testing.assert_array_equal(np.asarray(trace.z, dtype=np.float32), fit.gates.values)
        assert trace.coloraxis == "coloraxis"
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0, 1)
    names = [name.text for name in figure.layout.annotations]
    assert names[:5] == TASKS and len(names[5]) < 30
    seeds = sl.plots.head_maps(sl.SiteFits([fake_fit("antonym", seed=0), fake_fit("antonym", seed=1)]))
    assert [name.text for name in seeds.layout.annotations] == ["antonym#0", "antonym#1"]
    different = sl.SiteFits([fake_fit("a"), fake_fit("b", model=fake_identity(grid=sl.HeadGrid((2, 0))))])
    assert [len(trace.z) for trace in sl.plots.head_maps(different).data if trace.coloraxis] == [6, 2]


def test_the_map_of_a_path_is_the_mean_over_its_fits_without_a_price_that_left_their_start() -> None:
    path = fake_path(((1, 2, 4), (1, 1, 1), (1, 1, 1)), ((0.5,) * 3,) * 3)
    figure = sl.plots.head_maps(sl.HeadPaths([path]))
    (cells,) = figure.data
    np.testing.assert_allclose(cells.z[0], [0.9, (0.1 + 2 * 0.9) / 3, *[(2 * 0.1 + 0.9) / 3] * 2], rtol=1e-6)
    np.testing.assert_allclose(cells.z[1], 0.1, rtol=1e-6)
    assert "mean alpha of 3 fits" in cells.hovertemplate and "mean" in figure.layout.title.subtitle.text

    def keeping(*kept: int) -> sl.HeadPath:
        fits = tuple(fit.replace(kept_start=i in kept) for i, fit in enumerate(path.fits))
        return path.replace(fits=fits)

    (cells,) = sl.plots.head_maps(sl.HeadPaths([keeping(2)])).data
    np.testing.assert_allclose(cells.z[0], [0.9, 0.5, 0.1, 0.1], rtol=1e-6)
    assert "mean alpha of 2 fits" in cells.hovertemplate
    unmoved = fake_fit("antonym", model=path.model).replace(status="no_improvement", kept_step=0)
    assert unmoved.kept_start
    for none in (sl.HeadPaths([keeping(0, 1, 2)]), sl.SiteFits([unmoved])):
        figure = sl.plots.head_maps(none)
        assert np.isnan(figure.data[0].z).all()
        assert [note.text for note in figure.layout.annotations] == ["antonym", "start kept:<br>no map"]


def test_differences_are_the_first_less_the_second_with_the_ranks_of_both() -> None:
    first, second = fake_fit("antonym"), fake_fit("synonym")
    figure = sl.plots.head_difference(first, second)
    cells = figure.data[0]
    np.testing.assert_array_equal(cells.z, first.gates.values - second.gates.values)
    for place, fit in ((0, first), (2, second)):
        np.testing.assert_array_equal(cells.customdata[..., place], fit.gates.values)
        np.testing.assert_array_equal(cells.customdata[..., place + 1], fit.gates.ranks())
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (-1, 1)
    named = sl.plots.head_difference(first, second, names=("question", "arrow"))
    assert "question minus arrow" in named.layout.title.text and "arrow: " in named.data[0].hovertemplate
    larger = sl.plots.head_difference(scores(np.full((2, 3), 3.0)), scores(np.full((2, 3), 1.0))).layout.coloraxis
    assert (larger.cmin, larger.cmax) == (-2, 2)


def test_the_spread_is_mean_and_standard_deviation_over_seeds_on_fixed_scales() -> None:
    model = fake_identity(grid=sl.HeadGrid.full(1, 2))
    two = [fake_fit("a", 0, [[0.0, 0.25]], model=model), fake_fit("a", 1, [[1.0, 0.75]], model=model)]
    figure = sl.plots.alpha_spread(two)
    mean, spread = figure.data
    np.testing.assert_array_equal(mean.z, [[0.5, 0.5]])
    np.testing.assert_array_equal(spread.z, [[0.5, 0.25]])
    assert (mean.coloraxis, spread.coloraxis, spread.xaxis) == ("coloraxis", "coloraxis2", "x2")
    np.testing.assert_array_equal(spread.customdata, [[[0.5, 0.5, 1], [0.5, 0.25, 1]]])
    scales = figure.layout.coloraxis, figure.layout.coloraxis2
    assert [(scale.cmin, scale.cmax) for scale in scales] == [(0, 1), (0, 0.5)]
    assert sl.plots.alpha_spread(sl.SiteFits(two)).to_json() == figure.to_json()
    single = sl.plots.alpha_spread(two[1:])
    np.testing.assert_array_equal(single.data[0].z, [[1.0, 0.75]])
    assert (len(single.data), "deviation" in str(single.to_json())) == (1, False)
