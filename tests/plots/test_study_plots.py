"""The figures of studies hold the records' numbers: landscapes, sensitivity, task arithmetic, attention shares."""

import numpy as np
import pytest

import site_lens as sl
from site_lens.studies.head_profiles.plot import LOOKS
from site_lens.studies.head_profiles.result import PARTS
from site_lens.studies.task_arithmetic.result import KINDS
from tests.fake_studies import fake_arithmetic, fake_landscape, fake_sensitivity
from tests.studies.test_roles import HEADS, planted_profiles


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


def test_lines_with_a_barrier_stand_apart_and_the_slice_shows_its_three_fits_at_its_corners() -> None:
    whole = fake_landscape()
    profiles = whole.profiles.copy()
    profiles[0, 2] += 1
    free, blocked = sl.plots.landscape(whole.replace(profiles=profiles)).data[1:]
    assert (free.name, blocked.name) == ("44 free of a barrier", "1 with a barrier")
    assert np.nanmax(blocked.y) == pytest.approx(1, abs=0.01)
    assert np.nanmax(np.abs(free.y)) < 1e-5
    cells, corners = sl.plots.landscape_slice(whole).data[:2]
    assert np.array_equal(cells.z, whole.slice)
    assert list(zip(corners.x, corners.y, strict=True)) == [(0, 0), (1, 0), (0, 1)]


def test_sensitivity_draws_means_and_every_prompt_set() -> None:
    record = fake_sensitivity()
    means, single, *_ = sl.plots.sensitivity(record, task="a").data
    assert list(means.x) == [1, 10, 50]
    assert np.allclose(means.y, [0.6, 0.8, 0.8])
    assert len(single.y) == 9
    with pytest.raises(sl.InputError, match="unknown task"):
        sl.plots.sensitivity(record, task="c")


def test_every_panel_of_combined_tasks_has_both_over_the_weights_and_lines_at_own_fit_and_zero_shot() -> None:
    record = fake_arithmetic([0.9, 0.5, 0.1], [0.1, 0.4, 0.8])
    figure = sl.plots.task_arithmetic(record)
    assert len(figure.data) == len(KINDS) * 2
    for row, kind in enumerate(KINDS):
        for line, task in zip(figure.data[2 * row : 2 * row + 2], "ab", strict=True):
            accuracies = [record.accuracy(kind, weight, task).value for weight in record.weights]
            assert (list(line.x), list(line.y)) == ([0, 0.5, 1], accuracies)
            assert line.yaxis == ("y" if row == 0 else f"y{row + 1}")
    assert [line.y0 for line in figure.layout.shapes[:4]] == pytest.approx([0.9, 0.1, 0.9, 0.1])


def test_bars_of_attention_are_shares_and_sum_to_one() -> None:
    record = planted_profiles((0, 1) * 4)
    for task in (None, "b"):
        figure = sl.plots.attention_shares(record, task=task)
        for trace, part in zip(figure.data, LOOKS, strict=True):
            assert np.allclose(trace.x, record.shares(task)[:, PARTS.index(part)])
            assert tuple(trace.y) == HEADS
        assert np.allclose(np.sum([trace.x for trace in figure.data], axis=0), 1)
        assert len({trace.marker.color for trace in figure.data}) == len(PARTS)
