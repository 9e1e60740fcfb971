import numpy as np
import pytest

from site_lens import plots
from site_lens.heads.head_set import HeadGrid
from site_lens.site.fit import SiteConfig, SiteFit, SiteTrace
from tests.fakes import fake_fit, fake_identity

RAGGED = HeadGrid((2, 0, 2))


def planted() -> SiteFit:
    """Build a fit of four heads with two evaluations: all at 0.52; then three at 0.02 and one at 1."""
    fit = fake_fit("antonym", model=fake_identity(grid=RAGGED), kept_step=10)
    start = np.where(RAGGED.mask, 0.52, 0)
    end = np.array([[0.02, 1], [0, 0], [0.02, 0.02]])
    trace = SiteTrace(loss=[1] * 10, train_rows=[[0]] * 10, eval_steps=(0, 10), valid_loss=[1, 0],
                      valid_accuracy=[0, 1], alphas=[start, end])  # fmt: skip
    return fit.replace(trace=trace)


def test_cells_are_the_shares_of_heads_by_bin_and_empty_bins_are_blank() -> None:
    cells = plots.alpha_histogram(planted()).data[0]
    expected = np.full((20, 2), np.nan)
    expected[10, 0], expected[0, 1], expected[19, 1] = 1, 0.75, 0.25  # alpha 1 lies in the highest bin
    np.testing.assert_array_equal(cells.z, expected)
    np.testing.assert_array_equal(cells.x, [0, 10])
    assert not cells.hoverongaps


def test_bins_run_from_0_to_1_and_say_so_on_hover() -> None:
    cells = plots.alpha_histogram(planted()).data[0]
    np.testing.assert_allclose(cells.y, np.arange(20) / 20 + 0.025)
    np.testing.assert_allclose(cells.customdata[0, 1], [3, 0, 0.05])
    np.testing.assert_allclose(cells.customdata[19, 1], [1, 0.95, 1])
    assert "of 4)" in cells.hovertemplate


def test_the_shares_of_every_step_sum_to_1() -> None:
    cells = plots.alpha_histogram(fake_fit("antonym")).data[0]
    np.testing.assert_allclose(np.nansum(cells.z, axis=0), 1)


def test_scales_are_fixed_and_named() -> None:
    layout = plots.alpha_histogram(planted()).layout
    assert (layout.coloraxis.cmin, layout.coloraxis.cmax) == (0, 1)
    assert layout.coloraxis.colorbar.title.text == "share of heads"
    assert tuple(layout.yaxis.range) == (0, 1)
    assert (layout.xaxis.title.text, layout.yaxis.title.text) == ("step", "alpha")


def test_the_kept_step_is_marked_and_names_are_escaped() -> None:
    layout = plots.alpha_histogram(planted().replace(task="<script>")).layout
    assert [shape.x0 for shape in layout.shapes] == [10]
    assert layout.title.text == "alphas of &lt;script&gt;"
    assert layout.title.subtitle.text == "one seed (0), 4 heads, converged"


@pytest.mark.parametrize("n_steps", [1, 15])
def test_short_fits_can_be_drawn(n_steps: int) -> None:
    figure = plots.alpha_histogram(fake_fit("antonym", config=SiteConfig(n_steps=n_steps, eval_every=n_steps)))
    assert figure.data[0].z.shape == (20, 2)
