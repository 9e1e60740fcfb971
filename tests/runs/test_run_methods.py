"""Methods and selectors on one context: names, order, costs, and what is saved when."""

from dataclasses import replace
from pathlib import Path

import pytest

import site_lens as sl
from site_lens.methods.registry import METHODS, MethodEntry, fit_method
from site_lens.runs.run_methods import DEFAULT_METHODS
from site_lens.selectors.registry import SELECTORS
from tests.methods.test_every_host import TINY
from tests.planted import TEMPLATE, planted_tasks

CONFIG = sl.ComparisonConfig(template=TEMPLATE, n_prompts=6, n_shots=5, n_probes=4, mask_steps=3, l0_steps=5)


def test_methods_come_in_the_order_asked_with_their_costs_and_are_saved(planted: sl.LensModel, tmp_path: Path) -> None:
    names = ["site", "zero_shot", "five_shot"]
    run = sl.run_methods(
        planted, planted_tasks(), names, selectors=["site", "random"], config=CONFIG, save_to=tmp_path, progress=False
    )
    assert run.evaluations is not None
    for one in run.evaluations.values():
        assert one.methods == ("site", "zero_shot", "five_shot")
        assert one.costs[0].fit_seconds is not None
        assert one.costs[0].n_trained == len(planted.grid)
    saved = sl.Run.load(tmp_path)
    assert saved.evaluations == run.evaluations
    assert set(saved.scores) == {"site", "random"}
    assert (tmp_path / "results.csv").exists()


def test_one_task_is_compared_with_all_that_one_task_allows(planted: sl.LensModel) -> None:
    config = TINY.replace(template=TEMPLATE, n_shots=5)
    context = sl.ComparisonContext(planted, planted_tasks()["direct_u"], config, progress=False)
    several = {"site_task_agnostic", "universal_vector"}
    assert several <= set(DEFAULT_METHODS)
    for name in several:
        with pytest.raises(sl.InputError, match="second task"):
            fit_method(context, name, "direct_u")
    run = sl.run_methods(planted, planted_tasks()["direct_u"], None, config=config, max_queries=4, progress=False)
    assert run.evaluations is not None
    asked = {name.replace("few_shot", "five_shot") for name in DEFAULT_METHODS} - several
    assert set(run.evaluations["direct_u"].methods) == asked


def test_what_the_model_cannot_have_is_left_out_and_the_others_go_on(
    planted: sl.LensModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(context: sl.ComparisonContext, task: str) -> sl.Method:
        if task == "direct_u":
            raise sl.FitError("the loss was not finite")
        return METHODS["all_heads_half"].make(context, task)

    def hidden(context: sl.ComparisonContext) -> dict[str, sl.HeadScores]:
        raise sl.ModelError("its attention is not shown")

    monkeypatch.setitem(METHODS, "task_vector", MethodEntry("fails", fails))
    monkeypatch.setitem(SELECTORS, "induction", replace(SELECTORS["induction"], score=hidden))
    with pytest.warns(UserWarning) as warned:
        run = sl.run_methods(
            planted, planted_tasks(), ["zero_shot", "few_shot", "task_vector"], selectors=["induction", "random"],
            config=CONFIG, max_queries=4, save_to=tmp_path, progress=False,
        )  # fmt: skip
    assert run.evaluations is not None
    assert any("task_vector was left out: the loss was not finite" in n for n in run.evaluations["direct_u"].notes)
    assert run.evaluations["direct_u"].methods == ("zero_shot", "five_shot")
    assert not any("left out" in note for note in run.evaluations["swapped_u"].notes)
    assert set(run.scores) == {"random"}
    said = [str(one.message) for one in warned]
    assert any("induction" in line for line in said)
    assert sum("task_vector" in line for line in said) == 1
    assert sl.Run.load(tmp_path).evaluations == run.evaluations
    with pytest.warns(UserWarning), pytest.raises(sl.FitError, match="no method of task 'direct_u'"):
        sl.run_methods(planted, planted_tasks(), ["task_vector"], config=CONFIG, progress=False)
