"""Faithfulness curves: laws on the planted model, where it is known which heads carry a task and by how much."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import site_lens as sl
from site_lens.activations.queries import Queries
from site_lens.models.batch import Batch
from site_lens.records.hashing import seed_stream
from site_lens.selectors.ablation import uninformed_mean
from site_lens.studies.faithfulness import measure as study
from site_lens.studies.faithfulness.measure import rank_heads
from site_lens.studies.faithfulness.result import DIRECTIONS, LAYER_MATCHED, RANDOM, REVERSED, SITE
from site_lens.tasks.prompt_sampling import few_shot_prompts
from tests.planted import CARRIERS, COUNTER, N_WORDS, TEMPLATE, planted_tasks

OPTIONS: dict[str, Any] = {"n_random": 5, "n_shots": 8, "progress": False}


def balanced_tasks() -> dict[str, sl.Task]:
    """Return the planted tasks with as many words of either class and more queries."""
    found = {}
    for name, task in planted_tasks().items():
        rows = {row.input: row for row in (*task.train, *task.valid, *task.test)}
        words = [row for i in range(0, N_WORDS - 1, 3) for row in (rows[f"{name[-1]}{i}"], rows[f"{name[-1]}{i + 1}"])]
        found[name] = sl.Task(name, tuple(words[:12]), tuple(words[12:16]), tuple(words), family=name[-1])
    return found


@pytest.fixture(scope="module")
def fits(planted: sl.LensModel) -> sl.SiteFits:
    config = sl.SiteConfig(n_prompts=200, n_shots=8)
    return sl.fit_site(planted, balanced_tasks(), config, template=TEMPLATE, progress=False)


def carriers_first(grid: sl.HeadGrid) -> sl.ScoresByTask:
    def score(task: str) -> sl.HeadScores:
        values = 1.0 * sl.HeadSet.of(grid, CARRIERS[task[-1]]).mask() - sl.HeadSet.of(grid, [COUNTER]).mask()
        return sl.HeadScores(grid=grid, values=values, selector="planted", meaning="carriers first", task=task)

    return sl.ScoresByTask(score(task) for task in balanced_tasks())


@pytest.fixture(scope="module")
def curves(planted: sl.LensModel, fits: sl.SiteFits) -> sl.Faithfulness:
    scores = {"planted": carriers_first(planted.grid)}
    return sl.faithfulness_curves(planted, balanced_tasks(), fits, scores=scores, **OPTIONS)


def few_shot_log_prob(model: sl.LensModel, edits: Sequence[sl.Edit] = (), *, shuffled: bool = False) -> float:
    """Pass the whole few-shot prompts of `direct_u` through the model, and average the answers' log-probability."""
    task = balanced_tasks()["direct_u"]
    streams: dict[str, Any] = {"stream": seed_stream(0, task.digest, "evaluation", 8)}
    if shuffled:
        streams["shuffle"] = seed_stream(0, task.digest, "interchange", 8)
    queries = Queries.of(model, few_shot_prompts(task, task.test, TEMPLATE, n_shots=8, **streams).prompts)
    logits = model.forward(Batch.of(queries.ids, pad=0, device=model.device), edits)
    return float(logits.log_softmax(-1).gather(1, queries.targets(model.device)[:, None]).mean())


def test_the_carriers_first_reach_the_fit_at_their_number_and_not_before(curves: sl.Faithfulness) -> None:
    for ordering in ("planted", SITE):
        for task in curves.tasks:
            certain = curves.curve("sufficiency", ordering, task, "log_prob")
            own = curves.reference("own", task, "log_prob")
            n = len(CARRIERS[task[-1]])
            assert curves.heads(ordering, task, n) == sl.HeadSet.of(curves.grid, CARRIERS[task[-1]])
            assert certain[n] >= own
            assert (np.diff(certain[: n + 1]) > 0.05).all()
            assert certain[n - 1] < own - 0.05
            assert np.allclose(certain[n:-1], certain[n], atol=1e-4)  # the idle heads do nothing


def test_few_shot_prompts_do_the_task_until_the_last_carrier_is_ablated(curves: sl.Faithfulness) -> None:
    for task in curves.tasks:
        n = len(CARRIERS[task[-1]])
        accuracy = curves.curve("necessity", "planted", task)
        certain = curves.curve("necessity", "planted", task, "log_prob")
        assert (accuracy[:n] == 1).all()
        # Without carriers the head that works against the task has its way; without that one, too, chance is left.
        assert accuracy[n] == 0 < curves.reference("zero_shot", task)
        assert (np.diff(certain[: n + 1]) < -0.05).all()
        assert np.allclose(certain[n:-1], certain[n], atol=1e-4)  # the idle heads do nothing
        assert certain[-1] == pytest.approx(np.log(0.5), abs=0.1)


