from collections.abc import Callable

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
import pytest
from numpy.typing import ArrayLike

from site_lens import plots
from site_lens.heads.head_set import HeadGrid
from site_lens.heads.scores import HeadGates, HeadScores
from site_lens.site.fit import SiteConfig, SiteFit
from tests.fakes import fake_fit

SMALL = HeadGrid.full(2, 3)
RAGGED = HeadGrid((4, 0, 2))


def scores(values: ArrayLike, grid: HeadGrid = SMALL) -> HeadScores:
    return HeadScores(grid=grid, values=values, selector="fv", meaning="effect on the answer: above 0 helps")


def test_a_head_map_shows_the_alphas_of_the_fit_on_a_scale_from_0_to_1() -> None:
    fit = fake_fit("antonym")
    figure = plots.head_map(fit)
    np.testing.assert_array_equal(np.asarray(figure.data[0].z, dtype=np.float32), fit.gates.values)
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0, 1)
    assert figure.layout.coloraxis.colorbar.title.text == "alpha"


def test_gates_keep_the_full_scale_even_when_all_are_nearly_closed() -> None:
    gates = HeadGates.constant(HeadGrid.full(2, 3), 0.01)
    assert plots.head_map(gates).layout.coloraxis.cmax == 1


def test_hover_ranks_are_those_of_the_records_table() -> None:
    fit = fake_fit("antonym")
    ranks = np.asarray(plots.head_map(fit).data[0].customdata)
    for head, rank in zip(fit.gates.grid, fit.frame()["rank"], strict=True):
        assert ranks[head.layer, head.head] == rank


def test_signed_scores_get_a_diverging_scale_centred_on_zero() -> None:
    axis = plots.head_map(scores([[0.5, -2.0, 0.0], [1.0, 0.0, 0.0]])).layout.coloraxis
    assert (axis.cmin, axis.cmax) == (-2, 2)
    assert axis.colorbar.title.text.replace("<br>", " ") == "effect on the answer: above 0 helps"


def test_scores_without_negative_numbers_start_at_zero() -> None:
    axis = plots.head_map(scores([[0.5, 2.0, 0.0], [1.0, 0.0, 0.0]])).layout.coloraxis
    assert (axis.cmin, axis.cmax) == (0, 2)


def test_scores_that_are_all_zero_still_have_a_scale() -> None:
    axis = plots.head_map(scores(np.zeros((2, 3)))).layout.coloraxis
    assert axis.cmin < axis.cmax


def test_places_without_a_head_are_left_out_of_the_values_and_painted_grey() -> None:
    values, grey = plots.head_map(scores(np.where(RAGGED.mask, -1.0, 0.0), RAGGED)).data
    np.testing.assert_array_equal(np.isnan(values.z), ~RAGGED.mask)
    np.testing.assert_array_equal(np.isnan(grey.z), RAGGED.mask)
    assert not grey.showscale


@pytest.mark.parametrize(("n_layers", "n_heads"), [(1, 1), (6, 8), (32, 32), (80, 64)])
def test_axes_are_named_and_ticked_at_few_integers_with_layer_0_at_the_bottom(n_layers: int, n_heads: int) -> None:
    layout = plots.head_map(HeadGates.constant(HeadGrid.full(n_layers, n_heads), 0.5)).layout
    assert (layout.xaxis.title.text, layout.yaxis.title.text) == ("head", "layer")
    for axis, n in ((layout.xaxis, n_heads), (layout.yaxis, n_layers)):
        assert axis.dtick == int(axis.dtick)
        assert n / axis.dtick <= 12
        assert tuple(axis.range) == (-0.5, n - 0.5)


def test_a_fit_is_marked_as_one_seed() -> None:
    assert "one seed (3)" in plots.head_map(fake_fit("antonym", seed=3)).layout.title.subtitle.text


@pytest.mark.parametrize("draw", [plots.head_map, plots.training, plots.alpha_paths, plots.alpha_histogram])
def test_every_figure_of_a_control_says_that_it_shows_one(draw: Callable[[SiteFit], go.Figure]) -> None:
    for changes, said in (({"null": "shuffled_answers"}, "shuffled answers"), ({"embedding": "zero"}, "of zeros")):
        control = fake_fit("antonym", config=SiteConfig(**changes))
        assert said in draw(control).layout.title.subtitle.text
        assert said not in draw(fake_fit("antonym")).layout.title.subtitle.text


def test_the_title_can_be_chosen_and_is_escaped() -> None:
    assert plots.head_map(fake_fit("a"), title="mine").layout.title.text == "mine"
    assert plots.head_map(fake_fit("<b>x</b>")).layout.title.text == "&lt;b&gt;x&lt;/b&gt;"


def test_a_sessions_default_template_does_not_change_the_figure() -> None:
    before = plots.head_map(fake_fit("a")).to_json()
    default = pio.templates.default
    try:
        pio.templates.default = "plotly_dark"
        assert plots.head_map(fake_fit("a")).to_json() == before
    finally:
        pio.templates.default = default
