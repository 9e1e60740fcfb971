"""Head maps hold one number a head, over layers and heads: single maps, many, differences, spread over seeds."""

import numpy as np
import pytest
from numpy.typing import ArrayLike

from site_lens import plots
from site_lens.heads.head_set import HeadGrid
from site_lens.heads.scores import HeadGates, HeadScores
from site_lens.records.errors import InputError, MismatchError
from site_lens.site.fit import SiteConfig, SiteFits
from tests.fakes import fake_fit, fake_fits, fake_identity

SMALL, RAGGED = HeadGrid.full(2, 3), HeadGrid((4, 0, 2))
TASKS = ["antonym", "synonym", "capital", "plural", "past"]
EFFECT = "effect on the answer: above 0 helps"


def scores(values: ArrayLike, grid: HeadGrid = SMALL, *, task: str | None = None, meaning: str = EFFECT) -> HeadScores:
    return HeadScores(grid=grid, values=values, selector="fv", meaning=meaning, task=task)


def test_a_head_map_shows_alphas_on_a_scale_from_0_to_1_with_the_ranks_of_the_table() -> None:
    fit = fake_fit("antonym", seed=3)
    figure = plots.head_map(fit)
    np.testing.assert_array_equal(np.asarray(figure.data[0].z, dtype=np.float32), fit.gates.values)
    for head, rank in zip(fit.gates.grid, fit.frame()["rank"], strict=True):
        assert figure.data[0].customdata[head.layer, head.head] == rank
    assert "one seed (3)" in figure.layout.title.subtitle.text
    closed = plots.head_map(HeadGates.constant(SMALL, 0.01)).layout
    assert (closed.coloraxis.cmin, closed.coloraxis.cmax, closed.coloraxis.colorbar.title.text) == (0, 1, "alpha")
    assert plots.head_map(fit, title="mine").layout.title.text == "mine"


def test_scores_get_a_scale_from_0_or_centred_on_it() -> None:
    planted: list[tuple[ArrayLike, tuple[int, int]]] = [
        ([[0.5, -2.0, 0.0], [1.0, 0.0, 0.0]], (-2, 2)),
        ([[0.5, 2.0, 0.0], [1.0, 0.0, 0.0]], (0, 2)),
        (np.zeros((2, 3)), (0, 1)),
    ]
    for values, ends in planted:
        scale = plots.head_map(scores(values)).layout.coloraxis
        assert (scale.cmin, scale.cmax) == ends
    assert scale.colorbar.title.text.replace("<br>", " ") == EFFECT


def test_places_without_a_head_are_blank_and_painted_grey_in_every_map() -> None:
    model = fake_identity(grid=RAGGED)
    for figure in (
        plots.head_map(scores(np.where(RAGGED.mask, -1.0, 0.0), RAGGED)),
        plots.head_maps(fake_fits(["a"], model=model)),
        plots.head_difference(fake_fit("a", model=model), fake_fit("b", model=model)),
        plots.alpha_spread([fake_fit("a", seed, model=model) for seed in range(2)]),
    ):
        for values, grey in zip(figure.data[::2], figure.data[1::2], strict=True):
            np.testing.assert_array_equal(np.isnan(values.z), ~RAGGED.mask)
            np.testing.assert_array_equal(np.isnan(grey.z), RAGGED.mask)
            assert not grey.showscale
            assert (values.xaxis, values.yaxis) == (grey.xaxis, grey.yaxis)


def test_axes_are_named_and_ticked_at_few_integers_with_layer_0_at_the_bottom() -> None:
    for n_layers, n_heads in ((1, 1), (6, 8), (32, 32), (80, 64)):
        axes = plots.head_map(HeadGates.constant(HeadGrid.full(n_layers, n_heads), 0.5)).layout
        assert (axes.xaxis.title.text, axes.yaxis.title.text) == ("head", "layer")
        for axis, n in ((axes.xaxis, n_heads), (axes.yaxis, n_layers)):
            assert axis.dtick == int(axis.dtick)
            assert n / axis.dtick <= 12
            assert tuple(axis.range) == (-0.5, n - 0.5)


