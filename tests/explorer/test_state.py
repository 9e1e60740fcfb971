"""State of the explorer: the chosen fit, heads, parts of comparisons, gates to inject."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from site_lens.explorer.state import PARTS, Cut, Exploration
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


def test_a_threshold_keeps_the_heads_above_it_and_top_k_the_k_highest() -> None:
    state = planted(["L3H1", "L0H2", "L5H5"], [])
    assert (state.key, state.other_key, str(state.head)) == ("one", None, "L3H1")
    assert len(state.head_set()) == 3  # above one half
    state.recut(threshold=0.75)
    assert state.head_set() == HeadSet.of(GRID, ["L3H1", "L0H2"])
    state.recut(rule="top", k=1)
    assert state.head_set() == HeadSet.of(GRID, ["L3H1"])
    state.recut(rule="threshold")
    assert len(state.head_set()) == 2  # the threshold was kept meanwhile
    assert len(Cut(rule="top", k=1000).of(state.fit.gates)) == len(GRID)


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
        assert (state.keep(), state.head_set()) == (f"{name}: alpha > 0.50", HeadSet.of(GRID, heads))
    state.compare(None)
    assert state.part == "first"
    state.choose("L2H2")
    assert state.basket[state.keep_head()] == HeadSet.of(GRID, ["L2H2"])


def test_gates_are_the_fitted_alphas_of_the_set_or_ones() -> None:
    state = planted(["L3H1", "L0H2"], [])
    assert state.gates()["L0H2"] == pytest.approx(0.8)
    assert state.gates()["L4H4"] == 0
    state.rounded = True
    assert (state.gates()["L0H2"], state.gates().mass()) == (1, 2)


def test_selecting_a_fit_keeps_comparison_and_head_only_on_the_same_grid() -> None:
    small = fake_fit("small", model=fake_identity(grid=HeadGrid.full(2, 2)))
    state = Exploration(Run(SiteFits([fake_fit("one"), fake_fit("two"), small])))
    state.choose("L5H7")
    state.compare("two")
    assert state.comparable() == ["two"]
    state.select("small")
    assert (state.other_key, state.comparable()) == (None, [])
    assert state.head in small.gates.grid
    state.select("one")
    state.compare("two")
    state.select("two")
    assert state.other_key is None  # a fit is not compared with itself


def test_queries_come_from_the_model_side_else_from_the_evaluations() -> None:
    run = fake_run()
    queries = [Exploration(run).query, Exploration(run, FakeLive()).query, Exploration(Run(run.fits)).query]  # type: ignore[arg-type]
    assert queries == ["query 0", "hot", ""]


def test_a_mistake_is_an_error_that_changes_nothing() -> None:
    state = planted(["L0H0"], ["L1H1"])
    before = vars(state).copy()
    mistakes: list[tuple[Callable[[Any], None], str]] = [
        (state.select, "tow"), (state.compare, "one"), (state.compare, "tow"), (state.choose, "L9H9"),
        (state.choose, "seven"), (state.choose_part, "third"), (state.choose_part, "both"),
    ]  # fmt: skip
    for mistake, argument in mistakes:
        with pytest.raises(InputError):
            mistake(argument)
    for change in ({"threshold": 1.5}, {"rule": "best"}, {"k": -1}):
        with pytest.raises(InputError):
            state.recut(**change)
    assert vars(state) == before
    with pytest.raises(InputError):
        Exploration(Run(SiteFits([])))
