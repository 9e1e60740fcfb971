import numpy as np
import pytest

from site_lens import plots
from site_lens.heads.head_set import HeadGrid
from site_lens.records.errors import InputError
from site_lens.site.fit import SiteFits
from tests.fakes import fake_fit, fake_fits, fake_identity

TASKS = ["antonym", "synonym", "capital", "plural", "<i>odd</i>"]


def test_every_fit_has_its_map_in_order_on_one_scale() -> None:
    fits = fake_fits(TASKS)
    figure = plots.head_maps(fits, columns=3)
    assert len(figure.data) == len(TASKS)
    for trace, fit in zip(figure.data, fits.values(), strict=True):
        np.testing.assert_array_equal(np.asarray(trace.z, dtype=np.float32), fit.gates.values)
        assert trace.coloraxis == "coloraxis"
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0, 1)


def test_titles_are_the_names_of_the_fits_escaped_and_shortened() -> None:
    titles = [a.text for a in plots.head_maps(fake_fits([*TASKS, "a" * 60])).layout.annotations]
    assert titles[:4] == TASKS[:4]
    assert titles[4] == "&lt;i&gt;odd&lt;/i&gt;"
    assert len(titles[5]) < 30


def test_fits_of_several_seeds_are_told_apart() -> None:
    figure = plots.head_maps(SiteFits([fake_fit("antonym", seed=0), fake_fit("antonym", seed=1)]))
    assert [a.text for a in figure.layout.annotations] == ["antonym#0", "antonym#1"]
    assert "one seed" in figure.layout.title.subtitle.text


def test_axes_are_named_along_the_edges_only() -> None:
    figure = plots.head_maps(fake_fits(TASKS), columns=2)  # rows of 2, 2 and 1
    assert [axis.title.text for axis in figure.select_xaxes()] == [None, None, None, "head", "head"]
    assert [axis.title.text for axis in figure.select_yaxes()] == ["layer", None, "layer", None, "layer"]


def test_fits_of_different_grids_keep_their_own_axes() -> None:
    small = fake_identity(grid=HeadGrid((2, 0)))
    figure = plots.head_maps(SiteFits([fake_fit("a"), fake_fit("b", model=small)]))
    assert [len(trace.z) for trace in figure.data if trace.coloraxis] == [6, 2]


def test_one_fit_is_enough() -> None:
    assert len(plots.head_maps(fake_fits(["antonym"])).data) == 1


def test_nothing_to_draw_is_said_in_words() -> None:
    with pytest.raises(InputError, match="no fits to draw; fit some tasks"):
        plots.head_maps(SiteFits([]))
    with pytest.raises(InputError, match="columns must be at least 1, got 0"):
        plots.head_maps(fake_fits(["a"]), columns=0)
