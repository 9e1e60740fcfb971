"""Study cache: nothing is measured twice, and nothing is mistaken for the result of other settings."""

from pathlib import Path

import numpy as np
import pytest

import site_lens as sl
from site_lens.records.serialization import record_paths
from site_lens.studies.base import stack
from site_lens.studies.cache import StudyCache


class Counted:
    """Measures arrays and counts how often."""

    def __init__(self) -> None:
        self.n = 0

    def __call__(self) -> dict[str, np.ndarray]:
        self.n += 1
        return {"right": np.arange(6, dtype=np.float32).reshape(2, 3), "scalar": np.array(2, dtype=np.float32)}


def test_arrays_are_measured_once_for_each_key_and_name_and_keep_their_shape(tmp_path: Path) -> None:
    measure = Counted()
    for _ in range(2):
        arrays = StudyCache(tmp_path, "study", 1).arrays("a", measure)
        assert measure.n == 1
        assert {name: array.shape for name, array in arrays.items()} == {"right": (2, 3), "scalar": ()}
        assert np.array_equal(arrays["right"], np.arange(6).reshape(2, 3))
    for depends_on, name in ((("study", 2), "a"), (("other", 1), "a"), (("study",), "a"), (("study", 1), "b")):
        StudyCache(tmp_path, *depends_on).arrays(name, measure)
    assert measure.n == 5
    StudyCache(None, "study", 1).arrays("a", measure)
    assert measure.n == 6


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    StudyCache(tmp_path, "study").arrays("a", Counted())
    (manifest,) = tmp_path.glob("*.json")
    tensors = record_paths(manifest)[0]
    tensors.write_bytes(tensors.read_bytes()[:-1])
    with pytest.raises(sl.StorageError):
        StudyCache(tmp_path, "study").arrays("a", Counted())


def test_a_result_is_measured_again_only_under_another_key_and_clears_the_checkpoints(tmp_path: Path) -> None:
    mark, folder = tmp_path / "study.key", tmp_path / "checkpoints"
    for key, measured in ((1, True), (1, False), (2, True)):
        cache = StudyCache(folder, key)
        calls: list[str] = []

        def measure(cache: StudyCache = cache, calls: list[str] = calls) -> str:
            cache.arrays("a", Counted())
            calls.append("measured")
            return "result"

        assert cache.result(mark, lambda: "result", measure) == "result"
        assert bool(calls) == measured
        assert not folder.exists()


def test_tasks_with_fewer_queries_are_filled_up_with_zeros() -> None:
    stacked = stack([np.ones((2, 3), np.float32), np.full((2, 1), 5, np.float32)], axis=1)
    assert np.array_equal(stacked, [[[1, 1, 1], [5, 0, 0]]] * 2)
