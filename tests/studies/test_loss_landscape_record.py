"""Verdicts of a landscape: barriers are counted against the gain, and too little is refused."""

import numpy as np
import pytest

import site_lens as sl
from tests.fake_studies import fake_landscape


def test_lines_without_a_rise_are_one_basin() -> None:
    found = fake_landscape(n_fits=16)
    assert np.allclose(found.barriers, 0, atol=1e-6)
    assert found.verdict == "one basin"
    assert found.free is not None
    assert found.free.n == 120
    assert found.free.low < found.free.value == 1


def test_a_barrier_is_the_rise_above_the_higher_end() -> None:
    found = fake_landscape(bump=1.0)
    assert found.verdict == "several basins"
    highest = found.profiles.max(1)
    assert np.allclose(found.barriers, highest - np.maximum(found.profiles[:, 0], found.profiles[:, -1]))
    # A twentieth of the gain is no barrier, however large that is in nats.
    assert fake_landscape(n_fits=16, bump=1.0, gain=20.0).verdict == "one basin"


def test_too_few_fits_rows_or_lines_are_no_verdict() -> None:
    assert fake_landscape(n_fits=5).verdict == "too few"
    assert fake_landscape(right=np.ones((12, 5))).verdict == "too few"
    whole = fake_landscape()
    assert whole.replace(lines=whole.lines[:3], profiles=whole.profiles[:3]).verdict == "too few"


def test_no_gain_is_said_before_anything_is_called_a_barrier() -> None:
    assert fake_landscape(gain=0.05).verdict == "no gain"


def test_fits_worse_than_their_start_do_not_count() -> None:
    whole = fake_landscape()
    worse = tuple(fit.replace(status="diverged") if i < 5 else fit for i, fit in enumerate(whole.fits))
    assert whole.replace(fits=worse).verdict == "too few"


def test_agreement_is_1_with_itself_and_symmetric() -> None:
    found = fake_landscape()
    for alike in (found.jaccard(), found.ranks()):
        assert np.allclose(np.diagonal(alike), 1)
        assert np.allclose(alike, alike.T)
    pair = found.alphas[:2] > 0.5
    assert found.jaccard()[0, 1] == pytest.approx((pair[0] & pair[1]).sum() / (pair[0] | pair[1]).sum())


def test_equal_maps_agree_wholly_and_a_flat_map_has_no_order() -> None:
    found = fake_landscape()
    alphas = found.alphas.copy()
    alphas[0], alphas[1], alphas[2] = alphas[3], 0.2, 0.1
    changed = found.replace(alphas=alphas)
    assert changed.jaccard()[0, 3] == changed.jaccard()[1, 2] == 1
    assert changed.ranks()[0, 3] == pytest.approx(1)
    assert not changed.ranks()[1].any()


def test_tables_have_a_row_a_fit_and_a_row_a_line(tmp_path: str) -> None:
    found = fake_landscape()
    assert len(found.frame()) == 12
    assert found.frame()["null"].sum() == 2
    assert len(found.lines_frame()) == 45
    assert sl.load(sl.save(found, f"{tmp_path}/one")) == found


def test_lines_between_fits_that_are_not_there_are_refused() -> None:
    found = fake_landscape()
    with pytest.raises(sl.InputError, match="do not fit"):
        found.replace(lines=((0, 99), *found.lines[1:]))
