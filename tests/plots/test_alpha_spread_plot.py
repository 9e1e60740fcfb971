import numpy as np
import pytest

from site_lens import plots
from site_lens.heads.head_set import HeadGrid
from site_lens.records.errors import InputError, MismatchError
from site_lens.site.fit import SiteConfig, SiteFits
from tests.fakes import fake_fit, fake_identity

SMALL = fake_identity(grid=HeadGrid.full(1, 2))
RAGGED = fake_identity(grid=HeadGrid((2, 0, 1)))
TWO = [fake_fit("a", 0, [[0.0, 0.25]], model=SMALL), fake_fit("a", 1, [[1.0, 0.75]], model=SMALL)]


def test_maps_are_mean_and_standard_deviation_over_the_seeds() -> None:
    mean, spread = plots.alpha_spread(TWO).data
    np.testing.assert_array_equal(mean.z, [[0.5, 0.5]])
    np.testing.assert_array_equal(spread.z, [[0.5, 0.25]])
    assert (mean.coloraxis, spread.coloraxis) == ("coloraxis", "coloraxis2")
    assert (mean.xaxis, spread.xaxis) == ("x", "x2")


def test_both_scales_are_fixed_that_of_the_spread_ends_at_the_largest_possible() -> None:
    layout = plots.alpha_spread([fake_fit("a", seed, [[0.1, 0.1]], model=SMALL) for seed in range(3)]).layout
    assert (layout.coloraxis.cmin, layout.coloraxis.cmax) == (0, 1)
    assert (layout.coloraxis2.cmin, layout.coloraxis2.cmax) == (0, 0.5)
    assert layout.coloraxis.colorbar.title.text == "mean alpha&nbsp;"
    assert layout.coloraxis2.colorbar.title.text == "std. dev.&nbsp;"


def test_hover_gives_both_numbers_rank_and_the_number_of_seeds() -> None:
    for trace in plots.alpha_spread(TWO).data:
        np.testing.assert_array_equal(trace.customdata, [[[0.5, 0.5, 1], [0.5, 0.25, 2]]])
        assert "standard deviation %{customdata[1]:.3f}, 2 seeds" in trace.hovertemplate
        assert "mean alpha %{customdata[0]:.3f}" in trace.hovertemplate


def test_a_set_of_fits_is_taken_as_well_as_a_list() -> None:
    assert plots.alpha_spread(SiteFits(TWO)).to_json() == plots.alpha_spread(TWO).to_json()


def test_a_single_fit_has_no_spread_and_says_so() -> None:
    figure = plots.alpha_spread(TWO[1:])
    (alphas,) = figure.data
    np.testing.assert_array_equal(alphas.z, [[1.0, 0.75]])
    assert figure.layout.title.subtitle.text == "one seed (1): no spread to show"
    assert "deviation" not in str(figure.to_json())


def test_places_without_a_head_are_grey_in_both_maps() -> None:
    figure = plots.alpha_spread([fake_fit("a", seed, model=RAGGED) for seed in range(2)])
    for trace, grey in (figure.data[:2], figure.data[2:]):
        np.testing.assert_array_equal(np.isnan(trace.z), ~RAGGED.grid.mask)
        np.testing.assert_array_equal(np.isnan(grey.z), RAGGED.grid.mask)


def test_the_task_is_the_title_escaped() -> None:
    layout = plots.alpha_spread([fake_fit("<script>", seed) for seed in range(2)]).layout
    assert (layout.title.text, layout.title.subtitle.text) == ("&lt;script&gt;", "2 seeds")
    assert [axis.title.text for axis in (layout.xaxis, layout.xaxis2, layout.yaxis)] == ["head", "head", "layer"]


def test_fits_that_are_not_seeds_of_one_task_are_refused() -> None:
    with pytest.raises(InputError, match="there are no fits to draw"):
        plots.alpha_spread([])
    with pytest.raises(InputError, match="single task, got a, b"):
        plots.alpha_spread([fake_fit("a"), fake_fit("b", 1)])
    with pytest.raises(InputError, match=r"each seed once, got \[0, 0\]"):
        plots.alpha_spread([fake_fit("a"), fake_fit("a")])
    with pytest.raises(InputError, match="differ in more than their seed"):
        plots.alpha_spread([fake_fit("a"), fake_fit("a", 1, config=SiteConfig(lr=0.1))])
    with pytest.raises(MismatchError, match="different grids"):
        plots.alpha_spread([fake_fit("a"), fake_fit("a", 1, model=RAGGED)])
    with pytest.raises(MismatchError, match="different weights"):
        plots.alpha_spread([fake_fit("a"), fake_fit("a", 1, model=fake_identity("other"))])
