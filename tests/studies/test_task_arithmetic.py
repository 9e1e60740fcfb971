"""Two tasks at once: laws on the planted model, where it is known which tasks share their heads."""

import numpy as np
import pytest

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.studies.task_arithmetic.result import TaskArithmetic
from tests.planted import TEMPLATE, planted_tasks

TASKS = planted_tasks()


@pytest.fixture(scope="module")
def fits(planted: LensModel) -> sl.SiteFits:
    return sl.fit_site(planted, TASKS, sl.SiteConfig(n_prompts=20, n_shots=8), template=TEMPLATE, progress=False)


@pytest.fixture(scope="module")
def apart(planted: LensModel, fits: sl.SiteFits) -> TaskArithmetic:
    return sl.combine_tasks(planted, TASKS["direct_u"], TASKS["swapped_v"], fits)


@pytest.fixture(scope="module")
def together(planted: LensModel, fits: sl.SiteFits) -> TaskArithmetic:
    return sl.combine_tasks(planted, TASKS["direct_u"], TASKS["swapped_u"], fits)


def test_tasks_with_disjoint_heads_are_both_done_by_the_union_at_any_weight(apart: TaskArithmetic) -> None:
    first, second = apart.heads()
    assert not first & second
    for weight in apart.weights:
        for task in apart.tasks:
            assert apart.accuracy("union", weight, task).value == 1
            assert apart.reference("zero_shot", task).value < 1


def test_tasks_that_share_their_heads_take_turns(together: TaskArithmetic) -> None:
    first, second = together.heads()
    assert first & second
    for kind in ("union", "embeddings", "alphas_and_embeddings"):
        for weight, done in ((0, "direct_u"), (1, "swapped_u")):
            for task in together.tasks:
                # The embedding of the one swaps every answer of the other.
                assert together.accuracy(kind, weight, task).value == (task == done)


def test_at_the_ends_mixed_alphas_and_embeddings_are_the_own_fits(
    planted: LensModel, fits: sl.SiteFits, apart: TaskArithmetic
) -> None:
    for task, weight in (("direct_u", 0.0), ("swapped_v", 1.0)):
        own = sl.evaluate(planted, TASKS[task], fits, n_shots=8, progress=False)[task]
        j, place = apart.tasks.index(task), apart.weights.index(weight)
        assert np.array_equal(apart.right[2, place, j], own.first_token[own.methods.index("site")])
        assert np.allclose(apart.log_prob[2, place, j], own.log_prob[own.methods.index("site")], atol=1e-5)
        for name, method in (("zero_shot", "zero_shot"), ("own", "site"), ("own_hard", "site_hard")):
            reference = apart.references[("zero_shot", "own", "own_hard").index(name), j]
            assert np.array_equal(reference, own.first_token[own.methods.index(method)])


def test_tasks_in_the_other_order_under_the_other_weight_answer_alike(
    planted: LensModel, fits: sl.SiteFits, together: TaskArithmetic
) -> None:
    turned = sl.combine_tasks(planted, TASKS["swapped_u"], TASKS["direct_u"], fits)
    assert np.allclose(turned.log_prob[:, ::-1, ::-1], together.log_prob, atol=1e-4)


def test_so_few_queries_allow_no_verdict(apart: TaskArithmetic) -> None:
    assert apart.asked.sum(1).tolist() == [8, 8]
    assert set(apart.frame().verdict) == {"too few"}


def test_tasks_may_have_test_splits_of_different_size(planted: LensModel, fits: sl.SiteFits) -> None:
    long = TASKS["direct_u"]
    short = sl.Task("direct_u", long.train, long.valid, long.test[:3], "u")
    found = sl.combine_tasks(planted, short, TASKS["swapped_v"], fits, weights=[0.5])
    assert found.asked.sum(1).tolist() == [3, 8]
    assert found.accuracy("union", 0.5, "direct_u").n == 3
    assert not found.right[:, :, 0, 3:].any()


def test_what_cannot_be_combined_is_refused(planted: LensModel, demo: LensModel, fits: sl.SiteFits) -> None:
    direct, swapped = TASKS["direct_u"], TASKS["swapped_u"]
    with pytest.raises(sl.InputError, match="two different tasks"):
        sl.combine_tasks(planted, direct, direct, fits)
    with pytest.raises(sl.InputError, match="no fit of task"):
        sl.combine_tasks(planted, direct, swapped, sl.SiteFits([fits["direct_u"]]))
    with pytest.raises(sl.InputError, match=r"lie in \[0, 1\]"):
        sl.combine_tasks(planted, direct, swapped, fits, weights=[0, 2])
    added = fits["swapped_u"].replace(config=fits["swapped_u"].config.replace(mix="additive"))
    with pytest.raises(sl.InputError, match="one mixing rule"):
        sl.combine_tasks(planted, direct, swapped, sl.SiteFits([fits["direct_u"], added]))
    with pytest.raises(sl.MismatchError):
        sl.combine_tasks(demo, direct, swapped, fits)
