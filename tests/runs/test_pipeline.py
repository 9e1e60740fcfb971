"""From tasks to a saved run in one call."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import transformers

import site_lens as sl
from site_lens.methods.registry import CONTROLS, OTHER_EMBEDDING, SHUFFLED_ANSWERS, TASK_AGNOSTIC, ZERO_EMBEDDING
from site_lens.models.base import LensModel
from site_lens.records.assets import DEMO_MODEL
from site_lens.runs import pipeline
from tests.conftest import Tasks

PRICES = (0.01, 0.03)
SMALL = sl.SiteConfig(n_steps=10, n_prompts=4, n_shots=3, n_valid=6)


def test_groups_give_the_run_that_one_batch_gives(demo: LensModel, demo_tasks: Tasks, tmp_path: Path) -> None:
    demo_tasks = dict(list(demo_tasks.items())[:2])
    together = sl.fit_and_evaluate(demo, demo_tasks, SMALL, prices=PRICES, n_starts=1, max_queries=5)
    grouped = sl.fit_and_evaluate(
        demo, demo_tasks, SMALL, prices=PRICES, n_starts=1, max_queries=5, tasks_at_once=1, save_to=tmp_path
    )
    for name in demo_tasks:
        one, other = together.fits[name], grouped.fits[name]
        assert np.abs(one.gates.values - other.gates.values).max() < 1e-4
        assert np.abs(together.paths[name].gates - grouped.paths[name].gates).max() < 1e-3
    loaded = sl.Run.load(tmp_path)
    assert {name: fit.digest for name, fit in loaded.fits.items()} == {n: f.digest for n, f in grouped.fits.items()}
    assert set(loaded.controls) == {ZERO_EMBEDDING}
    assert loaded.evaluations is not None
    assert set(loaded.evaluations) == set(demo_tasks)
    assert loaded.paths == grouped.paths
    heads = pd.read_csv(tmp_path / "heads.csv")
    for name, path in loaded.paths.items():
        chosen = heads[(heads.task == name) & heads.chosen]["head"].tolist()
        assert chosen == ([] if path.chosen is None else list(map(str, path.chosen.heads)))


def test_a_path_begins_at_the_fits_of_the_run_and_its_set_is_what_is_evaluated(
    demo: LensModel, demo_tasks: Tasks
) -> None:
    demo_tasks = {name: demo_tasks[name] for name in ("antonym", "english-french")}
    config = SMALL.replace(n_steps=40, n_valid=30)
    run = sl.fit_and_evaluate(demo, demo_tasks, config, prices=PRICES, n_starts=1, max_queries=40, n_attention_heads=2)
    assert run.evaluations is not None and run.paths.chosen()
    for name, path in run.paths.items():
        leading = list(path.ranked)[:2] or list(run.fits[name].gates.top(2))
        assert run.attention[name].heads == tuple(map(str, leading))
    assert set(run.head_fits) == set(run.paths.chosen())
    for name, path in run.paths.items():
        assert (path.gates[path.of("task", 0.0)[0]] == run.fits[name].gates.values).all()
        assert (path.gates[path.of("zero", 0.0)[0]] == run.controls[ZERO_EMBEDDING][name].gates.values).all()
        measured = run.evaluations[name]
        if path.chosen is None:
            assert "site_sparse" not in measured.methods
            continue
        gates, embedding = sl.HeadGates.of(path.chosen.heads, task=name), run.fits[name].embedding
        by_hand = sl.evaluate(demo, demo_tasks[name], {name: (gates, embedding)}, max_queries=40)[name]
        assert measured.accuracy("site_sparse") == by_hand.accuracy("site")
        of_method = dict(zip(measured.methods, measured.n_heads, strict=True))
        assert of_method["site_sparse"] == len(path.chosen.heads) >= (of_method["gates_sparse"] or 0)
        assert of_method["site"] is None and of_method["site_hard"] == len(run.fits[name].gates.above(0.5))
    without = sl.Run(run.fits)
    assert without.head_fits == run.fits


def test_one_shared_alpha_map_is_fitted_on_all_tasks_whatever_the_group_size(
    demo: LensModel, demo_tasks: Tasks
) -> None:
    run = sl.fit_and_evaluate(demo, demo_tasks, SMALL.replace(shared=True), prices=(), max_queries=5, tasks_at_once=1)
    assert len({fit.gates.values.tobytes() for fit in run.fits.values()}) == 1


def test_the_control_lets_gates_act_alone_under_every_mix_rule(demo: LensModel, demo_tasks: Tasks) -> None:
    run = sl.fit_and_evaluate(demo, demo_tasks["antonym"], SMALL.replace(mix="additive"), prices=(), max_queries=5)
    control = run.controls[ZERO_EMBEDDING]["antonym"]
    assert control.config.mix == "convex"
    assert np.abs(control.gates.values - 0.5).max() > 0.01


def test_too_few_rows_are_found_before_the_first_step(demo: LensModel, tmp_path: Path) -> None:
    words = ("hot", "big", "old", "red", "day", "man", "one", "two", "dog", "sun", "car", "hat")
    task = sl.Task.from_examples("small", [sl.Example(word, (word,)) for word in words])
    with pytest.raises(sl.InputError, match="too few for 10-shot prompts"):
        sl.fit_and_evaluate(demo, task, SMALL, prices=(), save_to=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    run = sl.fit_and_evaluate(demo, task, SMALL, prices=(), n_eval_shots=3, save_to=tmp_path / "run")
    assert run.evaluations is not None
    assert run.evaluations.methods[1] == "3_shot"


def test_every_control_is_fitted_on_every_task_and_seed_and_evaluated(
    demo: LensModel, demo_tasks: Tasks, tmp_path: Path
) -> None:
    two = dict(list(demo_tasks.items())[:2])
    run = sl.fit_and_evaluate(
        demo, two, SMALL, seeds=[0, 1], controls=CONTROLS, prices=(), max_queries=5, save_to=tmp_path
    )
    assert run.evaluations is not None
    assert set(run.controls) == set(CONTROLS) <= set(run.evaluations.methods)
    for name, fits in run.controls.items():
        assert set(fits) == {f"{task}#{seed}" for task in two for seed in (0, 1)}, name
    first, second = two
    assert run.controls[OTHER_EMBEDDING][first, 1].embedding.digest == run.fits[second, 1].embedding.digest
    assert run.controls[OTHER_EMBEDDING][second, 0].embedding.digest == run.fits[first, 0].embedding.digest
    assert run.controls[SHUFFLED_ANSWERS][first, 0].config.null == "shuffled_answers"
    shared = run.controls[TASK_AGNOSTIC]
    np.testing.assert_array_equal(shared[first, 0].gates.values, shared[second, 0].gates.values)
    found = {one.code: one.state for one in sl.diagnose(sl.Run.load(tmp_path)).of(first)}
    assert "not_applicable" not in {found[code] for code in ("null_as_binary", "task_agnostic", "seeds_disagree")}


def without_a_number(word: str) -> LensModel:
    """The demo model, where whatever follows a word is not a number."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO_MODEL)
    hf_model = transformers.AutoModelForCausalLM.from_pretrained(DEMO_MODEL, dtype=torch.float32)
    hf_model.lm_head.weight = torch.nn.Parameter(hf_model.lm_head.weight.detach().clone())  # untied
    (token,) = tokenizer(f" {word}", add_special_tokens=False).input_ids
    with torch.no_grad():
        hf_model.get_input_embeddings().weight[token] = torch.nan
    return sl.wrap_model(hf_model, tokenizer=tokenizer, name="demo")


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_one_prompt_without_a_number_is_named_and_spoils_nothing_else(
    split: str, demo: LensModel, demo_tasks: Tasks
) -> None:
    tasks = [demo_tasks["antonym"], demo_tasks["english-french"]]
    row = getattr(tasks[0], split)[2]
    config = SMALL.replace(n_valid=200, n_prompts=20 if split == "train" else SMALL.n_prompts)
    train, valid, test = (
        tuple(r for r in s if r == row or row.input not in (r.input, *r.outputs))
        for s in (tasks[0].train, tasks[0].valid, tasks[0].test)
    )
    tasks[0] = sl.Task("antonym", train, valid, test)
    where = {"train": train, "valid": valid, "test": test}[split].index(row)
    model = without_a_number(row.input)
    run = sl.fit_and_evaluate(model, tasks, config, prices=(), max_queries=200 if split == "test" else 5)
    assert run.evaluations is not None
    fit, measured = run.fits["antonym"], run.evaluations["antonym"]
    fine = run.fits["english-french"]
    assert fine.status != "nonfinite"
    reference = sl.fit_site(demo, tasks[1], config)["english-french"]
    assert np.abs(fine.gates.values - reference.gates.values).max() < 1e-4
    if split == "test":
        assert fit.status != "nonfinite" and not run.evaluations["english-french"].notes
        assert not measured.first_token[:, where].any()
        assert measured.first_token[measured.methods.index("ten_shot")].mean() > 0.5
        (note,) = measured.notes
        assert all(said in note for said in (row.input, f"row {where}", "float32", *measured.methods))
    else:
        assert fit.status == "nonfinite"
        assert all(said in fit.notes[-1] for said in ("antonym", row.input, "float32", "layer 0"))
        with pytest.raises(sl.FitError, match="antonym") as caught:
            sl.fit_site(model, tasks, config)
        assert isinstance(caught.value.fits, sl.SiteFits)
        assert caught.value.fits["english-french"].status != "nonfinite"


