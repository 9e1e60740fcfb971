import numpy as np
import pytest

from site_lens import plots
from site_lens.records.errors import InputError
from tests.fakes import fake_fit


def test_every_fit_has_the_path_of_the_head() -> None:
    fits = [fake_fit("antonym", 0), fake_fit("antonym", 1), fake_fit("synonym", 0)]
    drawn = plots.head_paths(fits, "L2H3").data
    assert [line.name for line in drawn] == ["antonym, seed 0", "antonym, seed 1", "synonym, seed 0"]
    for line, fit in zip(drawn, fits, strict=True):
        np.testing.assert_array_equal(line.x, fit.trace.eval_steps)
        np.testing.assert_array_equal(line.y, fit.trace.alphas[:, 2, 3])
    colours = [line.line.color for line in drawn]
    assert colours[0] == colours[1] != colours[2]
    dashes = [line.line.dash for line in drawn]
    assert dashes[0] == dashes[2] != dashes[1]


def test_the_kept_step_is_the_large_dot() -> None:
    fit = fake_fit("antonym", kept_step=40)
    (line,) = plots.head_paths([fit], "L0H0").data
    assert [step for step, size in zip(line.x, line.marker.size, strict=True) if size > 4] == [40]


def test_names_are_escaped_and_alpha_has_its_fixed_axis() -> None:
    figure = plots.head_paths([fake_fit("<b>%{x}")], "L0H0")
    assert figure.data[0].name == "&lt;b&gt;%{x}, seed 0"
    assert "%{x}, seed" not in figure.data[0].hovertemplate
    assert figure.layout.title.subtitle.text.startswith("&lt;b&gt;")
    assert [round(end, 1) for end in figure.layout.yaxis.range] == [0, 1]
    assert not figure.layout.showlegend


def test_a_head_outside_the_grid_and_no_fits_are_refused() -> None:
    with pytest.raises(InputError, match="L9H0 is not in the grid of 'antonym'"):
        plots.head_paths([fake_fit("antonym")], "L9H0")
    with pytest.raises(InputError, match="no fits"):
        plots.head_paths([], "L0H0")
