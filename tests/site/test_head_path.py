"""Head paths: on the planted model the chosen set is the planted one; the rule and its limits on made-up numbers."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import site_lens as sl
from site_lens.site.head_path import CONTENTS, PathFit, choose_fit
from site_lens.site.optimizer import AlphaMapRun
from tests.fakes import fake_identity
from tests.planted import CARRIERS, COUNTER, TEMPLATE, planted_tasks

CONFIG = sl.SiteConfig(n_prompts=10, n_shots=8, n_steps=100)
GRID = sl.HeadGrid((4, 4))


def fake_path(
    sizes: tuple[tuple[int, ...], ...],
    losses: tuple[tuple[float, ...], ...],
    *,
    prices: tuple[float, ...] = (0.0, 0.01, 0.03),
    zero_shot: float = 2.0,
    noise: float = 0.0,
    shared_noise: float = 0.1,
    n_queries: int = 20,
) -> sl.HeadPath:
    """Make a path whose sets, (price fit), are the first heads of the grid.

    Args:
        sizes: (price fit): heads in each set.
        losses: (price fit): mean loss of each.
        prices: One a row of these.
        zero_shot: Mean loss without an edit; of every fit the loss of a query is noisy around its mean.
        noise: Standard error of the losses of queries that price 0 and further prices have in opposite directions.
        shared_noise: Standard error of the losses of all queries that every set and zero-shot share.
        n_queries: Rows of valid.
    """
    order = np.arange(len(GRID)).reshape(GRID.shape)
    flat = [size for fits in sizes for size in fits]
    fits = tuple(
        PathFit(price=price, seed=f, init=0.5)
        for price, row in zip(prices, sizes, strict=True)
        for f in range(len(row))
    )
    sign = np.resize([1.0, -1.0], n_queries) * np.sqrt(max(n_queries - 1, 1))
    own = np.array([noise * np.roll(sign, fit.price > 0) for fit in fits])
    loss = np.clip(np.array(losses).reshape(-1, 1) + own + shared_noise * sign, 0, None).astype(np.float32)
    plain = np.clip(zero_shot + shared_noise * sign, 0, None).astype(np.float32)
    right = np.repeat(np.array(losses).reshape(-1, 1) < 1, n_queries, axis=1).astype(np.float32)
    plain_right = np.zeros(n_queries, dtype=np.float32)
    return sl.HeadPath(
        task="antonym", fits=fits, gates=np.array([np.where(order < size, 0.9, 0.1) for size in flat]),
        loss=loss, right=right, zero_shot_loss=plain, zero_shot_right=plain_right,
        choice=choose_fit(fits, flat, loss, right, plain, plain_right), config=CONFIG, template=TEMPLATE,
        task_digest="0" * 64, model=fake_identity(grid=GRID), versions={"site_lens": "0.1.0"},
    )  # fmt: skip


def direct_tasks() -> dict[str, sl.Task]:
    return {name: task for name, task in planted_tasks().items() if name.startswith("direct")}


def test_the_chosen_set_is_the_planted_one_and_the_counter_head_is_closed(planted: sl.LensModel) -> None:
    paths = sl.fit_path(
        planted, planted_tasks(), CONFIG, template=TEMPLATE, n_starts=2, contents=CONTENTS, full_grid=True,
        progress=False,
    )  # fmt: skip
    assert set(paths.chosen()) == set(planted_tasks())
    for path in paths.values():
        carriers = set(CARRIERS[path.task[-1]])
        assert path.chosen is not None and set(map(str, path.chosen.heads)) == carriers, path.task
        assert path.core == path.chosen.heads and path.sizes == (3, 3)
        assert path.size is not None and (path.size.low, path.size.high, path.size.n) == (3, 3, 2)
        assert path.agreement is not None and path.agreement.value == 1.0 > path.agreement.by_chance
        assert path.agreement.p_value < 0.05, path.task
        kinds = path.kinds
        assert kinds is not None and {head for head, kind in kinds.items() if kind == "open"} == carriers, path.task
        assert {head for head, kind in kinds.items() if kind == "closed"} == {COUNTER}, path.task
        for price in filter(None, path.prices("zero")):  # at every positive price, the planted heads or none
            assert (path.n_open[path.of("task", price)] == len(carriers)).all(), path.task
            assert (path.n_open[path.of("zero", price)] == 0).all(), path.task
        frame = path.heads_frame()
        assert set(frame[frame.chosen]["head"]) == carriers and len(frame) == len(planted.grid)
        for part in (path.task, "3 of 18 heads", "100%", "2 of 2 fits", *carriers):
            assert part in path.sentence
        assert path.sparse is not None and set(map(str, path.sparse.gates.above(0.99))) == carriers
        assert path.sparse.gates.mass() == 3 and path.sparse.embedding.mean.any()
        assert path.gates_alone is not None and path.gates_alone.gates.mass() == 0
        assert not path.gates_alone.embedding.mean.any()


def test_what_a_head_gains_alone_is_what_an_evaluation_with_it_alone_says(planted: sl.LensModel) -> None:
    task = direct_tasks()["direct_u"]
    options: dict[str, Any] = {"prices": (0.01,), "n_starts": 1, "progress": False}
    path = sl.fit_path(planted, task, CONFIG.replace(n_valid=len(task.valid)), template=TEMPLATE, **options)[task.name]
    assert path.sparse is not None and len(path.gain_alone) == 3
    asked = dataclasses.replace(task, test=task.valid)
    gains = []
    for head in path.sparse.gates.above(0.5):
        gates = sl.HeadGates.of(sl.HeadSet.of(planted.grid, [head]), task=task.name)
        pair = {task.name: (gates, path.sparse.embedding)}
        found = sl.evaluate(planted, asked, pair, n_shots=2, template=TEMPLATE, progress=False)[task.name]
        site, zero_shot = (found.log_prob[found.methods.index(name)].mean() for name in ("site", "zero_shot"))
        gains.append(site - zero_shot)
    assert np.allclose(gains, path.gain_alone, atol=1e-4)
    assert list(path.ranked.values()) == sorted(path.gain_alone, reverse=True)


def test_a_path_begins_at_the_fits_of_fit_site_or_at_given_ones(planted: sl.LensModel) -> None:
    tasks, config = direct_tasks(), CONFIG.replace(n_steps=50)
    plain = sl.fit_site(planted, tasks, config, template=TEMPLATE, progress=False)
    alone = sl.fit_site(planted, tasks, config.replace(embedding="zero"), template=TEMPLATE, progress=False)
    options: dict[str, Any] = {"prices": (0.01,), "n_starts": 1, "n_price_steps": 30, "progress": False}
    paths = sl.fit_path(planted, tasks, config, template=TEMPLATE, **options)
    given = sl.fit_path(planted, tasks, config, fits={"task": plain, "zero": alone}, **options)
    for task, path in paths.items():
        for sparse in (path.sparse, path.gates_alone):  # the rows of all fits that were chosen from, and of valid
            assert sparse is not None and sparse.n_valid == min(config.n_valid, len(tasks[task].valid))
            assert set(sparse.labelled_rows) >= set(plain[task].labelled_rows)
        assert np.abs(path.gates[path.of("task", 0.0)[0]] - plain[task].gates.values).max() < 1e-5
        assert np.abs(path.gates - given[task].gates).max() < 1e-4
        assert path.fits == given[task].fits and path.choice == given[task].choice
    one = sl.fit_path(planted, tasks["direct_u"], config, template=TEMPLATE, **options)["direct_u"]
    assert np.abs(one.gates - paths["direct_u"].gates).max() < 1e-4  # alone and beside others
    with pytest.raises(sl.InputError):
        sl.fit_path(planted, planted_tasks(), config, fits={"task": plain}, progress=False)


def test_settings_without_a_price_keep_their_digest_and_files(tmp_path: Path) -> None:
    assert "head_price" not in sl.SiteConfig().model_dump()
    assert sl.SiteConfig().digest != sl.SiteConfig(head_price=0.01).digest
    path = fake_path(((4,), (2,), (1,)), ((0.5,), (0.5,), (1.5,)))
    assert sl.load(sl.save(path, tmp_path / "path")) == path


def test_a_fit_under_a_price_from_the_start_finds_the_planted_heads_too(planted: sl.LensModel) -> None:
    fit = sl.fit_site(
        planted, planted_tasks()["direct_u"], CONFIG.replace(head_price=0.01), template=TEMPLATE, progress=False
    )["direct_u"]
    assert set(map(str, fit.gates.above(0.5))) == set(CARRIERS["u"])
    assert fit.kept_step >= 30 and fit.status != "no_improvement"


FALLING = ((8, 8), (3, 4), (1, 1))
"""Heads of two sets at each of three prices."""
SOLVED = ((0.001, 0.001), (0.05, 0.05), (0.2, 0.2))
ONE_ERROR = ((0.50, 0.50), (0.58, 0.62), (1.9, 1.9))
"""Losses: the second price loses a little of a gain of 2 nats, or as much as one standard error of 0.12."""


def test_the_smallest_set_that_does_as_well_as_any_is_chosen() -> None:
    one_set = ((8,), (3,), (1,))
    found: list[tuple[tuple[float, int] | None, sl.HeadPath]] = [
        ((0.01, 3), fake_path(FALLING, SOLVED, shared_noise=0)),  # 95 % of the gain, whatever the standard error
        ((0.03, 1), fake_path(FALLING, SOLVED, shared_noise=0, zero_shot=8.0)),
        ((0.01, 3), fake_path(FALLING, ONE_ERROR, noise=0.06, shared_noise=0)),
        ((0.0, 8), fake_path(FALLING, ONE_ERROR, shared_noise=0.11)),  # which says nothing of the difference
        ((0.01, 5), fake_path(((8, 8), (3, 5)), ((0.5, 0.5), (0.52, 0.5)), prices=(0.0, 0.01))),  # of lowest loss
        ((0.03, 2), fake_path(((2,), (2,), (2,)), ((0.5,), (0.5,), (0.55,)))),  # equally small, at the highest price
        ((0.03, 8), fake_path(((8,), (8,), (8,)), ((0.5,), (0.5,), (0.5,)))),
        (None, fake_path(((0,), (0,), (0,)), ((0.5,), (0.5,), (0.5,)))),
        (None, fake_path(one_set, ((1.95,), (1.97,), (2.0,)), noise=0.1)),  # none beats zero-shot
        (None, fake_path(one_set, ((0.5,), (0.5,), (0.5,)), n_queries=1)),
        (None, fake_path(one_set, ((1.5,), (1.5,), (1.5,)))),  # a lower loss, and no right answer
    ]
    for i, (expected, path) in enumerate(found):
        assert (path.chosen and (path.chosen.price, len(path.chosen.heads))) == expected, i
        assert path.frame().chosen.sum() == (expected is not None), i
        if path.chosen is None:
            assert path.sparse is None and path.agreement is None and path.kinds is None and not path.ranked, i
            assert len(path.core) == 0 and not path.heads_frame().chosen.any(), i
            assert np.isnan(path.stability).all() and "no head set" in path.sentence, i


def test_stability_core_and_sizes_are_those_of_the_fits_at_the_chosen_price() -> None:
    path = fake_path(FALLING, ONE_ERROR, noise=0.06, shared_noise=0)
    assert np.isclose(path.stability.sum(), 3.5) and len(path.core) == 3 and path.sizes == (3, 4)
    assert path.size is not None and (path.size.value, path.size.low, path.size.high) == (3.5, 3, 4)


def test_a_head_that_a_fit_at_the_chosen_price_opens_is_not_closed() -> None:
    path = fake_path(((2, 2, 6), (8, 3, 2)), ((0.5,) * 3, (0.5, 0.6, 0.6)), prices=(-0.01, 0.01))
    assert path.chosen is not None and len(path.chosen.heads) == 8  # of lowest loss; the others open 3 and 2
    assert path.kinds is not None and set(path.kinds.values()) == {"open", "free"}
    closed = fake_path(((2, 2, 6), (3, 3, 2)), ((0.5,) * 3, (0.5, 0.6, 0.6)), prices=(-0.01, 0.01))
    assert closed.kinds is not None and list(closed.kinds.values()) == ["open"] * 3 + ["closed"] * 5


def test_no_set_keeps_more_than_the_whole_gain() -> None:
    best = fake_path(((8, 8), (3, 3)), ((0.5, 0.9), (0.45, 0.9)), prices=(0.0, 0.01))
    assert best.chosen is not None and best.chosen.fit == 2 and best.chosen.kept == 1
    behind = fake_path(((8, 8), (3, 3)), ((0.45, 0.9), (0.5, 0.9)), prices=(0.0, 0.01))
    assert behind.chosen is not None and behind.chosen.fit == 2 and np.isclose(behind.chosen.kept, 1.5 / 1.55)


def test_given_fits_decide_the_settings_and_seeds_of_further_starts(planted: sl.LensModel) -> None:
    tasks = direct_tasks()
    fast = CONFIG.replace(n_steps=20, lr=0.4)
    fits = sl.fit_site(planted, tasks, fast, seeds=[1], template=TEMPLATE, progress=False)
    options: dict[str, Any] = {
        "prices": (0.01,), "contents": ("task",), "n_starts": 2, "n_price_steps": 10, "progress": False
    }  # fmt: skip
    paths = sl.fit_path(planted, tasks, fits={"task": fits}, **options)
    for path in paths.values():
        assert [(fit.seed, fit.init) for fit in path.fits if not fit.price] == [(1, 0.5), (2, "random")]
        assert path.config.replace(loss="auto") == fast.replace(seed=1) and path.template == TEMPLATE
        assert not path.frame()["kept_start"].any()
    wrong: list[dict[str, Any]] = [{"config": CONFIG}, {"template": TEMPLATE.replace(instruction="Q ")}]
    for settings in wrong:
        with pytest.raises(sl.InputError):
            sl.fit_path(planted, tasks, fits={"task": fits}, **options, **settings)


def test_patience_counts_the_price_and_only_after_it_has_risen() -> None:
    config = sl.SiteConfig(n_steps=200, eval_every=10, head_price=0.03, patience=3)
    zeros = np.zeros((1, 1), np.float32)
    run = AlphaMapRun(SimpleNamespace(config=config), zeros)  # type: ignore[arg-type]
    for step in range(0, 201, 10):  # heads close until step 100, and the loss rises all along
        mass = 40 - min(step, 100) / 5
        run.evaluated(step, 0.5 + step / 1000, 1.0, np.full((1, 1), mass, np.float32), zeros)
        if run.ended:
            break
    assert (run.eval_steps[run.kept()], run.eval_steps[-1], run.ended) == (100, 130, "early_stop")
