"""The faithfulness figure holds the record's curves on the axis of its areas."""

from typing import Any

import numpy as np
import pytest

import site_lens as sl
from site_lens.records.hashing import digest_json, seed_stream
from site_lens.studies.faithfulness.result import DIRECTIONS, Direction, Faithfulness
from tests.fakes import VERSIONS, fake_identity
from tests.plots.fakes import SCRIPT

GRID = sl.HeadGrid.full(2, 10)
KS = (0, 1, 3, 9, 20)


def fake_faithfulness(**changes: Any) -> Faithfulness:
    """Build curves of drawn answers: two tasks, one rival with a name to be escaped, three draws of each random one."""
    orderings = ("site", SCRIPT, "site_reversed", *["random"] * 3, *["random_layer_matched"] * 3)
    stream = seed_stream("faithfulness")
    shape = (3, len(orderings), 2, len(KS))
    fields: dict[str, Any] = {
        "grid": GRID,
        "tasks": ("a", "<b>"),
        "orderings": orderings,
        "ranks": np.broadcast_to(np.arange(1, 21).reshape(2, 10), (len(orderings), 2, 2, 10)),
        "ks": KS,
        "right": stream.integers(0, 2, (*shape, 30)),
        "log_prob": -stream.random(shape),
        "references": np.broadcast_to(np.arange(30) < np.array([3, 24, 27])[:, None, None], (3, 2, 30)),
        "reference_log_prob": np.full((3, 2), -1.0),
        "asked": np.ones((2, 30)),
        "n_shots": 10,
        "seed": 0,
        "fit_digests": tuple(digest_json([task]) for task in "ab"),
        "model": fake_identity(grid=GRID),
        "versions": VERSIONS,
    }
    return Faithfulness(**fields | changes)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_lines_are_curves_with_their_areas_and_bands_go_from_lowest_to_highest_draw(direction: Direction) -> None:
    record = fake_faithfulness()
    for task in (None, "a"):
        traces = sl.plots.faithfulness(record, direction=direction, task=task).data
        lines, bands = ([trace for trace in traces if (trace.fill is None) == is_line] for is_line in (True, False))
        for trace, name in zip(lines, record.names, strict=True):
            assert np.allclose(trace.y, record.curve(direction, name, task))
            assert np.allclose(trace.x, np.log1p(KS)) and tuple(trace.customdata) == KS
            area = np.trapezoid(trace.y, trace.x) / trace.x[-1]
            assert area == pytest.approx(record.area(direction, name, task).value, abs=1e-6)
        for trace, name in zip(bands, ("random", "random_layer_matched"), strict=True):
            draws = record.draws(direction, name, task)
            assert np.allclose(trace.y[: len(KS)], draws.max(0))
            assert np.allclose(trace.y[len(KS) :][::-1], draws.min(0))