def test_other_orders_do_worse_in_area(curves: sl.Faithfulness) -> None:
    for task in range(len(curves.tasks)):
        for metric in ("accuracy", "log_prob"):
            best = curves.areas("sufficiency", SITE, metric)[0, task]
            for worse in (REVERSED, RANDOM):
                assert curves.areas("sufficiency", worse, metric)[:, task].mean() < best - 0.02
        lost = curves.areas("necessity", SITE, "log_prob")[0, task]
        for worse in (REVERSED, RANDOM):
            assert curves.areas("necessity", worse, "log_prob")[:, task].mean() > lost + 0.02


def test_no_heads_are_zero_and_few_shot_and_all_heads_are_all_heads_hard(
    planted: sl.LensModel, fits: sl.SiteFits, curves: sl.Faithfulness
) -> None:
    n = curves.asked.shape[1]
    for j, (name, task) in enumerate(balanced_tasks().items()):
        all_heads = fits[name].replace(gates=sl.HeadGates.constant(planted.grid, 1.0))
        hard = sl.evaluate(planted, task, sl.SiteFits([all_heads]), n_shots=8, max_queries=n, progress=False)[name]
        plain = sl.evaluate(planted, task, sl.SiteFits([fits[name]]), n_shots=8, max_queries=n, progress=False)[name]
        for o in range(len(curves.orderings)):
            assert np.array_equal(curves.right[0, o, j, 0], plain.first_token[0, :n])
            assert np.array_equal(curves.right[1, o, j, 0], plain.first_token[1, :n])
            assert np.array_equal(curves.right[0, o, j, -1], hard.first_token[hard.methods.index("site")][:n])
        found = curves.references[:, j]
        assert np.array_equal(found, plain.first_token[[0, 1, plain.methods.index("site")]][:, :n])


def test_ablation_equals_whole_prompts_with_the_mean_put_in_by_hand(
    planted: sl.LensModel, curves: sl.Faithfulness
) -> None:
    task = balanced_tasks()["direct_u"]
    config = sl.ComparisonConfig(n_prompts=200, n_shots=8, template=TEMPLATE)
    mean = uninformed_mean(sl.ComparisonContext(planted, task, config), task.name)

    def put(layer: int, heads: list[int]) -> sl.Edit:
        def change(z: torch.Tensor) -> torch.Tensor:
            changed = z.clone()
            changed[:, heads] = mean[layer, heads]
            return changed

        return sl.Edit(layer, change)

    plain = few_shot_log_prob(planted, [put(1, [1, 4]), put(2, [2])])
    assert curves.curve("necessity", "planted", "direct_u", "log_prob")[3] == pytest.approx(plain, abs=1e-5)


def test_all_heads_interchanged_is_the_prompt_with_shuffled_labels_itself(
    planted: sl.LensModel, curves: sl.Faithfulness
) -> None:
    log_prob = few_shot_log_prob(planted, shuffled=True)
    assert np.allclose(curves.log_prob[2, :, curves.tasks.index("direct_u"), -1], log_prob, atol=1e-5)


def test_only_heads_that_learn_from_demonstrations_lose_by_an_interchange(curves: sl.Faithfulness) -> None:
    for task in curves.tasks:
        n = len(CARRIERS[task[-1]])
        certain = curves.curve("interchange", "planted", task, "log_prob")
        assert (np.diff(certain[: n + 1]) < -0.05).all()
        assert np.allclose(certain[n:-1], certain[n], atol=1e-4)  # the idle heads know nothing of the labels
        assert certain[0] == pytest.approx(curves.reference("few_shot", task, "log_prob"), abs=1e-5)


