"""Prompt sensitivity: the planted carriers read the same code from any prompt; checks on planted numbers."""

import numpy as np
import pytest

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.studies.prompt_sensitivity.measure import _embedding, _noisy
from site_lens.studies.prompt_sensitivity.result import Condition
from tests.fake_studies import BASE, fake_sensitivity
from tests.fakes import rights
from tests.planted import CARRIERS, TEMPLATE, planted_tasks

TASK = planted_tasks()["direct_u"]
OTHER = TEMPLATE.replace(instruction="Q ")
CONFIG = sl.SiteConfig(n_steps=60)


def measured(model: LensModel, *, config: sl.SiteConfig = CONFIG, **options: object) -> sl.PromptSensitivity:
    settings = {
        "n_prompts": (1, 5, 20), "n_shots": (2, 8), "base": (5, 8), "n_resamples": 2, "n_fit_seeds": 2,
        "template": TEMPLATE, "progress": False,
    }  # fmt: skip
    return sl.prompt_sensitivity(model, [TASK, planted_tasks()["swapped_v"]], config, **settings | options)  # type: ignore[arg-type]


def capture(model: LensModel, task: sl.Task, n_prompts: int, seed: int = 0) -> sl.TaskEmbedding:
    embeddings = sl.capture_embeddings(
        model, task, n_prompts=n_prompts, n_shots=8, seed=seed, template=TEMPLATE, progress=False
    )
    return embeddings[task.name]


def parts(record: sl.PromptSensitivity, quantity: str, part: str, column: str) -> np.ndarray:
    """(task): one column of the variance parts."""
    table = record.variance_frame()
    return table[(table["quantity"] == quantity) & (table["part"] == part)][column].to_numpy(dtype=float)


def answers(record: sl.PromptSensitivity, **options: float) -> dict[str, str]:
    return {check.claim: check.answer for check in record.checks(**options)}


@pytest.fixture(scope="module")
def record(planted: LensModel) -> sl.PromptSensitivity:
    return measured(planted, templates=[OTHER], label_noise=[1.0])


def test_one_prompt_holds_the_code_that_many_do_and_label_noise_weakens_it(planted: LensModel) -> None:
    single, many = capture(planted, TASK, 1), capture(planted, TASK, 20)
    noisy = capture(planted, _noisy(TASK, 1, 0), 20)
    for head in map(sl.Head.parse, CARRIERS["u"]):
        code = many.mean[head.layer, head.head, 0]
        assert single.mean[head.layer, head.head, 0] == pytest.approx(code, rel=0.02)
        assert many.spread[head.layer, head.head, 0] < 0.05 * abs(code)
        assert abs(noisy.mean[head.layer, head.head, 0]) < 0.7 * abs(code)


def test_label_noise_permutes_answers_of_a_share_of_train_and_nothing_else() -> None:
    noisy = _noisy(TASK, 0.5, seed=0)
    assert [row.input for row in noisy.train] == [row.input for row in TASK.train]
    assert sorted(row.output for row in noisy.train) == sorted(row.output for row in TASK.train)
    assert 0 < sum(row != other for row, other in zip(noisy.train, TASK.train, strict=True)) <= len(TASK.train) / 2
    assert (noisy.valid, noisy.test) == (TASK.valid, TASK.test)


def test_more_prompts_change_no_answer_and_make_embeddings_vary_less(record: sl.PromptSensitivity) -> None:
    for condition in (*record.along("n_prompts"), *record.along("n_shots")):
        assert record.accuracy(condition).value == 1
    assert answers(record)["M=1 does as well as M=20"] == "too few"  # as there are fewer than 30 queries
    places = [record.conditions.index(condition) for condition in record.along("n_prompts")]
    variances = record.embedding_variance[:, places].mean(0)
    assert variances[0] > variances[1] > variances[2] > 0
    base, other = record.along("template")
    assert (base.template, other.template) == (TEMPLATE, OTHER)
    assert len(record.conditions) == 1 + 2 + 1 + 1 + 1


def test_a_draw_is_the_fit_with_the_embedding_of_that_seed(planted: LensModel, record: sl.PromptSensitivity) -> None:
    c = record.conditions.index(record.along("n_prompts")[0])
    embeddings = {TASK.name: capture(planted, TASK, 1, seed=1)}
    fits = sl.fit_site(planted, TASK, CONFIG, embeddings=embeddings, progress=False)
    assert np.abs(fits["direct_u"].gates.values - record.alphas[0, c, 1]).max() < 1e-4
    evaluation = sl.evaluate(planted, TASK, fits, n_shots=8, progress=False)["direct_u"]
    assert np.array_equal(record.right[0, c, 1], evaluation.first_token[2])
    assert np.array_equal(record.references[:, 0], evaluation.first_token[:2])