def test_one_embedding_without_a_number_leaves_out_its_task_and_no_other_in_a_comparison(
    demo_tasks: Tasks,
) -> None:
    tasks = [demo_tasks["antonym"], demo_tasks["english-french"]]
    model = without_a_number(tasks[0].train[2].input)
    config = sl.ComparisonConfig(n_prompts=30, n_shots=10, site=SMALL)
    with pytest.warns(UserWarning, match="antonym"):
        run = sl.run_methods(model, tasks, ["zero_shot", "site", "all_heads_half"], config=config, max_queries=5)
    assert run.fits["antonym"].status == "nonfinite" and run.fits["english-french"].status != "nonfinite"
    assert run.evaluations is not None
    assert "all_heads_half" in run.evaluations["english-french"].methods
    assert "all_heads_half" not in run.evaluations["antonym"].methods


def test_what_a_path_or_an_evaluation_would_refuse_is_refused_before_anything_is_fitted(
    demo: LensModel, demo_tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong: list[dict[str, Any]] = [{"prices": (0.03, 0.01)}, {"n_starts": 0}, {"n_sets": 3}]
    monkeypatch.setattr(pipeline, "fit_variants", lambda *_, **__: pytest.fail("fitted"))
    for settings in wrong:
        with pytest.raises(sl.InputError):
            sl.fit_and_evaluate(demo, demo_tasks["antonym"], SMALL, **settings)
    with pytest.raises(sl.InputError):
        sl.fit_and_evaluate(demo, demo_tasks["antonym"], SMALL.replace(head_price=0.01))