def test_draws_do_not_depend_on_other_tasks_and_an_interrupted_call_goes_on_where_it_stopped(
    planted: sl.LensModel, fits: sl.SiteFits, curves: sl.Faithfulness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def curves_of(*names: str) -> sl.Faithfulness:
        tasks = [balanced_tasks()[name] for name in names]
        return sl.faithfulness_curves(planted, tasks, fits, checkpoint_dir=tmp_path, **OPTIONS | {"max_queries": 6})

    first = curves_of("direct_u")
    rows = [i for i, name in enumerate(curves.orderings) if name != "planted"]
    assert np.array_equal(first.ranks[:, 0], curves.ranks[rows, curves.tasks.index("direct_u")])
    measured: list[str] = []
    real = study._curves

    def watched(model: sl.LensModel, task: sl.Task, *rest: Any) -> Any:
        measured.append(task.name)
        return real(model, task, *rest)

    monkeypatch.setattr(study, "_curves", watched)
    both = curves_of("direct_u", "swapped_u")
    assert np.array_equal(both.right[:, :, :1], first.right)
    assert curves_of("direct_u", "swapped_u") == both
    assert measured == ["swapped_u"]


def test_orderings_rank_every_head_once_and_mirror_or_match_those_of_site(curves: sl.Faithfulness) -> None:
    n, every = len(curves.grid), np.arange(1, len(curves.grid) + 1)
    assert curves.orderings == (SITE, "planted", REVERSED, *[RANDOM] * 5, *[LAYER_MATCHED] * 5)
    assert (np.sort(curves.ranks.reshape(len(curves.orderings), 4, -1)) == every).all()
    for task in curves.tasks:
        for k in (1, 3, 8):
            assert curves.heads(REVERSED, task, k) == ~curves.heads(SITE, task, n - k)
    matched = curves.ranks[-5:]
    for k in curves.ks:
        assert ((matched <= k).sum(-1) == (curves.ranks[0] <= k).sum(-1)).all()  # as many heads in each layer
    assert len({ranks.tobytes() for ranks in matched}) == 5


def test_the_smallest_set_is_named_where_the_effect_is_large_enough(curves: sl.Faithfulness) -> None:
    n_carriers = len(CARRIERS["u"])
    assert curves.smallest("sufficiency", SITE).k == 1  # the first carrier tips every answer the right way
    assert curves.smallest("sufficiency", REVERSED).k == len(curves.grid) - n_carriers + 1
    assert curves.smallest("necessity", "planted").k == n_carriers  # one carrier is enough, so all must go
    flat = curves.replace(right=np.broadcast_to(curves.right[:, :, :, :1], curves.right.shape))
    few, never = curves.smallest("sufficiency", SITE, "direct_u"), flat.smallest("necessity", SITE)
    assert (few.k, never.k) == (None, None)
    assert "too few queries" in few.reason and "never" in never.reason


def test_an_area_is_the_mean_of_a_curve_over_its_axis(curves: sl.Faithfulness) -> None:
    straight = np.log1p(curves.ks) / np.log1p(len(curves.grid))
    shape = curves.log_prob.shape
    drawn = curves.replace(log_prob=np.broadcast_to(straight - 1, shape), right=np.ones_like(curves.right))
    assert drawn.areas("sufficiency", SITE, "log_prob") == pytest.approx(np.full((1, 4), -0.5), abs=1e-6)
    assert drawn.areas("necessity", RANDOM) == pytest.approx(np.ones((5, 4)), abs=1e-6)
    for direction in DIRECTIONS:
        area, of_all = curves.area(direction, RANDOM, "direct_u"), curves.area(direction, "planted")
        assert area.value == pytest.approx(float(curves.areas(direction, RANDOM)[:, 0].mean()), abs=1e-6)
        assert all(0 <= one.low <= one.value <= one.high <= 1 for one in (area, of_all))
    better = curves.area_difference("sufficiency", SITE, REVERSED, "direct_u")
    assert better.low > 0
    assert curves.area_difference("sufficiency", SITE, SITE).value == 0


def test_ranks_keep_equal_scores_in_order_and_leave_out_where_no_head_is() -> None:
    mask = sl.HeadGrid((2, 0, 3)).mask
    values = np.array([[0.5, 0.9, 0], [0, 0, 0], [0.5, 0.1, 0.9]], dtype=np.float32)
    assert rank_heads(values, mask).tolist() == [[3, 1, 0], [0, 0, 0], [4, 5, 2]]


def test_cpr_is_the_area_under_the_share_of_the_effect_and_cmd_that_above_it(curves: sl.Faithfulness) -> None:
    zero, few = curves.reference("zero_shot"), curves.reference("few_shot")
    areas, late = curves.circuit_areas("planted"), curves.circuit_areas(REVERSED)
    share = (curves.curve("sufficiency", "planted") - zero) / (few - zero)
    x = np.array(curves.ks) / len(curves.grid)
    by_hand = sum((x[i + 1] - x[i]) * (share[i] + share[i + 1]) / 2 for i in range(len(x) - 1))
    assert areas.cpr is not None and areas.cmd is not None and late.cpr is not None and late.cmd is not None
    assert areas.cpr == pytest.approx(by_hand, abs=1e-6)
    if share.max() <= 1:
        assert areas.cpr + areas.cmd == pytest.approx(1, abs=1e-6)
    assert late.cpr < areas.cpr and late.cmd > areas.cmd


def test_cpr_and_cmd_have_no_verdict_where_few_shot_prompting_gains_nothing(curves: sl.Faithfulness) -> None:
    flat = curves.replace(references=np.zeros_like(curves.references)).circuit_areas("planted")
    assert (flat.cpr, flat.cmd) == (None, None) and flat.reason
    worse = curves.reference_log_prob.copy()
    worse[1] = worse[0] - 1  # a lower mean is no effect, whatever the number of answers
    areas = curves.replace(reference_log_prob=worse).circuit_areas("planted", metric="log_prob")
    assert areas.cpr is None and "log_prob" in areas.reason


def test_embeddings_without_a_seed_can_be_asked(planted: sl.LensModel) -> None:
    task = planted_tasks()["direct_u"]
    rows = {task.name: [[1, 2, 3, 4], [4, 3, 2, 1]]}
    given = sl.capture_embeddings(planted, task, n_prompts=2, n_shots=3, template=TEMPLATE, prompt_rows=rows)
    fits = sl.fit_site(planted, task, sl.SiteConfig(n_steps=10), embeddings=given, progress=False)
    found = sl.faithfulness_curves(planted, task, fits, ks=[1], n_random=1, n_shots=3, max_queries=4, progress=False)
    assert found.ks == (0, 1, len(planted.grid))
