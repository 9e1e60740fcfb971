"""On-disk checkpoints for long studies: an interruption loses only the piece under way."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, cast

import numpy as np
from pydantic import model_validator

from site_lens.records.base import Axes, Float32, Record
from site_lens.records.collections import manifests
from site_lens.records.errors import StorageError
from site_lens.records.hashing import code_version, digest_json
from site_lens.records.serialization import holds_record, load, record_paths, save

if TYPE_CHECKING:
    import pandas as pd

Measured = Mapping[str, Float32]
"""Arrays of any shape by name."""


class StudyPiece(Record):
    """Arrays that a study measured, such as those of one task."""

    kind: ClassVar[str] = "study_piece"

    arrays: dict[str, Annotated[Float32, Axes(("value",))]]
    """(value) each: the arrays, laid out flat."""
    shapes: dict[str, tuple[int, ...]]
    """Their shapes."""

    @model_validator(mode="after")
    def _shaped(self) -> Self:
        sizes = {name: array.size for name, array in self.arrays.items()}
        if sizes != {name: math.prod(shape) for name, shape in self.shapes.items()}:
            raise ValueError(f"arrays of {sizes} numbers do not fit shapes {self.shapes}")
        return self

    @classmethod
    def of(cls, measured: Measured) -> "StudyPiece":
        """Lay arrays out flat."""
        return cls(
            arrays={name: array.reshape(-1) for name, array in measured.items()},
            shapes={name: array.shape for name, array in measured.items()},
        )

    def measured(self) -> dict[str, Float32]:
        """Return the arrays in their shapes."""
        return {name: array.reshape(self.shapes[name]) for name, array in self.arrays.items()}

    def frame(self) -> "pd.DataFrame":
        """One row a number: array, place in it when laid out flat, value."""
        import pandas as pd

        parts = [pd.DataFrame({"array": name, "place": range(a.size), "value": a}) for name, a in self.arrays.items()]
        return pd.concat(parts, ignore_index=True)


class StudyCheckpoint:
    """Measures the pieces of a study once, and reads those that an earlier, interrupted call left.

    Args:
        folder: Where pieces are kept; nothing is kept when None.
        depends_on: JSON values that say everything a piece depends on: digests of fits and tasks, settings. A piece
            that was measured with others, or by other code, is not read.
    """

    def __init__(self, folder: str | Path | None, *depends_on: Any) -> None:
        self._folder = None if folder is None else Path(folder)
        self._key = digest_json([code_version(), *depends_on])

    def once(self, name: str, measure: Callable[[], Measured]) -> Measured:
        """Return a piece, measured now if it is not there.

        Raises:
            StorageError: The piece that is there is damaged, or the folder is a link or cannot be written.
        """
        if self._folder is None:
            return measure()
        _refuse_link(self._folder)
        path = self._folder / digest_json([self._key, name])[:32]
        if record_paths(path)[1].exists():
            return load(path, StudyPiece).measured()
        piece = StudyPiece.of(measure())
        save(piece, path)
        return piece.measured()


def side_by_side(parts: Sequence[Float32], axis: int) -> Float32:
    """Stack what was measured of several tasks along a new axis; shorter last axes (queries) are filled up with 0."""
    widest = max(part.shape[-1] for part in parts)
    padded = [np.pad(p, [*[(0, 0)] * (p.ndim - 1), (0, widest - p.shape[-1])]) for p in parts]
    return cast(Float32, np.stack(padded, axis=axis).astype(np.float32))


def _refuse_link(folder: Path) -> None:
    if folder.is_symlink():
        raise StorageError(f"{folder} is a link to {folder.readlink()}; remove the link first")


def clear_checkpoint(folder: Path) -> None:
    """Remove the pieces in a folder, and the folder if nothing else is in it.

    Raises:
        StorageError: The folder is a link: what it holds lies somewhere else.
    """
    _refuse_link(folder)
    for manifest in manifests(folder):
        if holds_record(manifest):
            for path in record_paths(manifest):
                path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
