"""Head paths: on the planted model the chosen set is the planted one; the rule and its limits on made-up numbers."""

from pathlib import Path

import numpy as np
import pytest

import site_lens as sl
from site_lens.heads.head_set import HeadGrid
from site_lens.site.fit import SiteConfig
from site_lens.site.head_path import HeadPath, PathFit
from tests.fakes import fake_identity
from tests.planted import CARRIERS, COUNTER, TEMPLATE, planted_tasks

CONFIG = SiteConfig(n_prompts=10, n_shots=8, n_steps=100)
GRID = HeadGrid((4, 4))
RNG = np.random.default_rng(0)


def fake_path(
    sizes: tuple[tuple[int, ...], ...],
    losses: tuple[tuple[float, ...], ...],
    *,
    prices: tuple[float, ...] = (0.0, 0.01, 0.03),
    zero_shot: float = 2.0,
    noise: float = 0.1,
    n_queries: int = 20,
) -> HeadPath:
    """Make a path whose sets are the first heads of the grid, with the same noise over queries everywhere."""
    order = np.arange(len(GRID)).reshape(GRID.shape)
    gates = np.array([[[np.where(order < size, 0.9, 0.1) for size in fits] for fits in sizes]])
    spread = noise * np.sqrt(n_queries) * np.resize([1.0, -1.0], n_queries)
    loss = np.clip(np.array(losses)[None, ..., None] + spread, 0, None)
    return HeadPath(
        task="antonym", prices=prices, contents=("task",),
        fits=tuple(PathFit(seed=i, init=0.5) for i in range(gates.shape[2])),
        gates=gates, loss=loss, right=(loss < 1).astype(np.float32), zero_shot_loss=np.full(n_queries, zero_shot),
        zero_shot_right=np.zeros(n_queries), config=CONFIG, template=TEMPLATE, task_digest="0" * 64,
        model=fake_identity(grid=GRID), versions={"site_lens": "0.1.0"},
    )  # fmt: skip


def test_the_chosen_set_is_the_planted_one_and_the_counter_head_is_harmful(planted: sl.LensModel) -> None:
    paths = sl.fit_path(planted, planted_tasks(), CONFIG, template=TEMPLATE, n_starts=2, progress=False)
    assert set(paths.chosen()) == set(planted_tasks())
    for path in paths.values():
        carriers = set(CARRIERS[path.task[-1]])
        assert path.chosen is not None and set(map(str, path.chosen.heads)) == carriers, path.task
        assert path.core == path.chosen.heads
        assert path.agreement is not None and path.agreement[0] == 1.0 > path.agreement[1]
        kinds = path.kinds
        assert kinds is not None and {head for head, kind in kinds.items() if kind == "needed"} == carriers, path.task
        assert {head for head, kind in kinds.items() if kind == "harmful"} == {COUNTER}, path.task
        # Every positive price finds the planted heads with the task embedding, and none with zeros.
        rising = [i for i, price in enumerate(path.prices) if price > 0]
        assert (path.n_open[0, rising] == len(carriers)).all() and (path.n_open[1, rising] == 0).all(), path.task
        frame = path.heads_frame()
        assert set(frame[frame.chosen]["head"]) == carriers and len(frame) == len(planted.grid)
        assert path.sentence == f"{', '.join(sorted(carriers))} carry {path.task} (3 of 18 heads, 100% of the gain)"


def test_a_price_of_0_changes_nothing_and_a_price_in_a_batch_is_that_alone(planted: sl.LensModel) -> None:
    task = planted_tasks()["direct_u"]
    alone = sl.fit_site(planted, task, CONFIG.replace(head_price=0.01), template=TEMPLATE, progress=False)["direct_u"]
    path = sl.fit_path(
        planted, task, CONFIG, prices=(0, 0.01), contents=("task",), n_starts=1, template=TEMPLATE, progress=False
    )["direct_u"]
    plain = sl.fit_site(planted, task, CONFIG, template=TEMPLATE, progress=False)["direct_u"]
    assert np.abs(path.gates[0, 0, 0] - plain.gates.values).max() < 1e-5
    assert np.abs(path.gates[0, 1, 0] - alone.gates.values).max() < 1e-4
    assert alone.kept_step >= 30 and alone.status != "diverged"