def test_nothing_varies_where_all_prompts_say_the_same_but_random_starts_do(
    planted: LensModel, record: sl.PromptSensitivity
) -> None:
    assert np.array_equal(record.crossed_alphas[:, :, 0], record.alphas[:, 0])
    assert np.array_equal(record.crossed_right[:, :, 0], record.right[:, 0])
    for part in ("prompt draw", "fit seed", "rest"):
        assert parts(record, "alphas", part, "variance").max() < 1e-6
        assert parts(record, "accuracy", part, "variance").max() == 0
    config = CONFIG.replace(init="random", n_steps=5)
    random = measured(planted, config=config, n_prompts=(5,), n_shots=(8,), n_fit_seeds=3)
    assert parts(random, "alphas", "fit seed", "share").min() > 0.99
    assert parts(random, "alphas", "fit seed", "variance").min() > 0.01


def test_seeds_reproduce_and_tasks_of_different_size_are_padded(planted: LensModel) -> None:
    short = sl.Task("short", TASK.train, TASK.valid, TASK.test[:3])

    def small(seed: int) -> sl.PromptSensitivity:
        return sl.prompt_sensitivity(
            planted, [short, planted_tasks()["direct_v"]], CONFIG.replace(init="random", n_steps=2), n_prompts=(1,),
            n_shots=(2,), base=(1, 2), n_resamples=2, n_fit_seeds=2, template=TEMPLATE, seed=seed, progress=False,
        )  # fmt: skip

    record = small(0)
    assert record == small(0)
    assert not np.array_equal(record.alphas, small(5).alphas)
    assert record.n_queries.tolist() == [3, 8]
    assert not record.right[0, :, :, 3:].any()


def test_checks_answer_where_test_and_interval_do() -> None:
    found = answers(fake_sensitivity())
    assert (found["M=10 does as well as M=50"], found["M=1 does as well as M=50"]) == ("yes", "no")
    assert (found["N=1 does as well as N=10"], found["M=1 is above few-shot prompting"]) == ("yes", "yes")
    assert answers(fake_sensitivity((0.8, 0.2, 0.8, 0.8)))["M=1 is above few-shot prompting"] == "no"
    assert answers(fake_sensitivity(n_queries=10))["M=10 does as well as M=50"] == "too few"
    assert answers(fake_sensitivity(n_queries=15), tolerance=0.3)["M=10 does as well as M=50"] == "yes"


def test_saturation_begins_at_the_smallest_number_from_which_on_all_do_as_well() -> None:
    for second, reached in ((0.6, 10), (0.8, 1)):
        assert fake_sensitivity((0.8, second, 0.8, 0.8)).saturates_from("n_prompts") == reached
    assert fake_sensitivity((0.6, 0.8, 0.8, 0.8)).saturates_from("n_prompts") is None


def test_a_few_queries_that_differ_do_not_hide_how_few_there_are() -> None:
    whole = fake_sensitivity(n_queries=40)
    right = whole.right.copy()
    right[0, 1], right[:, 1:] = right[0, 0], right[:, :1]
    right[0, 1, 0, 0] = 0  # one answer in 240 is lost
    (check,) = [check for check in whole.replace(right=right).checks() if check.claim.startswith("M=1 does")]
    assert (check.high > 0.02, check.answer) == (True, "not found")


def test_templates_and_label_noise_are_compared_with_the_base() -> None:
    whole = fake_sensitivity()
    noisy, other = BASE.replace(label_noise=0.5), BASE.replace(template=sl.PromptTemplate(input_prefix=""))
    conditions = (*whole.conditions[:2], noisy, other)
    found = answers(whole.replace(conditions=conditions, right=fake_sensitivity((0.8, 0.8, 0.3, 0.8)).right))
    assert found[f"{noisy} does as well as {BASE}"] == "no"
    assert found[f"{other} does as well as {BASE}"] == "yes"


def test_variances_are_split_into_parts_and_tasks_that_vary_most_come_first() -> None:
    whole = fake_sensitivity()
    crossed = whole.crossed_right.copy()
    crossed[1] = rights([[0.2, 0.2], [0.5, 0.5], [0.9, 0.9]], 200)
    changed = whole.replace(crossed_right=crossed)
    table = changed.frame()
    assert table["task"].tolist() == ["b"] * 4 + ["a"] * 4
    variance = changed.variance_frame().set_index(["task", "quantity", "part"])["variance"]
    assert variance["b", "accuracy", "prompt draw"] == pytest.approx(np.var([0.2, 0.5, 0.9], ddof=1), rel=1e-4)
    assert variance["b", "accuracy", "fit seed"] == variance["b", "accuracy", "rest"] == pytest.approx(0, abs=1e-9)
    shares = whole.variance_frame().groupby(["task", "quantity"])["share"].sum()
    assert np.allclose(shares[:, "accuracy"], 1) and np.allclose(shares[:, "alphas"], 0)


def test_label_noise_shows_the_rows_that_are_shown_without_it(planted: LensModel) -> None:
    base = Condition(n_prompts=5, n_shots=4, template=TEMPLATE, label_noise=0)
    settings = [(base, 3), (base.replace(label_noise=0.02), 3), (base, 4)]
    rows = [_embedding(planted, TASK, condition, seed).prompt_rows for condition, seed in settings]
    clean, noisy, other = (np.array(each) for each in rows)
    assert (noisy == clean).all() and (other != clean).any()
