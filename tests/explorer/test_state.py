"""State of the explorer: the chosen fit, heads, parts of comparisons, gates to inject."""

import numpy as np
import pytest

import site_lens as sl
from site_lens.explorer.state import PARTS, Exploration
from tests.fakes import GRID, fake_fit, fake_fits
from tests.site.test_head_path import fake_path


def planted(first: list[str], second: list[str]) -> Exploration:
    """Explore two fits in which these heads have alphas 0.9, 0.8, ... and all others 0.1."""
    fits = []
    for task, heads in (("one", first), ("two", second)):
        alphas = np.full(GRID.shape, 0.1)
        for i, head in enumerate(map(sl.Head.parse, heads)):
            alphas[head.layer, head.head] = 0.9 - i / 10
        fits.append(fake_fit(task, alphas=alphas))
    return Exploration(sl.Run(sl.SiteFits(fits)))


def test_parts_of_a_comparison_are_those_of_set_algebra_and_named_after_it() -> None:
    state = planted(["L0H0", "L1H1"], ["L1H1", "L2H2"])
    state.compare("two")
    expected = {
        "first": ("one", ["L0H0", "L1H1"]),
        "second": ("two", ["L1H1", "L2H2"]),
        "both": ("one and two", ["L1H1"]),
        "either": ("one or two", ["L0H0", "L1H1", "L2H2"]),
        "only_first": ("one without two", ["L0H0"]),
        "only_second": ("two without one", ["L2H2"]),
    }
    for part in PARTS:
        state.choose_part(part)
        name, heads = expected[part]
        assert (state.keep(), state.head_set()) == (f"{name}: alpha > 0.50", sl.HeadSet.of(GRID, heads))
    state.compare(None)
    assert state.part == "first"
    state.choose("L2H2")
    assert state.basket[state.keep_head()] == sl.HeadSet.of(GRID, ["L2H2"])


def test_gates_are_the_fitted_alphas_of_the_set_or_ones() -> None:
    state = planted(["L3H1", "L0H2"], [])
    assert state.gates()["L0H2"] == pytest.approx(0.8)
    assert state.gates()["L4H4"] == 0
    state.rounded = True
    assert (state.gates()["L0H2"], state.gates().mass()) == (1, 2)


def test_the_head_to_begin_with_is_the_chosen_one_that_gains_most_alone_else_that_of_highest_alpha() -> None:
    path = fake_path(((4,), (2,)), ((0.5,), (0.5,)), prices=(0.0, 0.01))
    fits = fake_fits([path.task], model=path.model)
    highest = next(iter(fits[path.task].gates.top(1)))
    assert Exploration(sl.Run(fits, paths=sl.HeadPaths([path]))).head == next(iter(path.ranked)) != highest
    assert Exploration(sl.Run(fits)).head == highest
    other_grid = sl.Run(fake_fits([path.task]), paths=sl.HeadPaths([path]))
    assert Exploration(other_grid).head == next(iter(other_grid.fits[path.task].gates.top(1)))
