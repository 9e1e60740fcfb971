"""Transfer between tasks: laws on the planted model, where it is known which tasks share their heads."""

import numpy as np
import pytest

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.studies.transfer.measure import transfer_matrix
from site_lens.studies.transfer.result import KINDS, NULLS, TransferMatrix
from tests.planted import TEMPLATE, planted_tasks


@pytest.fixture(scope="module")
def fits(planted: LensModel) -> sl.SiteFits:
    config = sl.SiteConfig(n_prompts=20, n_shots=8)
    return sl.fit_site(planted, planted_tasks(), config, template=TEMPLATE, progress=False)


@pytest.fixture(scope="module")
def matrix(planted: LensModel, fits: sl.SiteFits) -> TransferMatrix:
    return transfer_matrix(planted, planted_tasks(), fits, hard=True, n_shots=8, progress=False)


@pytest.fixture(scope="module")
def soft(planted: LensModel, fits: sl.SiteFits) -> TransferMatrix:
    return transfer_matrix(planted, planted_tasks(), fits, n_shots=8, progress=False)


def test_alphas_of_a_task_with_the_same_heads_transfer(matrix: TransferMatrix) -> None:
    for family in "uv":
        for source, target in ((f"direct_{family}", f"swapped_{family}"), (f"swapped_{family}", f"direct_{family}")):
            assert matrix.cell("alphas", source, target).value == 1


def test_alphas_of_a_task_with_disjoint_heads_collapse_to_zero_shot(matrix: TransferMatrix) -> None:
    zero, index = matrix.reference("zero_shot"), {task: i for i, task in enumerate(matrix.tasks)}
    for source in ("direct_u", "swapped_u"):
        for target in ("direct_v", "swapped_v"):
            assert matrix.cell("alphas", source, target).value == zero[index[target]]
            assert matrix.cell("alphas", target, source).value == zero[index[source]]


def test_soft_alphas_that_never_left_the_middle_carry_half_of_any_embedding(
    soft: TransferMatrix, matrix: TransferMatrix
) -> None:
    source, target = soft.tasks.index("direct_u"), soft.tasks.index("direct_v")
    certain = [one.log_prob[0, source, target].mean() for one in (matrix, soft)]
    own = soft.log_prob[0, target, target].mean()
    assert certain[0] < certain[1] - 0.2 < own - 0.2


def test_the_embedding_says_which_task_is_done(matrix: TransferMatrix) -> None:
    for family in "uv":
        # The embedding of the swapped task under the direct task's alphas swaps every answer.
        assert matrix.cell("embedding", f"swapped_{family}", f"direct_{family}").value == 0
        assert matrix.cell("embedding", f"direct_{family}", f"swapped_{family}").value == 0


def test_a_task_on_itself_is_its_own_fit_in_every_kind(matrix: TransferMatrix) -> None:
    for kind in KINDS:
        assert np.array_equal(np.diagonal(matrix.accuracies(kind)), matrix.reference("own"))
        assert np.allclose(np.diagonal(matrix.normalised(kind)), 1)


def test_cells_equal_an_evaluation_of_the_swapped_fit(
    planted: LensModel, fits: sl.SiteFits, soft: TransferMatrix
) -> None:
    tasks = planted_tasks()
    swapped = fits["direct_u"].replace(embedding=fits["swapped_v"].embedding)
    plain = sl.evaluate(planted, tasks["direct_u"], sl.SiteFits([swapped]), n_shots=8, progress=False)["direct_u"]
    row = soft.right[1, soft.tasks.index("swapped_v"), soft.tasks.index("direct_u")]
    assert np.array_equal(row, plain.first_token[plain.methods.index("site")])
    assert np.array_equal(soft.references[0, 0], plain.first_token[0])
    assert np.array_equal(soft.references[1, 0], plain.first_token[1])


def test_nulls_do_not_carry_the_task(matrix: TransferMatrix) -> None:
    own = matrix.reference("own")
    assert (own == 1).all()
    for null in NULLS:
        assert matrix.reference(null).mean() < 0.9


def test_targets_may_have_test_splits_of_different_size(planted: LensModel, fits: sl.SiteFits) -> None:
    tasks = planted_tasks()
    short = sl.Task("direct_u", tasks["direct_u"].train, tasks["direct_u"].valid, tasks["direct_u"].test[:3], "u")
    chosen = {"direct_u": short, "swapped_u": tasks["swapped_u"]}
    found = transfer_matrix(planted, chosen, fits, n_shots=8, progress=False)
    assert found.n_queries.tolist() == [3, 8]
    assert found.cell("both", "swapped_u", "direct_u").n == 3
    assert not found.right[:, :, 0, 3:].any()


def test_a_table_has_a_row_for_every_cell_and_can_be_saved(matrix: TransferMatrix, tmp_path: str) -> None:
    table = matrix.frame()
    assert len(table) == 3 * 4 * 4
    assert set(table.columns) >= {"kind", "source", "target", "accuracy", "normalised", "zero_shot", "few_shot", "n"}
    path = sl.save(matrix, f"{tmp_path}/transfer")
    assert sl.load(path) == matrix


def test_what_cannot_be_measured_is_refused(planted: LensModel, demo: LensModel, fits: sl.SiteFits) -> None:
    tasks = planted_tasks()
    with pytest.raises(sl.InputError, match="at least two tasks"):
        transfer_matrix(planted, tasks["direct_u"], fits)
    with pytest.raises(sl.InputError, match="no fit of task"):
        transfer_matrix(planted, tasks, sl.SiteFits([fits["direct_u"]]))
    with pytest.raises(sl.MismatchError):
        transfer_matrix(demo, tasks, fits)


def test_a_target_that_gains_nothing_has_no_normalised_score(matrix: TransferMatrix) -> None:
    references = matrix.references.copy()
    references[0, 0] = references[2, 0]  # direct_u is done without any fit
    flat = matrix.replace(references=references).normalised("both")
    assert np.isnan(flat[:, 0]).all()
    assert np.isfinite(flat[:, 1:]).all()


def test_fits_of_other_rows_leave_a_note(planted: LensModel, fits: sl.SiteFits) -> None:
    tasks = planted_tasks()
    resplit = sl.Task("direct_u", tasks["direct_u"].test, tasks["direct_u"].valid, tasks["direct_u"].train, "u")
    found = transfer_matrix(planted, [resplit, tasks["swapped_u"]], fits, n_shots=4, progress=False)
    assert any("other rows" in note for note in found.notes)
