"""Prompt sensitivity on the planted model, whose carriers read the same code from any prompt."""

import numpy as np
import pytest

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.studies.prompt_sensitivity.measure import _noisy
from site_lens.studies.prompt_sensitivity.result import PromptSensitivity
from tests.planted import CARRIERS, TEMPLATE, planted_tasks

NAMES = ("direct_u", "swapped_v")
OTHER = TEMPLATE.replace(instruction="Q ")
CONFIG = sl.SiteConfig(n_steps=60)


def measured(model: LensModel, *, config: sl.SiteConfig = CONFIG, **options: object) -> PromptSensitivity:
    tasks = [planted_tasks()[name] for name in NAMES]
    settings = {
        "n_prompts": (1, 5, 20), "n_shots": (2, 8), "base": (5, 8), "n_resamples": 2, "n_fit_seeds": 2,
        "template": TEMPLATE, "progress": False,
    }  # fmt: skip
    return sl.prompt_sensitivity(model, tasks, config, **settings | options)  # type: ignore[arg-type]


def capture(model: LensModel, task: sl.Task, n_prompts: int, seed: int = 0) -> dict[str, sl.TaskEmbedding]:
    return sl.capture_embeddings(
        model, task, n_prompts=n_prompts, n_shots=8, seed=seed, template=TEMPLATE, progress=False
    )


def parts(found: PromptSensitivity, quantity: str, part: str, column: str) -> np.ndarray:
    """(task): one column of the variance parts."""
    table = found.variance_frame()
    return table[(table["quantity"] == quantity) & (table["part"] == part)][column].to_numpy(dtype=float)


@pytest.fixture(scope="module")
def found(planted: LensModel) -> PromptSensitivity:
    return measured(planted, templates=[OTHER], label_noise=[1.0])


def test_one_prompt_holds_the_code_that_many_do(planted: LensModel) -> None:
    task = planted_tasks()["direct_u"]
    one, many = (capture(planted, task, m)["direct_u"] for m in (1, 20))
    for name in CARRIERS["u"]:
        head = sl.Head.parse(name)
        code = [each.mean[head.layer, head.head, 0] for each in (one, many)]
        assert code[0] == pytest.approx(code[1], rel=0.02)
        assert many.spread[head.layer, head.head, 0] < 0.05 * abs(code[1])


def test_more_prompts_change_no_answer(found: PromptSensitivity) -> None:
    for one in (*found.along("n_prompts"), *found.along("n_shots")):
        assert found.accuracy(one).value == 1
    answers = {check.claim: check.answer for check in found.checks()}
    assert answers["M=1 does as well as M=20"] == "too few"  # as there are fewer than 30 queries


def test_label_noise_permutes_answers_of_a_share_of_train_and_nothing_else() -> None:
    task = planted_tasks()["direct_u"]
    noisy = _noisy(task, 0.5, seed=0)
    assert [row.input for row in noisy.train] == [row.input for row in task.train]
    assert sorted(row.output for row in noisy.train) == sorted(row.output for row in task.train)
    assert 0 < sum(one != other for one, other in zip(noisy.train, task.train, strict=True)) <= len(task.train) / 2
    assert (noisy.valid, noisy.test) == (task.valid, task.test)


def test_label_noise_weakens_the_code(planted: LensModel) -> None:
    task, head = planted_tasks()["direct_u"], sl.Head.parse(CARRIERS["u"][0])
    code = [
        capture(planted, _noisy(task, share, seed=0), 20)["direct_u"].mean[head.layer, head.head, 0] for share in (0, 1)
    ]
    assert abs(code[1]) < 0.7 * abs(code[0])


def test_embeddings_of_more_prompts_vary_less(found: PromptSensitivity) -> None:
    places = [found.conditions.index(one) for one in found.along("n_prompts")]
    variances = found.embedding_variance[:, places].mean(0)
    assert variances[0] > variances[1] > variances[2] > 0


def test_a_draw_is_the_fit_with_the_embedding_of_that_seed(planted: LensModel, found: PromptSensitivity) -> None:
    task = planted_tasks()["direct_u"]
    one = found.along("n_prompts")[0]
    fits = sl.fit_site(planted, task, CONFIG, embeddings=capture(planted, task, 1, seed=1), progress=False)
    alphas = found.alphas[0, found.conditions.index(one), 1]
    assert np.abs(fits["direct_u"].gates.values - alphas).max() < 1e-4
    plain = sl.evaluate(planted, task, fits, n_shots=8, progress=False)["direct_u"]
    assert np.array_equal(found.right[0, found.conditions.index(one), 1], plain.first_token[2])
    assert np.array_equal(found.references[:, 0], plain.first_token[:2])


def test_where_all_prompts_and_queries_say_the_same_nothing_varies(found: PromptSensitivity) -> None:
    assert np.array_equal(found.crossed_alphas[:, :, 0], found.alphas[:, 0])
    assert np.array_equal(found.crossed_right[:, :, 0], found.right[:, 0])
    for part in ("prompt draw", "fit seed", "rest"):
        assert parts(found, "alphas", part, "variance").max() < 1e-6
        assert parts(found, "accuracy", part, "variance").max() == 0


def test_random_starts_are_the_fit_seeds_part_of_the_variance(planted: LensModel) -> None:
    config = CONFIG.replace(init="random", n_steps=5)
    found = measured(planted, config=config, n_prompts=(5,), n_shots=(8,), n_fit_seeds=3)
    assert parts(found, "alphas", "fit seed", "share").min() > 0.99
    assert parts(found, "alphas", "fit seed", "variance").min() > 0.01


def test_another_template_is_one_more_condition(found: PromptSensitivity) -> None:
    base, other = found.along("template")
    assert (base.template, other.template) == (TEMPLATE, OTHER)
    assert len(found.conditions) == 1 + 2 + 1 + 1 + 1


def test_seeds_reproduce_and_a_record_comes_back(planted: LensModel, tmp_path: str) -> None:
    small = {"n_prompts": (1,), "n_shots": (2,), "base": (1, 2), "config": CONFIG.replace(init="random", n_steps=5)}
    one, same, other = (measured(planted, seed=seed, **small) for seed in (0, 0, 5))  # type: ignore[arg-type]
    assert one == same
    assert not np.array_equal(one.alphas, other.alphas)
    assert sl.load(sl.save(one, f"{tmp_path}/one")) == one


def test_tasks_of_different_size_are_padded(planted: LensModel) -> None:
    tasks = planted_tasks()
    short = sl.Task("short", tasks["direct_u"].train, tasks["direct_u"].valid, tasks["direct_u"].test[:3])
    found = sl.prompt_sensitivity(
        planted, [short, tasks["direct_v"]], sl.SiteConfig(n_steps=2), n_prompts=(1,), n_shots=(2,), base=(1, 2),
        n_resamples=2, n_fit_seeds=2, template=TEMPLATE, progress=False,
    )  # fmt: skip
    assert found.asked.sum(1).tolist() == [3, 8]
    assert not found.right[0, :, :, 3:].any()


def test_too_few_resamples_or_rows_are_refused(planted: LensModel) -> None:
    with pytest.raises(sl.InputError, match="at least 2"):
        measured(planted, n_resamples=1)
    with pytest.raises(sl.InputError, match="too few for 40-shot prompts"):
        measured(planted, n_shots=(40,))
