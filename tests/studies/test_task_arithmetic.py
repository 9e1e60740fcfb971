"""Two tasks at once: laws on the planted model, where it is known which tasks share their heads; planted verdicts."""

import numpy as np
import pytest

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.studies.task_arithmetic.result import KINDS, REFERENCES, TaskArithmetic
from tests.fake_studies import fake_arithmetic
from tests.planted import planted_tasks

TASKS = planted_tasks()


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
            assert apart.accuracy("union", weight, task).value == 1 > apart.reference("zero_shot", task).value
    assert set(apart.frame().verdict) == {"too few"}  # 8 queries each


def test_tasks_that_share_their_heads_take_turns(together: TaskArithmetic) -> None:
    first, second = together.heads()
    assert first & second
    for kind in KINDS:
        for weight, done in ((0, "direct_u"), (1, "swapped_u")):
            for task in together.tasks:
                # The embedding of the one swaps every answer of the other.
                assert together.accuracy(kind, weight, task).value == (task == done)


def test_at_the_ends_mixed_alphas_and_embeddings_are_the_own_fits(
    planted: LensModel, fits: sl.SiteFits, apart: TaskArithmetic
) -> None:
    for j, (task, weight) in enumerate((("direct_u", 0.0), ("swapped_v", 1.0))):
        own = sl.evaluate(planted, TASKS[task], fits, n_shots=8, progress=False)[task]
        site, place = own.methods.index("site"), apart.weights.index(weight)
        assert np.array_equal(apart.right[2, place, j], own.first_token[site])
        assert np.allclose(apart.log_prob[2, place, j], own.log_prob[site], atol=1e-5)
        methods = [own.methods.index(name) for name in ("zero_shot", "site", "site_hard")]
        assert np.array_equal(apart.references[:, j], own.first_token[methods])


def test_tasks_in_the_other_order_under_the_other_weight_answer_alike(
    planted: LensModel, fits: sl.SiteFits, together: TaskArithmetic
) -> None:
    turned = sl.combine_tasks(planted, TASKS["swapped_u"], TASKS["direct_u"], fits)
    assert np.allclose(turned.log_prob[:, ::-1, ::-1], together.log_prob, atol=1e-4)


def test_a_verdict_says_which_tasks_keep_their_gain() -> None:
    combination = fake_arithmetic([0.95, 0.95, 0.1, 0.1], [0.1, 0.95, 0.95, 0.1], weights=[0, 0.2, 0.8, 1])
    verdicts = [combination.verdict("union", weight) for weight in combination.weights]
    assert verdicts == ["only the first", "both", "only the second", "neither"]
    assert fake_arithmetic([0.74], [0.95], weights=[0.5]).verdict("union", 0.5) == "not found"
    few = fake_arithmetic([0.9], [0.9], weights=[0], n_queries=29)
    flat = fake_arithmetic([0.9], [0.9], weights=[0], references=(0.85, 0.9, 0.9))
    assert few.verdict("union", 0) == flat.verdict("union", 0) == "too few"


def test_differences_are_paired_and_a_table_has_every_cell() -> None:
    combination = fake_arithmetic([0.5], [0.3], weights=[0])
    assert combination.difference("union", 0, "a").value == pytest.approx(-0.4)
    assert combination.difference("union", 0, "b", over="zero_shot").value == pytest.approx(0.2)
    table = combination.frame()
    assert len(table) == 3 * 2
    assert {"accuracy", "low", "high", "difference_low", "log_prob", "verdict", *REFERENCES} <= set(table)
    for wrong in (("union", 0.3, "a"), ("union", 0, "c"), ("all", 0, "a")):
        with pytest.raises(sl.InputError):
            combination.accuracy(*wrong)
