"""From tasks to a saved run in one call."""

from pathlib import Path

import numpy as np
import pytest

import site_lens as sl
from site_lens.core.runs import ZERO_EMBEDDING
from site_lens.experiments import study
from site_lens.models.protocol import LensModel

SMALL = sl.SiteConfig(n_steps=10, n_prompts=4, n_shots=3, n_valid=6)


def test_groups_give_the_run_that_one_batch_gives(
    demo: LensModel, demo_tasks: dict[str, sl.Task], tmp_path: Path
) -> None:
    together = sl.fit_and_evaluate(demo, demo_tasks, SMALL, max_queries=5)
    grouped = sl.fit_and_evaluate(demo, demo_tasks, SMALL, max_queries=5, tasks_at_once=1, folder=tmp_path)
    for name in demo_tasks:
        one, other = together.fits[name], grouped.fits[name]
        assert np.abs(one.gates.values - other.gates.values).max() < 1e-4
    loaded = sl.Run.load(tmp_path)
    assert {name: fit.digest for name, fit in loaded.fits.items()} == {n: f.digest for n, f in grouped.fits.items()}
    assert set(loaded.controls) == {ZERO_EMBEDDING}
    assert loaded.evaluations is not None
    assert set(loaded.evaluations) == set(demo_tasks)


def test_one_shared_alpha_map_is_fitted_on_all_tasks_whatever_the_group_size(
    demo: LensModel, demo_tasks: dict[str, sl.Task]
) -> None:
    run = sl.fit_and_evaluate(demo, demo_tasks, SMALL.replace(shared=True), max_queries=5, tasks_at_once=1)
    assert len({fit.gates.values.tobytes() for fit in run.fits.values()}) == 1


def test_the_control_lets_gates_act_alone_under_every_mix_rule(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> None:
    run = sl.fit_and_evaluate(demo, demo_tasks["antonym"], SMALL.replace(mix="additive"), max_queries=5)
    control = run.controls[ZERO_EMBEDDING]["antonym"]
    assert control.config.mix == "convex"
    assert np.abs(control.gates.values - 0.5).max() > 0.01


def test_an_interruption_before_the_second_evaluation_leaves_a_run_that_loads(
    demo: LensModel, demo_tasks: dict[str, sl.Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = list(demo_tasks.values())[:2]
    sl.fit_and_evaluate(demo, first, SMALL, max_queries=5, folder=tmp_path)

    def interrupt(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "evaluate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        sl.fit_and_evaluate(demo, second, SMALL, folder=tmp_path)
    run = sl.Run.load(tmp_path)
    assert set(run.fits) == {second.name}
    assert run.evaluations is None


def test_too_few_rows_are_found_before_the_first_step(demo: LensModel, tmp_path: Path) -> None:
    words = ("hot", "big", "old", "red", "day", "man", "one", "two", "dog", "sun", "car", "hat")
    task = sl.Task.from_examples("small", [sl.Example(word, (word,)) for word in words])
    with pytest.raises(sl.InputError, match="too few for 10-shot prompts"):
        sl.fit_and_evaluate(demo, task, SMALL, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    run = sl.fit_and_evaluate(demo, task, SMALL, n_eval_shots=3, folder=tmp_path / "run")
    assert run.evaluations is not None
    assert run.evaluations.methods[1] == "3_shot"


def test_several_seeds_are_fitted_and_the_lowest_stands_for_site(
    demo: LensModel, demo_tasks: dict[str, sl.Task]
) -> None:
    run = sl.fit_and_evaluate(demo, demo_tasks["antonym"], SMALL, seeds=[1, 0], max_queries=5)
    assert set(run.fits) == {"antonym#0", "antonym#1"}
    assert run.evaluations is not None
    assert {"site", "site#1", ZERO_EMBEDDING} <= set(run.evaluations.methods)