def test_every_figure_of_a_control_says_that_it_shows_one() -> None:
    for draw in (plots.head_map, plots.training, plots.alpha_paths, plots.alpha_histogram):
        for changes, words in (({"null": "shuffled_answers"}, "shuffled answers"), ({"embedding": "zero"}, "of zeros")):
            control = fake_fit("antonym", config=SiteConfig(**changes))
            assert words in draw(control).layout.title.subtitle.text
            assert words not in draw(fake_fit("antonym")).layout.title.subtitle.text


# Brackets of key-value heads


def test_brackets_group_the_query_heads_of_one_key_value_head() -> None:
    figure = plots.head_map(fake_fit("a", model=fake_identity(n_kv_heads=2)))
    lines = [(shape.x0, shape.x1) for shape in figure.layout.shapes if shape.x0 != shape.x1]
    assert [(round(left), round(right)) for left, right in lines] == [(0, 3), (4, 7)]
    assert figure.data[0].text[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert not plots.head_map(fake_fit("a")).layout.shapes
    for record, groups in ((fake_fit("a"), 3), (fake_fit("a"), 0), (scores(RAGGED.mask * 1.0, RAGGED), 2)):
        with pytest.raises(InputError):
            plots.head_map(record, kv_groups=groups)


# Many maps


def test_every_fit_has_its_map_in_order_on_one_scale() -> None:
    fits = fake_fits([*TASKS, "a" * 60])
    figure = plots.head_maps(fits, columns=3)
    for trace, fit in zip(figure.data, fits.values(), strict=True):
        np.testing.assert_array_equal(np.asarray(trace.z, dtype=np.float32), fit.gates.values)
        assert trace.coloraxis == "coloraxis"
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0, 1)
    names = [name.text for name in figure.layout.annotations]
    assert names[:5] == TASKS
    assert len(names[5]) < 30
    seeds = plots.head_maps(SiteFits([fake_fit("antonym", seed=0), fake_fit("antonym", seed=1)]))
    assert [name.text for name in seeds.layout.annotations] == ["antonym#0", "antonym#1"]
    different = SiteFits([fake_fit("a"), fake_fit("b", model=fake_identity(grid=HeadGrid((2, 0))))])
    assert [len(trace.z) for trace in plots.head_maps(different).data if trace.coloraxis] == [6, 2]


def test_maps_stand_in_rows_with_axes_named_along_the_edges_only() -> None:
    figure = plots.head_maps(fake_fits(TASKS), columns=2)  # rows of 2, 2 and 1
    assert [axis.title.text for axis in figure.select_xaxes()] == [None, None, None, "head", "head"]
    assert [axis.title.text for axis in figure.select_yaxes()] == ["layer", None, "layer", None, "layer"]
    lefts = [axis.domain[0] for axis in figure.select_xaxes()]
    assert lefts[0] == lefts[2] == lefts[4] < lefts[1] == lefts[3]
    for options in ({"fits": SiteFits([])}, {"fits": fake_fits(["a"]), "columns": 0}):
        with pytest.raises(InputError):
            plots.head_maps(**options)


def test_the_arrangement_for_narrow_pages_is_that_of_two_columns() -> None:
    fits = fake_fits(TASKS)
    narrow, two = (
        plots.head_maps(fits).layout.meta["narrow"],
        plots.head_maps(fits, columns=2).to_plotly_json()["layout"],
    )
    assert two.get("meta") is None
    assert narrow["height"] == two["height"] > plots.head_maps(fits).layout.height
    for name in ("xaxis", "yaxis3"):
        assert narrow[name]["domain"] == pytest.approx(two[name]["domain"])


# Differences


