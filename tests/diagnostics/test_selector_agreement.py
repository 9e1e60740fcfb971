"""Ways to find heads: identical ones agree, independent ones agree as chance says, repeated ones count once."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, spearmanr

from site_lens.diagnostics.head_overlap import head_overlap
from site_lens.diagnostics.selector_agreement import SelectorAgreement, compare_selectors
from site_lens.heads.head_set import HeadGrid
from site_lens.heads.scores import HeadGates, HeadScores, ScoresByTask
from site_lens.records.hashing import seed_stream
from tests.fakes import GRID

TASKS = ("antonym", "synonym", "plural")
RAGGED = HeadGrid((4, 0, 3))


def scored(selector: str, *maps: NDArray[Any], grid: HeadGrid = GRID, tasks: tuple[str, ...] = TASKS) -> ScoresByTask:
    """Build scores of a selector from a map (layer head) a task."""
    return ScoresByTask(
        HeadScores(grid=grid, values=values * grid.mask, selector=selector, meaning=f"of {selector}", task=task)
        for task, values in zip(tasks, maps, strict=True)
    )


def drawn(selector: str, *, n: int = 3, grid: HeadGrid = GRID, low: float = 0) -> ScoresByTask:
    """Draw independent scores of some tasks."""
    stream = seed_stream(selector, "scores")
    maps = [stream.uniform(low, 1, grid.shape) for _ in range(n)]
    return scored(selector, *maps, grid=grid, tasks=tuple(f"task{i}" for i in range(n)))


def pair(found: SelectorAgreement, measure: str) -> float:
    return float(found.mean(measure)[0, 1])


# Laws


def test_independent_selectors_agree_as_chance_says() -> None:
    found = compare_selectors({name: drawn(name, n=40) for name in "abcd"})
    table = found.frame()
    assert abs(table["spearman"].mean()) < 0.03
    assert table["jaccard"].mean() == pytest.approx(table["chance"].mean(), abs=0.015)
    assert table["beyond"].max() <= 0.05
    assert set(table["n_tasks"]) == {40}


def test_selectors_that_prefer_the_same_layers_agree_by_chance_only() -> None:
    in_layer = np.repeat([[0.0], [0], [0], [0], [0], [1]], 8, axis=1)
    maps = {name: [in_layer + m / 10 for m in seed_stream(name, "x").random((40, *GRID.shape))] for name in "ab"}
    tasks = tuple(f"task{i}" for i in range(40))
    found = compare_selectors({name: scored(name, *own, tasks=tasks) for name, own in maps.items()}, k=4)
    assert pair(found, "jaccard") == pytest.approx(pair(found, "chance"), abs=0.06)
    assert pair(found, "chance") > 0.3  # half of the layer is in either set
    assert found.beyond()[0, 1] == 0


def test_every_task_has_the_numbers_of_the_comparison_of_its_maps() -> None:
    scores = {name: drawn(name, grid=RAGGED, low=-1) for name in "abc"}
    found = compare_selectors(scores, k=2)
    for i, task in enumerate(found.tasks):
        one = head_overlap({name: own[task] for name, own in scores.items()}, threshold=None, k=2)
        np.testing.assert_array_equal(found.jaccard[i], one.jaccard_top)
        np.testing.assert_array_equal(found.p_value[i], one.p_value)
        flat = [np.abs(own[task].values[RAGGED.mask]) for own in scores.values()]
        assert found.spearman_size[i, 0, 1] == pytest.approx(spearmanr(flat[0], flat[1]).statistic, abs=1e-6)


def test_identical_gates_agree_wholly_by_their_highest_heads_not_by_a_threshold() -> None:
    values = np.zeros(GRID.shape)
    values[0, :3] = 0.3, 0.2, 0.1
    site = ScoresByTask([HeadGates(grid=GRID, values=values, task="antonym")])
    found = compare_selectors({"site": site, "same": site}, k=3)
    assert (found.k, pair(found, "jaccard")) == (3, 1)
    assert found.p_value[0, 0, 1] == pytest.approx(1 / 56)  # one of 8 choose 3 sets in layer 0
    assert found.beyond()[0, 1] == 1 == pytest.approx(pair(found, "spearman"))
    assert pair(found, "chance") < 0.3


def test_means_and_spreads_are_those_over_tasks() -> None:
    found = compare_selectors({"a": drawn("a"), "b": drawn("b")})
    by_task, row = found.tasks_frame(), found.frame().iloc[0]
    assert len(by_task) == 3
    for measure in ("spearman", "spearman_size", "jaccard"):
        assert row[measure] == pytest.approx(by_task[measure].mean())
        assert row[f"{measure}_spread"] == pytest.approx(by_task[measure].std())


# Signs, ties, and scores that belong to the model


def test_a_head_that_hurts_ranks_last_with_its_sign_and_first_by_size() -> None:
    effect = np.linspace(-1, 1, 48).reshape(GRID.shape)
    found = compare_selectors({"signed": scored("s", *[effect] * 3), "size": scored("u", *[np.abs(effect)] * 3)})
    assert [one.signed for one in found.selectors] == [True, False]
    assert abs(pair(found, "spearman")) < 0.1
    assert pair(found, "spearman_size") == pytest.approx(1, abs=0.01)


def test_scores_that_are_the_same_for_all_tasks_are_marked_and_count_once() -> None:
    one, other = (seed_stream(name).random(GRID.shape) for name in ("induction", "previous"))
    scores = {"induction": scored("i", *[one] * 3), "previous": scored("p", *[other] * 3)}
    varied = scored("v", *[seed_stream("v", i).random(GRID.shape) for i in range(3)])
    found = compare_selectors(scores | {"site": varied})
    assert [facts.same_for_all for facts in found.selectors] == [True, True, False]
    assert found.n_tasks().tolist() == [[1, 1, 3], [1, 1, 3], [3, 3, 3]]
    first, second = np.triu_indices(3, k=1)
    distinct = [found.p_value[0, 0, 1], *found.p_value[:, 0, 2], *found.p_value[:, 1, 2]]
    by_hand = false_discovery_control(distinct)
    np.testing.assert_allclose(found.q_value[:, 0, 1], by_hand[0], rtol=1e-5)
    np.testing.assert_allclose(found.q_value[:, 1, 2], by_hand[4:], rtol=1e-5)


def test_a_top_set_that_depends_on_the_order_of_equal_scores_is_marked() -> None:
    flat, clear = np.zeros((2, *GRID.shape))
    clear[2, :2] = 1, 2
    untied = scored("b", *seed_stream("b").random((3, *GRID.shape)))
    found = compare_selectors({"a": scored("a", clear, flat, clear), "b": untied}, k=2)
    assert found.of("a").tied == pytest.approx(1 / 3)
    assert found.of("b").tied == 0


# Tasks, grids, bad input


def test_tasks_that_a_selector_lacks_are_left_out_and_named() -> None:
    found = compare_selectors({"a": drawn("a", n=3), "b": drawn("b", n=2)})
    assert (found.tasks, found.left_out) == (("task0", "task1"), ("task2",))


def test_a_task_of_which_a_selector_is_flat_counts_neither_for_overlap_nor_for_chance() -> None:
    first, second = ([scores.values for scores in drawn(name, n=3).values()] for name in "ab")
    whole = compare_selectors(
        {"one": scored("one", *first[:2], tasks=TASKS[:2]), "other": scored("other", *second[:2], tasks=TASKS[:2])}
    )
    flat = compare_selectors(
        {"one": scored("one", *first[:2], np.full(GRID.shape, 0.5)), "other": scored("other", *second)}
    )
    assert np.isnan(flat.chance[2, 0, 1]) and np.isnan(flat.jaccard[2, 0, 1])
    for measure in ("jaccard", "chance", "q_value"):
        of_tasks = getattr(flat, measure)[:2, 0, 1]
        assert of_tasks == pytest.approx(getattr(whole, measure)[:, 0, 1])
    assert pair(flat, "chance") == pytest.approx(pair(whole, "chance"))
    assert flat.beyond()[0, 1] == whole.beyond()[0, 1]
