"""Rows of a task out of one file: JSON, JSON lines, CSV, TSV, parquet, each read within the limits."""

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

from site_lens.records.errors import TaskFileError
from site_lens.records.limited_io import current_limits, parse_json, read_file, refuse_many
from site_lens.tasks.parquet import parquet_rows

TEXT = "utf-8-sig"
"""UTF-8, with the byte order mark that spreadsheets put in front or without."""

WIDE_TEXT = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""The byte order marks of what spreadsheets call Unicode text."""

SEPARATORS = (",", ";", "\t", "|")
"""What may stand between the cells of a table; its suffix says which is tried first."""

ABOVE_HEADER = re.compile(r"(?:(?:#[^\n]*|sep=.)?\r?\n)*")
"""Comments, what spreadsheets write to say the separator, and empty lines."""

HEADER_CHARACTERS = 2**16
"""Characters in which the header of a table must end."""

PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
ABOUT = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json")
"""Files that `datasets` writes about the files beside them."""


def is_table(path: Path) -> bool:
    """Tell whether a file is one of rows by its name; hidden files, such as those that macOS writes, are not."""
    suffix = Path(path.stem).suffix if path.suffix.lower() in PACKED else path.suffix
    return suffix.lower() in READERS and not path.name.startswith(".") and path.name not in ABOUT and not path.is_dir()


def table_name(path: Path) -> str:
    """Return the name of a file of rows without its suffixes."""
    return Path(path.stem).stem if path.suffix.lower() in PACKED else path.stem


def read_rows(path: Path, columns: tuple[str, str]) -> list[object]:
    """Read the rows of a task file as its suffix says.

    Args:
        path: A `.json`, `.jsonl`, `.csv`, `.tsv` or `.parquet` file; capitals do not matter.
        columns: The columns that will be used; of a parquet file no other is read.

    Raises:
        TaskFileError: It cannot be read, is not what its suffix says, or holds more than the limits allow.
    """
    limits, suffix = current_limits(), path.suffix.lower()
    if suffix not in READERS:
        advice = "unpack it first" if suffix in PACKED else "save it as one of these"
        raise TaskFileError(f"{path} is not one of {', '.join(READERS)}; {advice}")
    try:
        content = read_file(path, limits.task_bytes)
        with _cells_of_any_length(len(content)):
            rows = list(islice(READERS[suffix](path, content, columns), limits.task_rows + 1))
    except UnicodeDecodeError as error:
        raise TaskFileError(f"{path} is not UTF-8 text: {error}; save it as UTF-8") from error
    except OSError as error:
        raise TaskFileError(f"cannot read {path}: {error.strerror or error}") from error
    if len(rows) > limits.task_rows:
        raise TaskFileError(f"{path} holds more than {limits.task_rows} rows; if you trust it, raise Limits.task_rows")
    return rows


_CELLS = Lock()


@contextmanager
def _cells_of_any_length(n_characters: int) -> Iterator[None]:
    """Lift the limit that the csv module has for the whole process; our own hold for the texts that are used."""
    with _CELLS:
        before = csv.field_size_limit()
        csv.field_size_limit(max(before, n_characters))
        try:
            yield
        finally:
            csv.field_size_limit(before)


def _decoded(path: Path, content: bytes) -> str:
    text = content.decode(next((name for mark, name in WIDE_TEXT.items() if content.startswith(mark)), TEXT))
    if "\0" in text:
        raise TaskFileError(f"{path} holds NUL characters, as UTF-16 without a byte order mark does; save it as UTF-8")
    return text


def _json_rows(path: Path, content: bytes, columns: tuple[str, str]) -> Iterator[object]:
    rows = _parse(_decoded(path, content), str(path))
    if not isinstance(rows, list):
        raise TaskFileError(f'{path} must hold a list of {{"input", "output"}} objects, got {type(rows).__name__}')
    return iter(rows)


def _json_lines(path: Path, content: bytes, columns: tuple[str, str]) -> Iterator[object]:
    text = _decoded(path, content)
    try:
        refuse_many(text, current_limits().task_values)
    except ValueError as error:
        raise TaskFileError(f"{path}: {error}") from None
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield _parse(line, f"{path}, line {number}")


def _parse(text: str, where: str) -> Any:
    try:
        return parse_json(text, current_limits().task_values)
    except ValueError as error:
        raise TaskFileError(f"{where} is not valid JSON: {error}") from error


def _separated_rows(path: Path, content: bytes, columns: tuple[str, str]) -> Iterator[object]:
    # Not pandas, which reads "007" as 7 and "NA" as missing, and drops the first cell of rows that have one too many.
    text = _decoded(path, content)
    start, separator = _header_place(text, "\t" if path.suffix.lower() == ".tsv" else ",", columns)
    n_rows = 0
    try:
        lines = _cells(text, start, separator)
        header = next(lines, [])
        places = {name: header.index(name) for name in columns if name in header}
        for name in places:
            if header.count(name) > 1:
                raise TaskFileError(f"{path} has two columns called {name!r}; rename one")
        for n_rows, line in enumerate(lines, 1):
            if len(line) > len(header):
                many = f"more cells than the header; quote texts that hold {separator!r}"
                raise TaskFileError(f"{path}, row {n_rows} has {many}")
            if len(line) < len(header) and line[0].startswith("#"):
                raise TaskFileError(f"{path}, row {n_rows} looks like a comment; these may stand above the header only")
            if len(places) < len(set(columns)):
                yield dict.fromkeys(header)  # what is there will be in the message
                return
            yield {name: line[place] if place < len(line) else "" for name, place in places.items()}
    except csv.Error as error:
        advice = "a cell that begins with a quotation mark must end with one"
        raise TaskFileError(f"{path}, row {n_rows + 1} is not one of a table: {error}; {advice}") from error


def _cells(text: str, start: int, separator: str) -> Iterator[list[str]]:
    """Cut a table into lines of cells, without empty lines and the spaces behind a separator."""
    table = io.StringIO(text, newline="")
    table.seek(start)
    return filter(None, csv.reader(table, delimiter=separator, skipinitialspace=True, strict=True))


def _header_place(text: str, separator: str, columns: tuple[str, str]) -> tuple[int, str]:
    """Find where the header begins, and its separator: the first with which it has the columns, or else most cells."""
    above = ABOVE_HEADER.match(text)
    end = above.end() if above else 0
    n_cells = {}
    for start in dict.fromkeys((0, end)):
        for one in dict.fromkeys((separator, *SEPARATORS)):
            try:
                header = next(_cells(text[start : start + HEADER_CHARACTERS], 0, one), [])
            except csv.Error:  # quotes that do not close: the same is said when the rows are read
                header = []
            if set(columns) <= set(header):
                return start, one
            n_cells[one] = len(header)
    return end, max(n_cells, key=lambda one: n_cells[one])


READERS: dict[str, Callable[[Path, bytes, tuple[str, str]], Iterable[object]]] = {
    ".json": _json_rows,
    ".jsonl": _json_lines,
    ".csv": _separated_rows,
    ".tsv": _separated_rows,
    ".parquet": parquet_rows,
}
"""How to read each format."""