def test_settings_without_a_price_keep_their_digest_and_files(tmp_path: Path) -> None:
    assert "head_price" not in SiteConfig().model_dump() and SiteConfig(head_price=0.01).head_price == 0.01
    assert SiteConfig().digest != SiteConfig(head_price=0.01).digest
    path = fake_path(((4,), (2,), (1,)), ((0.5,), (0.5,), (1.5,)))
    assert sl.load(sl.save(path, tmp_path / "path")) == path


def test_the_smallest_set_that_keeps_95_percent_of_the_gain_is_chosen_whatever_the_standard_error() -> None:
    losses = ((0.001, 0.001), (0.05, 0.05), (0.2, 0.2))
    path = fake_path(((8, 8), (3, 4), (1, 1)), losses, noise=1e-4)
    assert path.chosen is not None and len(path.chosen.heads) == 3 and 0.95 < path.chosen.kept < 1
    large = fake_path(((8, 8), (3, 4), (1, 1)), losses, noise=1e-4, zero_shot=8.0)
    assert large.chosen is not None and len(large.chosen.heads) == 1


def test_the_smallest_set_within_one_standard_error_of_the_lowest_loss_is_chosen() -> None:
    path = fake_path(((8, 8), (3, 4), (1, 1)), ((0.50, 0.50), (0.55, 0.57), (0.9, 0.9)))
    assert path.chosen is not None
    assert (path.chosen.price, path.chosen.fit, len(path.chosen.heads)) == (0.01, 0, 3)
    assert np.isclose(path.chosen.loss, 0.55) and path.frame().chosen.sum() == 1
    assert np.isclose(path.stability.sum(), 3.5) and len(path.core) == 3
    further = fake_path(((8, 8), (3, 4), (1, 1)), ((0.50, 0.50), (0.65, 0.67), (0.9, 0.9)))  # beyond the error of 0.1
    assert further.chosen is not None and further.chosen.price == 0.0


def test_of_equally_small_sets_that_of_the_highest_price_is_chosen() -> None:
    path = fake_path(((2,), (2,), (2,)), ((0.5,), (0.5,), (0.55,)))
    assert path.chosen is not None and path.chosen.price == 0.03


def test_no_set_is_found_where_none_beats_zero_shot_or_a_single_row_tells_nothing() -> None:
    never = fake_path(((8,), (3,), (1,)), ((1.95,), (1.97,), (2.0,)))
    single = fake_path(((8,), (3,), (1,)), ((0.5,), (0.5,), (0.5,)), n_queries=1)
    for path in (never, single):
        assert path.chosen is None and path.gates_of_chosen is None and path.agreement is None and path.kinds is None
        assert len(path.core) == 0 and not path.frame().chosen.any() and not path.heads_frame().chosen.any()
        assert np.isnan(path.stability).all() and path.sentence.startswith("no head set found for antonym")


def test_a_set_of_no_head_is_not_chosen_and_one_of_all_heads_can_be() -> None:
    assert fake_path(((0,), (0,), (0,)), ((0.5,), (0.5,), (0.5,))).chosen is None
    everything = fake_path(((8,), (8,), (8,)), ((0.5,), (0.5,), (0.5,))).chosen
    assert everything is not None and len(everything.heads) == len(GRID)


def test_prices_and_settings_that_make_no_path_are_refused(planted: sl.LensModel) -> None:
    task = planted_tasks()["direct_u"]
    for prices in ((), (0.01, 0.0), (0.01, 0.01), (-0.1,), (float("nan"),), (0.0, 100.0), (float("inf"),)):
        with pytest.raises(sl.InputError):
            sl.fit_path(planted, task, CONFIG, prices=prices, template=TEMPLATE, progress=False)
    for options in ({"n_starts": 0}, {"contents": ("zero",)}, {"contents": ("task", "task")}):
        with pytest.raises(sl.InputError):
            sl.fit_path(planted, task, CONFIG, template=TEMPLATE, progress=False, **options)
    for changes in ({"head_price": 0.01}, {"shared": True}, {"embedding": "zero"}, {"null": "shuffled_answers"}):
        with pytest.raises(sl.InputError):
            sl.fit_path(planted, task, CONFIG.replace(**changes), template=TEMPLATE, progress=False)
    for price in (float("nan"), 11.0, -11.0):
        with pytest.raises(sl.InputError):
            SiteConfig(head_price=price)
