"""Ablations: every variant is what it says, and answers what a plain run of it answers."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import site_lens as sl
from site_lens.activations.queries import Queries
from site_lens.methods.first_token_metrics import score_methods
from site_lens.methods.method import Method
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.studies.ablation.result import FitAblation
from site_lens.tasks.prompt_sampling import sampled, zero_shot_prompts
from tests.planted import TEMPLATE, planted_tasks

TASKS = {name: task for name, task in planted_tasks().items() if name in ("direct_u", "swapped_v")}
CONFIG = sl.SiteConfig(n_prompts=20, n_shots=8, n_steps=60)
SMALL = sl.SiteConfig(n_steps=10, n_prompts=6, n_shots=4, n_valid=8)


@pytest.fixture(scope="module")
def planted_ablation(planted: LensModel) -> FitAblation:
    return sl.ablate_fit(planted, TASKS, CONFIG, last_k=(1, 2, 99), template=TEMPLATE, progress=False)


@pytest.fixture(scope="module")
def ablation(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> FitAblation:
    few = [demo_tasks["antonym"], demo_tasks["choose_last_of_3"]]
    return sl.ablate_fit(demo, few, SMALL, inits=[0.9], lrs=[0.5], last_k=(3, 99), max_queries=20, progress=False)


@pytest.fixture(scope="module")
def fit(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> sl.SiteFit:
    return sl.fit_site(demo, demo_tasks["antonym"], SMALL, progress=False)["antonym"]


def row(record: FitAblation, name: str, task: str) -> np.ndarray:
    found: np.ndarray = record.right[[one.name for one in record.variants].index(name), record.tasks.index(task)]
    return found


def test_settings_of_the_default_are_left_out(planted_ablation: FitAblation) -> None:
    assert [one.name for one in planted_ablation.variants] == [
        "default", "mix=additive", "mix=norm_preserving", "alpha_per=layer", "init=0.1", "init=0.9", "init=random",
        "lr=0.05", "lr=0.5", "zero_shot", "hard", "last_2", "last_99", "all_prompt_tokens", "generated", "every_step",
    ]  # fmt: skip
    against = {one.name: one.against for one in planted_ablation.variants}
    assert {name for name, other in against.items() if other is None} == {"default", "zero_shot", "generated"}
    assert against["every_step"] == "generated"


def test_variants_are_the_fits_of_their_settings(planted: LensModel, planted_ablation: FitAblation) -> None:
    settings: dict[str, dict[str, Any]] = {
        "default": {},
        "mix=additive": {"mix": "additive"},
        "alpha_per=layer": {"alpha_per": "layer"},
        "init=random": {"init": "random"},
        "lr=0.05": {"lr": 0.05},
    }
    names = [one.name for one in planted_ablation.variants]
    for name, changes in settings.items():
        fits = sl.fit_site(planted, TASKS, CONFIG.replace(**changes), template=TEMPLATE, progress=False)
        for j, task in enumerate(planted_ablation.tasks):
            assert np.allclose(planted_ablation.alphas[names.index(name), j], fits[task].gates.values, atol=1e-4), name


def test_the_planted_task_is_done_by_every_rule_and_start_but_not_without_injection(
    planted_ablation: FitAblation,
) -> None:
    for name in ("default", "mix=additive", "init=0.1", "init=0.9", "hard"):
        assert planted_ablation.mean(name).value == 1, name
    assert planted_ablation.mean("zero_shot").value < 1
    assert planted_ablation.undecided("hard") == planted_ablation.share_open("zero_shot") == 0
    assert planted_ablation.share_open("hard") == planted_ablation.share_open("default") > 0


def test_so_few_queries_allow_no_verdict(planted_ablation: FitAblation) -> None:
    assert planted_ablation.n_queries == 16
    assert set(planted_ablation.verdicts().values()) == {"too few"}


def test_default_hard_and_generated_are_those_of_an_evaluation(
    demo: LensModel, demo_tasks: dict[str, sl.Task], ablation: FitAblation, fit: sl.SiteFit
) -> None:
    options: dict[str, Any] = {"n_shots": 4, "max_queries": 20, "generated": True, "progress": False}
    plain = sl.evaluate(demo, demo_tasks["antonym"], sl.SiteFits([fit]), **options)["antonym"]
    for name, method in (("default", "site"), ("hard", "site_hard"), ("zero_shot", "zero_shot")):
        assert np.array_equal(row(ablation, name, "antonym"), plain.first_token[plain.methods.index(method)])
    assert plain.exact is not None
    assert np.array_equal(row(ablation, "generated", "antonym"), plain.exact[plain.methods.index("site")])


def test_all_prompt_tokens_are_injected_as_a_method_of_every_token_does_it(
    demo: LensModel, demo_tasks: dict[str, sl.Task], ablation: FitAblation, fit: sl.SiteFit
) -> None:
    everywhere = Method(
        "everywhere",
        edits=lambda model: [
            replace(edit, column=None) for edit in sl.injection_edits(model, fit.gates, fit.embedding)
        ],
    )
    asked = Queries.of(demo, zero_shot_prompts(sampled(demo_tasks["antonym"].test, 20), fit.template))
    ((_, scores),) = score_methods(demo, asked, [everywhere])
    assert np.array_equal(row(ablation, "all_prompt_tokens", "antonym"), scores.metrics["first_token"])
    assert not np.array_equal(row(ablation, "all_prompt_tokens", "antonym"), row(ablation, "default", "antonym"))


def test_last_tokens_are_injected_as_in_each_prompt_alone(
    demo: LensModel, demo_tasks: dict[str, sl.Task], ablation: FitAblation, fit: sl.SiteFit
) -> None:
    asked = Queries.of(demo, zero_shot_prompts(sampled(demo_tasks["antonym"].test, 20), fit.template))
    edits = [replace(e, column=c) for e in sl.injection_edits(demo, fit.gates, fit.embedding) for c in (-1, -2, -3)]
    with torch.no_grad():
        logits = [demo.forward(Batch.of([ids], pad=0, device=demo.device), edits)[0] for ids in asked.ids]
    alone = [int(one.argmax()) in right for one, right in zip(logits, asked.accepted, strict=True)]
    assert row(ablation, "last_3", "antonym").tolist() == alone


def test_more_last_tokens_than_a_prompt_has_are_all_of_them(
    ablation: FitAblation, planted_ablation: FitAblation
) -> None:
    for record in (ablation, planted_ablation):
        for task in record.tasks:
            assert np.array_equal(row(record, "last_99", task), row(record, "all_prompt_tokens", task))


def test_generated_tokens_are_injected_at_every_step_when_asked(
    demo: LensModel, demo_tasks: dict[str, sl.Task], ablation: FitAblation, fit: sl.SiteFit
) -> None:
    queries = sampled(demo_tasks["antonym"].test, 20)
    prompts = [prompt.text for prompt in zero_shot_prompts(queries, fit.template)]
    texts = sl.generate(demo, prompts, sl.injection_edits(demo, fit.gates, fit.embedding), every_step=True)
    right = [text.strip().split("\n")[0] in query.outputs for text, query in zip(texts, queries, strict=True)]
    assert row(ablation, "every_step", "antonym").tolist() == right


def test_gates_alone_have_no_other_mixing_rule_and_a_seed_may_be_given(
    planted: LensModel, planted_ablation: FitAblation
) -> None:
    config = CONFIG.replace(embedding="zero", n_steps=2)
    found = sl.ablate_fit(planted, TASKS["direct_u"], config, inits=[], lrs=[], template=TEMPLATE, seed=3)
    assert not [one.name for one in found.variants if one.factor == "mix"]
    assert (found.config.seed, planted_ablation.config.seed) == (3, 0)


def test_what_cannot_be_ablated_is_refused(planted: LensModel) -> None:
    with pytest.raises(sl.InputError, match="last tokens"):
        sl.ablate_fit(planted, TASKS, CONFIG, last_k=[0])
    with pytest.raises(sl.InputError, match="init"):
        sl.ablate_fit(planted, TASKS, CONFIG, inits=[1.5])
