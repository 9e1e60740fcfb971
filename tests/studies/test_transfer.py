"""Transfer: laws on the planted model, where it is known which tasks share their heads; verdicts on planted numbers."""

import numpy as np
import pytest

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.studies.transfer.result import KINDS, NULLS, TransferMatrix
from tests.fakes import GRID, fake_transfer
from tests.planted import planted_tasks

TASKS = planted_tasks()
OPTIONS = {"n_shots": 8, "progress": False}


@pytest.fixture(scope="module")
def matrix(planted: LensModel, fits: sl.SiteFits) -> TransferMatrix:
    return sl.transfer_matrix(planted, TASKS, fits, hard=True, **OPTIONS)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def soft(planted: LensModel, fits: sl.SiteFits) -> TransferMatrix:
    return sl.transfer_matrix(planted, TASKS, fits, **OPTIONS)  # type: ignore[arg-type]


def test_alphas_transfer_where_heads_are_shared_and_the_embedding_says_which_task_is_done(
    matrix: TransferMatrix,
) -> None:
    zero = dict(zip(matrix.tasks, matrix.reference("zero_shot"), strict=True))
    for family, other in ("uv", "vu"):
        for source, target in ((f"direct_{family}", f"swapped_{family}"), (f"swapped_{family}", f"direct_{family}")):
            assert matrix.cell("alphas", source, target).value == 1
            # The embedding of the swapped task under the direct task's alphas swaps every answer.
            assert matrix.cell("embedding", source, target).value == 0
            # Disjoint heads leave the target at zero-shot.
            disjoint = f"direct_{other}"
            assert matrix.cell("alphas", source, disjoint).value == zero[disjoint]


def test_soft_alphas_that_never_left_the_middle_carry_half_of_any_embedding(
    soft: TransferMatrix, matrix: TransferMatrix
) -> None:
    source, target = soft.tasks.index("direct_u"), soft.tasks.index("direct_v")
    hard_cell, soft_cell = (one.log_prob[0, source, target].mean() for one in (matrix, soft))
    assert hard_cell < soft_cell - 0.2 < soft.log_prob[0, target, target].mean() - 0.2


def test_a_task_on_itself_is_its_own_fit_and_nulls_do_not_carry_it(matrix: TransferMatrix) -> None:
    assert (matrix.reference("own") == 1).all()
    for kind in KINDS:
        assert np.array_equal(np.diagonal(matrix.accuracies(kind)), matrix.reference("own"))
        assert np.allclose(np.diagonal(matrix.normalised(kind)), 1)
    for null in NULLS:
        assert matrix.reference(null).mean() < 0.9, null


def test_cells_equal_an_evaluation_of_the_swapped_fit(
    planted: LensModel, fits: sl.SiteFits, soft: TransferMatrix
) -> None:
    swapped = fits["direct_u"].replace(embedding=fits["swapped_v"].embedding)
    evaluation = sl.evaluate(planted, TASKS["direct_u"], sl.SiteFits([swapped]), **OPTIONS)["direct_u"]  # type: ignore[arg-type]
    cell = soft.right[1, soft.tasks.index("swapped_v"), soft.tasks.index("direct_u")]
    assert np.array_equal(cell, evaluation.first_token[evaluation.methods.index("site")])
    assert np.array_equal(soft.references[:2, 0], evaluation.first_token[:2])


def test_a_target_that_gains_nothing_has_no_normalised_score() -> None:
    matrix = fake_transfer()
    references = matrix.references.copy()
    references[0, 0] = references[2, 0]
    scores = matrix.replace(references=references).normalised("alphas")
    assert np.isnan(scores[:, 0]).all() and np.isfinite(scores[:, 1:]).all()


def test_differences_are_paired_with_references_and_other_sources() -> None:
    matrix = fake_transfer(rates={"alphas": np.full((5, 5), 0.5)})
    assert matrix.difference("alphas", "a", "b").value == pytest.approx(-0.4)
    assert matrix.difference("alphas", "a", "b", over="c").value == 0
    with pytest.raises(sl.InputError, match="unknown task"):
        matrix.cell("alphas", "a", "z")


def test_verdicts_stand_on_the_whole_interval_and_on_the_null() -> None:
    def verdict(kind: str = "alphas", **options: object) -> str:
        summary = sl.summarize_transfer(fake_transfer("abcdefgh", **options))  # type: ignore[arg-type]
        return summary.of(kind).verdict  # type: ignore[arg-type]

    rates = {"alphas": np.full((8, 8), 0.85), "embedding": np.full((8, 8), 0.1), "both": np.full((8, 8), 0.5)}
    assert [verdict(kind, rates=rates) for kind in KINDS] == ["transfers", "does not transfer", "partly"]
    assert verdict(rates={"alphas": np.tile([0.9] * 7 + [0.2], (8, 1))}) == "partly"
    assert verdict(rates=rates, null=0.85) == "not found"
    assert verdict(references=(0.85, 0.6, 0.9)) == "too few"
    assert {kind.verdict for kind in sl.summarize_transfer(fake_transfer("abcde")).kinds} == {"too few"}
    mean = sl.summarize_transfer(fake_transfer("abcdefgh", rates=rates)).of("alphas").mean
    assert mean is not None and mean.value == pytest.approx(0.75 / 0.8)


def test_transfer_along_shared_heads_is_found() -> None:
    alphas = np.zeros((6, *GRID.shape))
    alphas[:3, 1, :4], alphas[3:, 4, :4] = 1, 1
    shared = np.kron(np.eye(2), np.ones((3, 3)))
    matrix = fake_transfer("abcdef", rates={"alphas": 0.1 + 0.7 * shared}, alphas=alphas, families="xxxyyy")
    summary = sl.summarize_transfer(matrix).of("alphas")
    assert summary.overlap_correlation == pytest.approx(1)
    assert summary.overlap_p == pytest.approx(72 / 720)
    assert summary.family_gap == pytest.approx(0.7 / 0.8)


def test_tasks_that_transfer_alike_stand_together_and_asymmetry_is_measured() -> None:
    groups = np.array([0, 1, 0, 1, 0, 1])
    rates = np.where(groups[:, None] == groups[None, :], 0.9, 0.1)
    order = sl.summarize_transfer(fake_transfer("abcdef", rates={"alphas": rates})).order
    assert len(set(groups[list(order)][:3])) == 1
    uneven = fake_transfer(rates={"alphas": np.triu(np.full((5, 5), 0.5)) + 0.1})
    assert (fake_transfer().asymmetry("alphas"), uneven.asymmetry("alphas")) == pytest.approx((0, 0.5 / 0.8))
