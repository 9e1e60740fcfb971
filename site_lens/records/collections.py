"""Collections of records of one kind by name, kept in one folder, one pair of files each."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from site_lens.records.base import Record
from site_lens.records.display import MOST_LISTED, CellMap, Displayed, shown
from site_lens.records.errors import InputError, StorageError, unknown_name
from site_lens.records.hashing import digest_json
from site_lens.records.lazy_pandas import pd
from site_lens.records.library_errors import system_errors
from site_lens.records.limited_io import current_limits, is_hidden
from site_lens.records.outputs import in_order_of_writing
from site_lens.records.serialization import load, save
from site_lens.records.type_checks import checked_methods

R = TypeVar("R", bound=Record)


RESERVED = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]", re.IGNORECASE)
"""Names that mean a device on Windows, whatever their suffix."""


LONGEST_NAME = 80
"""Letters of a file name at most, without its suffix."""


def file_name(key: str) -> str:
    """Turn any key into a file name: itself when that is safe on every system, else what is safe of it and a digest.

    The name has at most `LONGEST_NAME` letters, and is the file name of itself.
    """
    safe = re.sub(r"[^A-Za-z0-9_-]+", "_", key)
    if key and safe == key and len(key) <= LONGEST_NAME and not RESERVED.fullmatch(key):
        return key
    digest = digest_json(key.encode("utf-8", "backslashreplace").decode())[:8]
    return f"{safe[: LONGEST_NAME - 1 - len(digest)]}-{digest}"


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key under which seed 2 comes before seed 10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"([0-9]+)", path.stem)]


def manifests(folder: str | Path) -> list[Path]:
    """Return the JSON files of the records in a folder, in no order, but hidden ones; none where there is no folder.

    Raises:
        StorageError: The folder cannot be read, or there are more than `Limits.record_files`.
    """
    most = current_limits().record_files
    with system_errors(f"read {folder}"):
        paths = list(islice((path for path in Path(folder).glob("*.json") if not is_hidden(path)), most + 1))
    if len(paths) > most:
        raise StorageError(f"{folder} holds more than {most} records; if you trust it, raise Limits.record_files")
    return paths


@checked_methods
class RecordSet(Displayed, Mapping[str, R], Generic[R]):
    """A read-only mapping from a name to a record, in the order in which the records came."""

    record_class: ClassVar[type[Record]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        checked_methods(cls)

    def __init__(self, records: Iterable[R]) -> None:
        self._records: dict[str, R] = {}
        given = list(records)
        if strange := [record for record in given if not isinstance(record, self.record_class)]:
            raise InputError(
                f"{type(self).__name__} holds {self.record_class.__name__} records, got {strange[0]!r:.60}"
            )
        for key, record in self._keyed(given):
            if key in self._records:
                raise InputError(f"two records called {key!r}; keep them in separate sets")
            self._records[key] = record

    def _keyed(self, records: list[R]) -> Iterator[tuple[str, R]]:
        raise NotImplementedError

    def __getitem__(self, key: str) -> R:
        if key not in self._records:
            raise unknown_name(self.record_class.kind.replace("_", " "), key, self._records)
        return self._records[key]

    def __contains__(self, key: object) -> bool:
        return key in self._records

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def _facts(self) -> Mapping[str, object]:
        return {f"{self.record_class.__name__} records": len(self), "names": tuple(self)}

    def _line(self) -> str:
        """Name the records, each with the little that tells it from the others."""
        named = [" ".join(filter(None, (key, record._brief()))) for key, record in islice(self.items(), MOST_LISTED)]
        return "; ".join(named if len(self) <= MOST_LISTED else [*named, f"+{len(self) - MOST_LISTED}"])

    def _maps(self) -> Mapping[str, CellMap]:
        """Return the first map of every record that has one."""
        return {key: drawn for key, record in self.items() for drawn in list(record._maps().values())[:1]}

    def _tables(self) -> "Mapping[str, Callable[[], pd.DataFrame]]":
        return {"records": self._facts_frame}

    def _facts_frame(self) -> "pd.DataFrame":
        """One row per record: its header."""
        rows = [{name: shown(value) for name, value in record._facts().items()} for record in self.values()]
        return pd.DataFrame(rows, index=list(self))

    def frame(self) -> "pd.DataFrame":
        """Return the tables of all records below each other, with the key in front; an empty table of none."""
        if not self:
            return pd.DataFrame({"key": []})
        return pd.concat([r.frame() for r in self.values()], keys=list(self), names=["key"]).reset_index("key")

    def save(self, folder: str | Path) -> Path:
        """Write every record to `folder`, each whole or not at all.

        Raises:
            InputError: Two names differ in case alone.
            StorageError: The folder cannot be written; records written before stay.
        """
        names = {key: file_name(key) for key in self}
        times = Counter(name.casefold() for name in names.values())
        if twice := [key for key, name in names.items() if times[name.casefold()] > 1]:
            raise InputError(f"{', '.join(twice)} differ in case alone, and on some systems share a file; rename one")
        for key, record in self.items():
            save(record, Path(folder) / names[key])
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read every record of this kind from `folder`: in the order in which a run wrote them, as its list says.

        Without such a list they come in order of file name, numbers by value.

        Raises:
            StorageError: The folder holds none, or one of them is damaged.
        """
        paths = in_order_of_writing(sorted(manifests(folder), key=_natural))
        if not paths:
            raise StorageError(f"{folder} holds no saved {cls.record_class.kind}; check the path")
        return cls(load(path, cls.record_class) for path in paths)  # type: ignore[misc]  # class-level R is bound here
