"""Cache of long studies: what was measured is kept on disk under a key of everything that it depends on."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from site_lens.records.base import Axes, Float32, Record
from site_lens.records.collections import manifests
from site_lens.records.errors import StorageError
from site_lens.records.hashing import code_version, digest_json
from site_lens.records.lazy_pandas import pd
from site_lens.records.serialization import holds_record, load, record_paths, save
from site_lens.runs.run_folder import read_mark, write_mark

T = TypeVar("T")

Arrays = Mapping[str, Float32]
"""Arrays of any shape by name."""


class StudyPiece(Record):
    """Checkpoint of a study: the arrays that it measured of one task."""

    kind: ClassVar[str] = "study_piece"

    arrays: dict[str, Annotated[Float32, Axes(("value",))]]
    """(value) each: the arrays, laid out flat."""
    shapes: dict[str, tuple[int, ...]]
    """Their shapes."""

    @classmethod
    def of(cls, measured: Arrays) -> "StudyPiece":
        """Lay arrays out flat."""
        return cls(
            arrays={name: array.reshape(-1) for name, array in measured.items()},
            shapes={name: array.shape for name, array in measured.items()},
        )

    def measured(self) -> dict[str, Float32]:
        """Return the arrays in their shapes."""
        return {name: array.reshape(self.shapes[name]) for name, array in self.arrays.items()}

    def _facts(self) -> dict[str, object]:
        return {name: f"array of shape {shape}" for name, shape in self.shapes.items()}

    def frame(self) -> "pd.DataFrame":
        """One row a number: array, place in it when laid out flat, value."""
        parts = [pd.DataFrame({"array": name, "place": range(a.size), "value": a}) for name, a in self.arrays.items()]
        return pd.concat(parts, ignore_index=True)


class StudyCache:
    """Results of one study, each measured once for the same key.

    Args:
        folder: Folder of the checkpoints; none are kept when None.
        depends_on: JSON values that say everything a result depends on: digests of fits and tasks, settings. The code
            that measures is always part of the key.
    """

    def __init__(self, folder: str | Path | None, *depends_on: Any) -> None:
        self._folder = None if folder is None else Path(folder)
        self.key = digest_json([code_version(), *depends_on])

    def arrays(self, name: str, measure: Callable[[], Arrays]) -> Arrays:
        """Return the checkpoint of this name; measure and keep it if there is none.

        Raises:
            StorageError: The checkpoint is damaged, or the folder is a symlink or cannot be written.
        """
        if self._folder is None:
            return measure()
        self._refuse_symlink()
        path = self._folder / digest_json([self.key, name])[:32]
        if record_paths(path)[1].exists():
            return load(path, StudyPiece).measured()
        piece = StudyPiece.of(measure())
        save(piece, path)
        return piece.measured()

    def result(
        self,
        mark: Path,
        read: Callable[[], T],
        measure: Callable[[], T],
        describe: Callable[[float, float], dict[str, Any]] = lambda seconds, busy: {},
    ) -> T:
        """Return the stored result if the mark beside it holds this key; otherwise measure it and write the mark.

        Args:
            mark: File beside the result.
            read: Reads the result.
            measure: Measures and stores it.
            describe: Further entries of the mark, given seconds of the clock and of the processor.
        """
        if read_mark(mark).get("key") == self.key:
            return read()
        mark.unlink(missing_ok=True)
        start, worked = time.perf_counter(), time.process_time()
        result = measure()
        write_mark(mark, self.key, **describe(time.perf_counter() - start, time.process_time() - worked))
        self.clear()
        return result

    def clear(self) -> None:
        """Remove the checkpoints, and their folder if nothing else is in it.

        Raises:
            StorageError: The folder is a symlink: what it holds is somewhere else.
        """
        if self._folder is None:
            return
        self._refuse_symlink()
        for manifest in manifests(self._folder):
            if holds_record(manifest):
                for path in record_paths(manifest):
                    path.unlink(missing_ok=True)
        if self._folder.is_dir() and not any(self._folder.iterdir()):
            self._folder.rmdir()

    def _refuse_symlink(self) -> None:
        if self._folder is not None and self._folder.is_symlink():
            raise StorageError(f"{self._folder} is a link to {self._folder.readlink()}; remove the link first")
