"""What a study has measured is measured once, and never mistaken for what another measured."""

from pathlib import Path

import numpy as np
import pytest

import site_lens as sl
from site_lens.records.checkpoint import StudyCheckpoint, clear_checkpoint, side_by_side
from site_lens.records.serialization import record_paths


class Counted:
    """Measures arrays and counts how often."""

    def __init__(self) -> None:
        self.n = 0

    def __call__(self) -> dict[str, np.ndarray]:
        self.n += 1
        return {"right": np.arange(6, dtype=np.float32).reshape(2, 3), "scalar": np.array(2, dtype=np.float32)}


def test_a_piece_is_measured_once_and_comes_back_in_its_shape(tmp_path: Path) -> None:
    measure = Counted()
    first = StudyCheckpoint(tmp_path, "study", 1).once("a", measure)
    again = StudyCheckpoint(tmp_path, "study", 1).once("a", measure)
    assert measure.n == 1
    for name, array in measure().items():
        assert np.array_equal(first[name], array)
        assert np.array_equal(again[name], array)
        assert again[name].shape == array.shape


def test_a_piece_of_other_settings_is_not_read_and_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    measure = Counted()
    for parts in (("study", 1), ("study", 2), ("other", 1), ("study",)):
        StudyCheckpoint(tmp_path, *parts).once("a", measure)
        StudyCheckpoint(None, *parts).once("a", measure)
    StudyCheckpoint(tmp_path, "study", 1).once("b", measure)
    assert measure.n == 9


def test_a_damaged_piece_is_refused(tmp_path: Path) -> None:
    StudyCheckpoint(tmp_path, "study").once("a", Counted())
    (manifest,) = tmp_path.glob("*.json")
    tensors = record_paths(manifest)[0]
    tensors.write_bytes(tensors.read_bytes()[:-1])
    with pytest.raises(sl.StorageError, match="truncated"):
        StudyCheckpoint(tmp_path, "study").once("a", Counted())


def test_clearing_leaves_what_is_not_a_piece(tmp_path: Path) -> None:
    folder = tmp_path / "pieces"
    StudyCheckpoint(folder, "study").once("a", Counted())
    (folder / "notes.txt").write_text("mine")
    clear_checkpoint(folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    (folder / "notes.txt").unlink()
    clear_checkpoint(folder)
    assert not folder.exists()
    clear_checkpoint(folder)  # nothing there is nothing to do


def test_tasks_with_fewer_queries_are_filled_up_with_zeros() -> None:
    parts = [np.ones((2, 3), np.float32), np.full((2, 1), 5, np.float32)]
    found = side_by_side(parts, axis=1)
    assert np.array_equal(found, [[[1, 1, 1], [5, 0, 0]]] * 2)
