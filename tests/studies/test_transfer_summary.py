"""What is read out of a transfer matrix: planted verdicts, planted associations, and no verdict without data."""

import numpy as np
import pytest

import site_lens as sl
from site_lens.studies.transfer.summary import VERDICTS
from tests.fakes import GRID, fake_transfer


def test_verdicts_stand_on_the_whole_interval() -> None:
    rates = {"alphas": np.full((8, 8), 0.85), "embedding": np.full((8, 8), 0.1), "both": np.full((8, 8), 0.5)}
    found = sl.summarize_transfer(fake_transfer("abcdefgh", rates=rates))
    assert [one.verdict for one in found.kinds] == ["transfers", "does not transfer", "partly"]
    mean = found.of("alphas").mean
    assert mean is not None
    assert mean.value == pytest.approx(0.75 / 0.8)
    assert found.of("embedding").above_null.value == pytest.approx(0)  # type: ignore[union-attr]
    assert found.of("both").above_null.value == pytest.approx(0.4)  # type: ignore[union-attr]


def test_a_spread_over_targets_that_reaches_the_bound_is_partly() -> None:
    mixed = np.tile([0.9] * 7 + [0.2], (8, 1))
    assert sl.summarize_transfer(fake_transfer("abcdefgh", rates={"alphas": mixed})).of("alphas").verdict == "partly"


def test_what_the_null_does_as_well_is_no_transfer() -> None:
    matrix = fake_transfer("abcdefgh", rates={"alphas": np.full((8, 8), 0.85)}, null=0.85)
    assert sl.summarize_transfer(matrix).of("alphas").verdict == "not found"


@pytest.mark.parametrize(
    "matrix",
    [
        fake_transfer("abcde"),
        fake_transfer("abcdefgh", references=(0.85, 0.6, 0.9)),
    ],
    ids=["five targets", "nothing gained"],
)
def test_there_is_no_verdict_on_too_little(matrix: sl.TransferMatrix) -> None:
    found = sl.summarize_transfer(matrix)
    assert {one.verdict for one in found.kinds} == {"too few"}
    assert "too few" in VERDICTS


def test_transfer_along_shared_heads_is_found() -> None:
    alphas = np.zeros((6, *GRID.shape))
    alphas[:3, 1, :4], alphas[3:, 4, :4] = 1, 1
    shared = np.kron(np.eye(2), np.ones((3, 3)))
    matrix = fake_transfer("abcdef", rates={"alphas": 0.1 + 0.7 * shared}, alphas=alphas, families="xxxyyy")
    found = sl.summarize_transfer(matrix).of("alphas")
    assert found.overlap_correlation == pytest.approx(1)
    assert found.overlap_p == pytest.approx(72 / 720)
    assert found.family_gap == pytest.approx(0.7 / 0.8)


def test_tasks_that_transfer_alike_stand_together() -> None:
    groups = np.array([0, 1, 0, 1, 0, 1])
    rates = np.where(groups[:, None] == groups[None, :], 0.9, 0.1)
    order = sl.summarize_transfer(fake_transfer("abcdef", rates={"alphas": rates})).order
    assert len(set(groups[list(order)][:3])) == 1


def test_a_mirror_image_has_no_asymmetry() -> None:
    assert sl.summarize_transfer(fake_transfer()).of("alphas").asymmetry == pytest.approx(0)
    uneven = np.triu(np.full((5, 5), 0.5)) + 0.1
    assert sl.summarize_transfer(fake_transfer(rates={"alphas": uneven})).of("alphas").asymmetry == pytest.approx(
        0.5 / 0.8
    )


def test_a_reading_has_a_row_a_kind_and_can_be_saved(tmp_path: str) -> None:
    found = sl.summarize_transfer(fake_transfer())
    assert list(found.frame()["kind"]) == ["alphas", "embedding", "both"]
    assert sl.load(sl.save(found, f"{tmp_path}/reading")) == found
