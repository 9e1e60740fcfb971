"""The state of an explorer: what is selected, which heads are meant, what would be injected."""

import numpy as np
import pytest

from site_lens.explorer.state import Cut, Exploration
from site_lens.heads.head_set import Head, HeadGrid, HeadSet
from site_lens.records.errors import InputError
from site_lens.runs.run import Run
from site_lens.site.fit import SiteFits
from tests.explorer.looking import FakeLive, fake_run
from tests.fakes import GRID, fake_fit, fake_identity


def planted(first: list[str], second: list[str]) -> Exploration:
    """Explore two fits in which these heads have alphas 0.9, 0.8, ... and all others 0.1."""
    fits = []
    for task, heads in (("one", first), ("two", second)):
        alphas = np.full(GRID.shape, 0.1)
        for i, head in enumerate(map(Head.parse, heads)):
            alphas[head.layer, head.head] = 0.9 - i / 10
        fits.append(fake_fit(task, alphas=alphas))
    return Exploration(Run(SiteFits(fits)))


def test_it_opens_at_the_first_fit_its_highest_head_and_the_cut_at_one_half() -> None:
    state = planted(["L3H1", "L0H2"], ["L1H1"])
    assert (state.key, state.other_key, str(state.head)) == ("one", None, "L3H1")
    assert state.head_set() == HeadSet.of(GRID, ["L3H1", "L0H2"])
    assert state.cut.k == round(state.fit.gates.mass())


def test_a_threshold_keeps_the_heads_above_it_and_top_k_the_k_highest() -> None:
    state = planted(["L3H1", "L0H2", "L5H5"], [])
    state.recut(threshold=0.75)
    assert state.head_set() == HeadSet.of(GRID, ["L3H1", "L0H2"])
    state.recut(rule="top", k=1)
    assert state.head_set() == HeadSet.of(GRID, ["L3H1"])
    state.recut(rule="threshold")
    assert len(state.head_set()) == 2  # the threshold was kept meanwhile


def test_more_heads_than_there_are_means_all_of_them() -> None:
    assert len(Cut(rule="top", k=1000).of(fake_fit("a").gates)) == len(GRID)


@pytest.mark.parametrize(
    ("part", "heads"),
    [
        ("first", ["L0H0", "L1H1"]),
        ("second", ["L1H1", "L2H2"]),
        ("both", ["L1H1"]),
        ("either", ["L0H0", "L1H1", "L2H2"]),
        ("only_first", ["L0H0"]),
        ("only_second", ["L2H2"]),
    ],
)
def test_parts_of_a_comparison_are_those_of_set_algebra(part: str, heads: list[str]) -> None:
    state = planted(["L0H0", "L1H1"], ["L1H1", "L2H2"])
    state.compare("two")
    state.choose_part(part)  # type: ignore[arg-type]
    assert state.head_set() == HeadSet.of(GRID, heads)


def test_a_part_of_two_needs_two() -> None:
    state = planted(["L0H0"], [])
    with pytest.raises(InputError, match="needs a second fit"):
        state.choose_part("both")
    state.compare("two")
    state.choose_part("both")
    state.compare(None)
    assert state.part == "first"


def test_what_is_injected_are_the_fitted_alphas_of_the_set_or_ones() -> None:
    state = planted(["L3H1", "L0H2"], [])
    assert state.gates()["L0H2"] == pytest.approx(0.8)
    assert state.gates()["L4H4"] == 0
    state.rounded = True
    assert state.gates()["L0H2"] == 1
    assert state.gates().mass() == 2


def test_another_fit_lets_go_of_what_does_not_belong_to_its_grid() -> None:
    small = fake_fit("small", model=fake_identity(grid=HeadGrid.full(2, 2)))
    state = Exploration(Run(SiteFits([fake_fit("one"), fake_fit("two"), small])))
    state.choose("L5H7")
    state.compare("two")
    assert state.comparable() == ["two"]
    state.select("small")
    assert state.other_key is None
    assert state.head in small.gates.grid
    assert state.comparable() == []
    state.select("one")
    state.compare("two")
    state.select("two")
    assert state.other_key is None  # a fit is not compared with itself


def test_queries_come_from_the_model_side_else_from_the_evaluations() -> None:
    run = fake_run()
    assert Exploration(run).query == "query 0"
    assert Exploration(run, FakeLive()).query == "hot"
    assert Exploration(Run(run.fits)).query == ""


def test_kept_sets_bear_the_name_of_what_made_them() -> None:
    state = planted(["L0H0", "L1H1"], ["L1H1"])
    assert state.keep() == "one: alpha > 0.50"
    state.recut(rule="top", k=1)
    assert state.keep() == "one: top 1"
    state.compare("two")
    state.choose_part("only_first")
    assert state.keep() == "one without two: top 1"
    state.choose("L2H2")
    assert state.keep_head() == "L2H2"
    assert dict(state.basket)["L2H2"] == HeadSet.of(GRID, ["L2H2"])


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        (lambda state: state.select("tow"), "did you mean 'two'"),
        (lambda state: state.compare("one"), "same fit"),
        (lambda state: state.compare("tow"), "did you mean 'two'"),
        (lambda state: state.choose("L9H9"), "not in a grid"),
        (lambda state: state.choose("seven"), "names no head"),
        (lambda state: state.recut(threshold=1.5), r"lies in \[0, 1\]"),
        (lambda state: state.recut(rule="best"), "unknown rule"),
        (lambda state: state.choose_part("third"), "unknown part"),
    ],
)
def test_a_mistake_is_an_error_that_changes_nothing(mistake, says: str) -> None:  # type: ignore[no-untyped-def]
    state = planted(["L0H0"], ["L1H1"])
    before = (state.key, state.other_key, state.head, state.cut, state.part)
    with pytest.raises(InputError, match=says):
        mistake(state)
    assert (state.key, state.other_key, state.head, state.cut, state.part) == before


def test_a_run_without_fits_cannot_be_explored() -> None:
    with pytest.raises(InputError, match="no fits to explore"):
        Exploration(Run(SiteFits([])))