def test_differences_are_the_first_less_the_second_with_the_ranks_of_both() -> None:
    first, second = fake_fit("antonym"), fake_fit("synonym")
    figure = plots.head_difference(first, second)
    cells = figure.data[0]
    np.testing.assert_array_equal(cells.z, first.gates.values - second.gates.values)
    for place, fit in ((0, first), (2, second)):
        np.testing.assert_array_equal(cells.customdata[..., place], fit.gates.values)
        for head, rank in zip(fit.gates.grid, fit.frame()["rank"], strict=True):
            assert cells.customdata[head.layer, head.head, place + 1] == rank
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (-1, 1)
    hard = plots.head_difference(first, first.gates.hard()).data[0].z
    np.testing.assert_array_equal(hard, first.gates.values - first.gates.hard().values)
    larger = plots.head_difference(scores(np.full((2, 3), 3.0)), scores(np.full((2, 3), 1.0))).layout.coloraxis
    assert (larger.cmin, larger.cmax) == (-2, 2)


def test_both_records_are_named_with_what_tells_them_apart() -> None:
    zero = np.zeros((2, 3))
    for first, second, title in (
        (scores(zero, task="a"), scores(zero, task="b"), "a minus b"),
        (scores(zero), scores(zero, task="b"), "fv minus b"),
        (fake_fit("a"), fake_fit("a", seed=1), "a (seed 0) minus a (seed 1)"),
    ):
        assert plots.head_difference(first, second).layout.title.text == title


def test_what_cannot_be_subtracted_is_refused() -> None:
    for first, second in (
        (fake_fit("a"), fake_fit("b", model=fake_identity(grid=RAGGED))),
        (scores(np.zeros((2, 3))), HeadGates.constant(SMALL, 0.5)),
        (scores(np.zeros((2, 3))), scores(np.zeros((2, 3)), meaning="something else")),
    ):
        with pytest.raises(MismatchError):
            plots.head_difference(first, second)


# Spread over seeds


def test_the_spread_is_mean_and_standard_deviation_over_seeds_on_fixed_scales() -> None:
    model = fake_identity(grid=HeadGrid.full(1, 2))
    two = [fake_fit("a", 0, [[0.0, 0.25]], model=model), fake_fit("a", 1, [[1.0, 0.75]], model=model)]
    figure = plots.alpha_spread(two)
    mean, spread = figure.data
    np.testing.assert_array_equal(mean.z, [[0.5, 0.5]])
    np.testing.assert_array_equal(spread.z, [[0.5, 0.25]])
    assert (mean.coloraxis, spread.coloraxis, spread.xaxis) == ("coloraxis", "coloraxis2", "x2")
    np.testing.assert_array_equal(spread.customdata, [[[0.5, 0.5, 1], [0.5, 0.25, 2]]])
    scales = figure.layout.coloraxis, figure.layout.coloraxis2
    assert [(scale.cmin, scale.cmax) for scale in scales] == [(0, 1), (0, 0.5)]
    assert plots.alpha_spread(SiteFits(two)).to_json() == figure.to_json()
    single = plots.alpha_spread(two[1:])
    np.testing.assert_array_equal(single.data[0].z, [[1.0, 0.75]])
    assert (len(single.data), "deviation" in str(single.to_json())) == (1, False)


def test_fits_that_are_not_seeds_of_one_task_are_refused() -> None:
    first, model = fake_fit("a"), fake_identity(grid=RAGGED)
    for fits, error in (
        ([], InputError),
        ([first, fake_fit("b", 1)], InputError),
        ([first, first], InputError),
        ([first, fake_fit("a", 1, config=SiteConfig(lr=0.1))], InputError),
        ([first, fake_fit("a", 1, model=model)], MismatchError),
        ([first, fake_fit("a", 1, model=fake_identity("other"))], MismatchError),
    ):
        with pytest.raises(error):
            plots.alpha_spread(fits)
