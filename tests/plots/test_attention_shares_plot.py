"""The bars of attention shares are the record's shares, and together fill the axis."""

import numpy as np
import pytest

import site_lens as sl
from site_lens.studies.head_profiles.plot import LOOKS
from site_lens.studies.head_profiles.result import PARTS
from tests.studies.test_roles import HEADS, planted_profiles


@pytest.mark.parametrize("task", [None, "b"])
def test_bars_are_shares_and_sum_to_one(task: str | None) -> None:
    record = planted_profiles((0, 1) * 4)
    figure = sl.plots.attention_shares(record, task=task)
    for trace, part in zip(figure.data, LOOKS, strict=True):
        assert np.allclose(trace.x, record.shares(task)[:, PARTS.index(part)])
        assert tuple(trace.y) == HEADS
    assert np.allclose(np.sum([trace.x for trace in figure.data], axis=0), 1)
    assert set(LOOKS) == set(PARTS)
    assert len({trace.marker.color for trace in figure.data}) == len(PARTS)
