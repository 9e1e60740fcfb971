"""Fit ablation: every variant answers what a plain run of it answers; verdicts on planted numbers."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import site_lens as sl
from site_lens.activations.queries import Queries
from site_lens.models.batch import Batch
from site_lens.tasks.prompt_sampling import sampled, zero_shot_prompts
from tests.fake_studies import fake_ablation
from tests.fakes import rights
from tests.planted import TEMPLATE, planted_tasks

TASKS = {name: task for name, task in planted_tasks().items() if name in ("direct_u", "swapped_v")}
CONFIG = sl.SiteConfig(n_prompts=20, n_shots=8, n_steps=60)
SMALL = sl.SiteConfig(n_steps=10, n_prompts=6, n_shots=4, n_valid=8)
RATES = {"default": 0.5, "up": 0.8, "down": 0.2, "same": 0.5}


@pytest.fixture(scope="module")
def planted_ablation(planted: sl.LensModel) -> sl.FitAblation:
    return sl.ablate_fit(planted, TASKS, CONFIG, last_k=(1, 2, 99), template=TEMPLATE, progress=False)


@pytest.fixture(scope="module")
def ablation(demo: sl.LensModel, demo_tasks: dict[str, sl.Task]) -> sl.FitAblation:
    few = [demo_tasks["antonym"], demo_tasks["choose_last_of_3"]]
    return sl.ablate_fit(demo, few, SMALL, inits=[0.9], lrs=[0.5], last_k=(3, 99), max_queries=20, progress=False)


@pytest.fixture(scope="module")
def fit(demo: sl.LensModel, demo_tasks: dict[str, sl.Task]) -> sl.SiteFit:
    return sl.fit_site(demo, demo_tasks["antonym"], SMALL, progress=False)["antonym"]


def row(record: sl.FitAblation, name: str, task: str = "antonym") -> np.ndarray:
    answers: np.ndarray = record.right[record.names.index(name), record.tasks.index(task)]
    return answers


def test_settings_of_the_default_are_left_out(planted_ablation: sl.FitAblation) -> None:
    assert planted_ablation.names == (
        "default", "mix=additive", "mix=norm_preserving", "alpha_per=layer", "init=0.1", "init=0.9", "init=random",
        "lr=0.05", "lr=0.5", "zero_shot", "hard", "last_2", "last_99", "all_prompt_tokens", "generated", "every_step",
    )  # fmt: skip
    against = {variant.name: variant.against for variant in planted_ablation.variants}
    assert {name for name, other in against.items() if other is None} == {"default", "zero_shot", "generated"}
    assert against["every_step"] == "generated"
    assert set(planted_ablation.verdicts().values()) == {"too few"}  # 16 queries


def test_variants_are_the_fits_of_their_settings(planted: sl.LensModel, planted_ablation: sl.FitAblation) -> None:
    settings: dict[str, dict[str, Any]] = {
        "default": {}, "mix=additive": {"mix": "additive"}, "alpha_per=layer": {"alpha_per": "layer"},
        "init=random": {"init": "random"},
    }  # fmt: skip
    for name, changes in settings.items():
        fits = sl.fit_site(planted, TASKS["direct_u"], CONFIG.replace(**changes), template=TEMPLATE, progress=False)
        alphas = planted_ablation.alphas[planted_ablation.names.index(name), planted_ablation.tasks.index("direct_u")]
        assert np.allclose(alphas, fits["direct_u"].gates.values, atol=1e-4), name


def test_the_planted_task_is_done_by_every_rule_and_start_but_not_without_injection(
    planted_ablation: sl.FitAblation,
) -> None:
    for name in ("default", "mix=additive", "init=0.1", "init=0.9", "hard"):
        assert planted_ablation.mean(name).value == 1, name
    assert planted_ablation.mean("zero_shot").value < 1
    assert planted_ablation.undecided("hard") == planted_ablation.share_open("zero_shot") == 0
    assert planted_ablation.share_open("hard") == planted_ablation.share_open("default") > 0


def test_default_hard_and_generated_are_those_of_an_evaluation_and_every_step_that_of_generate(
    demo: sl.LensModel, demo_tasks: dict[str, sl.Task], ablation: sl.FitAblation, fit: sl.SiteFit
) -> None:
    options: dict[str, Any] = {"n_shots": 4, "max_queries": 20, "generated": True, "progress": False}
    evaluation = sl.evaluate(demo, demo_tasks["antonym"], sl.SiteFits([fit]), **options)["antonym"]
    for name, method in (("default", "site"), ("hard", "site_hard"), ("zero_shot", "zero_shot")):
        assert np.array_equal(row(ablation, name), evaluation.first_token[evaluation.methods.index(method)])
    assert evaluation.exact is not None
    assert np.array_equal(row(ablation, "generated"), evaluation.exact[evaluation.methods.index("site")])
    queries = sampled(demo_tasks["antonym"].test, 20)
    prompts = [prompt.text for prompt in zero_shot_prompts(queries, fit.template)]
    texts = sl.generate(demo, prompts, sl.injection_edits(demo, fit.gates, fit.embedding), every_step=True)
    right = [text.strip().split("\n")[0] in query.outputs for text, query in zip(texts, queries, strict=True)]
    assert row(ablation, "every_step").tolist() == right


def test_last_tokens_are_injected_as_in_each_prompt_alone(
    demo: sl.LensModel, demo_tasks: dict[str, sl.Task], ablation: sl.FitAblation, fit: sl.SiteFit
) -> None:
    queries = Queries.of(demo, zero_shot_prompts(sampled(demo_tasks["antonym"].test, 20), fit.template))
    edits = sl.injection_edits(demo, fit.gates, fit.embedding)
    for name, columns in (("last_3", (-1, -2, -3)), ("all_prompt_tokens", (None,))):
        placed = [replace(edit, column=column) for edit in edits for column in columns]
        with torch.no_grad():
            logits = [demo.forward(Batch.of([ids], pad=0, device=demo.device), placed)[0] for ids in queries.ids]
        alone = [int(one.argmax()) in right for one, right in zip(logits, queries.accepted, strict=True)]
        assert row(ablation, name).tolist() == alone, name
    assert not np.array_equal(row(ablation, "all_prompt_tokens"), row(ablation, "default"))


def test_variants_are_better_worse_or_not_told_apart() -> None:
    record = fake_ablation(RATES)
    assert record.verdicts() == {"up": "above", "down": "below", "same": "not found"}
    for name in record.verdicts():
        for task in (None, "a"):
            difference = record.difference(name, task)
            assert difference.low <= difference.value <= difference.high and difference.low < difference.high
    assert set(fake_ablation(RATES, n_queries=14).verdicts().values()) == {"too few"}
    assert fake_ablation({"default": 0.5, "up": 32 / 60}).verdicts()["up"] == "not found"


def test_many_variants_make_a_difference_harder_to_find() -> None:
    few, many = {"default": 0.5, "up": 0.55}, {f"same{i}": 0.5 for i in range(20)}
    alone, crowded = (fake_ablation(rates).q_values()["up"] for rates in (few, few | many))
    assert alone < 0.05 < crowded


def test_each_task_counts_once_however_many_queries_it_has() -> None:
    asked = np.ones((2, 60))
    asked[1, 12:] = 0
    right = np.stack([rights([0.5, 0.1], 60), rights([0.5, 0.2], 60)])  # task b: 6 and 12 of its 12 queries
    record = fake_ablation({"default": 0, "up": 0}, right=right * asked, asked=asked)
    assert record.mean("up").value == pytest.approx((0.5 + 1) / 2)
    assert record.difference("up").value == pytest.approx((0 + 0.5) / 2)
    assert record.difference("up", "b").n == 12
    assert record.n_tasks_differing("up") == (1, 0)
