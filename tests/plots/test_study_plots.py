"""The figures of landscapes and sensitivity hold the records' numbers."""

import numpy as np
import pytest

import site_lens as sl
from tests.fake_studies import fake_landscape, fake_sensitivity


def test_the_map_of_a_landscape_has_the_best_fit_first_and_nulls_last() -> None:
    record = fake_landscape()
    losses = record.losses.copy()
    losses[4] = 0.1
    record = record.replace(losses=losses)
    figure = sl.plots.landscape(record)
    order = [4, 0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11]
    assert np.allclose(figure.data[0].z, record.jaccard()[np.ix_(order, order)])
    assert "(null)" in figure.data[0].text[11][0]
    assert figure.data[0].text[0][0].startswith("fit 4:")


def test_lines_with_a_barrier_stand_apart_from_those_without() -> None:
    whole = fake_landscape()
    profiles = whole.profiles.copy()
    profiles[0, 2] += 1
    free, blocked = sl.plots.landscape(whole.replace(profiles=profiles)).data[1:]
    assert (free.name, blocked.name) == ("44 free of a barrier", "1 with a barrier")
    assert np.nanmax(blocked.y) == pytest.approx(1, abs=0.01)
    assert np.nanmax(np.abs(free.y)) < 1e-5


def test_the_slice_shows_its_three_fits_at_its_corners() -> None:
    record = fake_landscape()
    figure = sl.plots.landscape_slice(record)
    assert np.array_equal(figure.data[0].z, record.slice)
    assert list(zip(figure.data[1].x, figure.data[1].y, strict=True)) == [(0, 0), (1, 0), (0, 1)]


def test_sensitivity_draws_means_and_every_prompt_set() -> None:
    record = fake_sensitivity()
    means, single, *_ = sl.plots.sensitivity(record, task="a").data
    assert list(means.x) == [1, 10, 50]
    assert np.allclose(means.y, [0.6, 0.8, 0.8])
    assert len(single.y) == 9
    with pytest.raises(sl.InputError, match="unknown task"):
        sl.plots.sensitivity(record, task="c")
