"""Rows of a task file: JSON, JSON lines, CSV, TSV and parquet, each read within the limits."""

import codecs
import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from site_lens.records.errors import TaskFileError
from site_lens.records.library_errors import system_errors, translated_errors
from site_lens.records.limited_io import current_limits, parse_json, read_file
from site_lens.tasks.task import half_character

TEXT = "utf-8-sig"
"""UTF-8, with the byte order mark that spreadsheets put in front or without."""

UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""Byte order marks of what spreadsheets call Unicode text."""

SEPARATORS = (",", ";", "\t", "|")
"""Separators of cells that are tried; the suffix of the file says which is tried first."""

ABOVE_HEADER = re.compile(r"(?:(?:#[^\n]*|sep=.)?\r?\n)*")
"""Comments, the `sep=;` line of spreadsheets, and empty lines."""

HEADER_CHARACTERS = 2**16
"""Characters in which the header of a table must end."""

PARQUET_ROWS = 64
"""Rows of a parquet file that are decoded at a time: few, because a short page may stand for long texts."""

TEXT_COLUMN = "text"
"""Column of a table of texts, as data sets of plain text call it."""

PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
DATASET_INFO = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json")
"""Metadata files that `datasets` writes beside the rows."""

csv.field_size_limit(2**27)  # cells of any length; the limits below hold for the texts that are used


def is_table(path: Path) -> bool:
    """Tell whether a file holds rows, by its name; hidden files and those of other formats do not."""
    suffix = Path(path.stem).suffix if path.suffix.lower() in PACKED else path.suffix
    is_hidden = path.name.startswith(".") or path.name in DATASET_INFO
    return suffix.lower() in READERS and not is_hidden and not path.is_dir()


def table_name(path: Path) -> str:
    """Return the name of a file of rows without its suffixes."""
    return Path(path.stem).stem if path.suffix.lower() in PACKED else path.stem


def read_rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    """Read the rows of a task file as its suffix says, each behind the name of its place.

    Args:
        path: A `.json`, `.jsonl`, `.csv`, `.tsv` or `.parquet` file; capitals do not matter.
        columns: The columns that will be used; of a parquet file no other is read.

    Raises:
        TaskFileError: It cannot be read, is not what its suffix says, or holds more than the limits allow.
    """
    suffix = path.suffix.lower()
    if suffix not in READERS:
        advice = "unpack it first" if suffix in PACKED else "save it as one of these"
        raise TaskFileError(f"{path} is not one of {', '.join(READERS)}; {advice}")
    return numbered(READERS[suffix](path, task_content(path), columns), path)


def read_texts(path: Path) -> list[str]:
    """Read texts: the column `text` of a table (`.json`, `.jsonl`, `.csv`, `.tsv`, `.parquet`), or any other text file.

    Texts of a text file are what stands between its empty lines.

    Raises:
        TaskFileError: It cannot be read, is not what its suffix says, holds no text, or more than the limits allow.
    """
    if path.suffix.lower() in READERS:
        rows = read_rows(path, (TEXT_COLUMN,))
        texts = [str(row.get(TEXT_COLUMN) or "") if isinstance(row, Mapping) else str(row) for _, row in rows]
    else:
        texts = re.split(r"\n[^\S\n]*\n", _decoded(path, task_content(path)))
    if not (found := [text for text in texts if text.strip()]):
        raise TaskFileError(f"{path} holds no text; a table needs a column {TEXT_COLUMN!r}")
    return found


def numbered(rows: Iterable[Any], source: object) -> Iterator[tuple[str, Any]]:
    """Go through rows, each behind the name of its place; raise TaskFileError after `Limits.task_rows`."""
    most = current_limits().task_rows
    for i, row in enumerate(rows, 1):
        if i > most:
            raise TaskFileError(f"{source} holds more than {most} rows; if you trust it, raise Limits.task_rows")
        yield f"{source}, row {i}", row


def task_content(path: Path) -> bytes:
    """Read a file of tasks or texts; raises TaskFileError if that fails or it exceeds `Limits.task_bytes`."""
    with system_errors(f"read {path}", kind=TaskFileError):
        return read_file(path, current_limits().task_bytes)


def _decoded(path: Path, content: bytes) -> str:
    try:
        text = content.decode("utf-16" if content.startswith(UTF16_MARKS) else TEXT)
    except UnicodeDecodeError as error:
        raise TaskFileError(f"{path} is not UTF-8 text: {error}; save it as UTF-8") from error
    if "\0" in text:
        raise TaskFileError(f"{path} holds NUL characters, as UTF-16 without a byte order mark does; save it as UTF-8")
    return text


def _json_rows(path: Path, content: bytes, columns: tuple[str, ...]) -> Iterator[object]:
    rows = _parse(_decoded(path, content), str(path))
    if not isinstance(rows, list):
        raise TaskFileError(f'{path} must hold a list of {{"input", "output"}} objects, got {type(rows).__name__}')
    return iter(rows)


def _json_lines(path: Path, content: bytes, columns: tuple[str, ...]) -> Iterator[object]:
    for number, line in enumerate(_decoded(path, content).split("\n"), 1):
        if line.strip():
            yield _parse(line, f"{path}, line {number}")


def _parse(text: str, where: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise TaskFileError(f"{where} is not valid JSON: {error}") from error


def _separated_rows(path: Path, content: bytes, columns: tuple[str, ...]) -> Iterator[object]:
    # Not pandas or datasets, which read "007" as 7 and "NA" as missing, and drop the first cell of rows with too many.
    text = _decoded(path, content)
    start, separator = _header_place(text, "\t" if path.suffix.lower() == ".tsv" else ",", columns)
    n_rows = 0
    try:
        lines = _cells(text[start:], separator)
        header = next(lines, [])
        if repeated := [name for name in columns if header.count(name) > 1]:
            raise TaskFileError(f"{path} has two columns called {repeated[0]!r}; rename one")
        for n_rows, line in enumerate(lines, 1):
            if len(line) > len(header):
                advice = f"quote texts that hold {separator!r}"
                raise TaskFileError(f"{path}, row {n_rows} has more cells than the header; {advice}")
            row = dict(zip_longest(header, line, fillvalue=""))
            yield {name: row[name] for name in columns} if row.keys() >= set(columns) else row
    except csv.Error as error:
        advice = "a cell that begins with a quotation mark must end with one"
        raise TaskFileError(f"{path}, row {n_rows + 1} is not one of a table: {error}; {advice}") from error


def _cells(text: str, separator: str) -> Iterator[list[str]]:
    """Cut a table into lines of cells, without empty lines and the spaces behind a separator."""
    table = io.StringIO(text, newline="")
    return filter(None, csv.reader(table, delimiter=separator, skipinitialspace=True, strict=True))


def _header_place(text: str, separator: str, columns: tuple[str, ...]) -> tuple[int, str]:
    """Find where the header begins, and its separator: the first with which it has the columns, or else most cells."""
    above = ABOVE_HEADER.match(text)
    end = above.end() if above else 0
    n_cells = {}
    for start in (0, end):
        for candidate in (separator, *SEPARATORS):
            try:
                header = next(_cells(text[start : start + HEADER_CHARACTERS], candidate), [])
            except csv.Error:  # quotes that do not close: the same is said when the rows are read
                header = []
            if set(columns) <= set(header):
                return start, candidate
            n_cells[candidate] = len(header)
    return end, max(n_cells, key=lambda candidate: n_cells[candidate])


def _parquet_rows(path: Path, content: bytes, columns: tuple[str, ...]) -> Iterator[object]:
    import pyarrow.parquet as pq

    most, n_bytes = current_limits().task_bytes, 0
    with translated_errors(lambda reason: TaskFileError(f"{path} cannot be read: {reason}")):
        table = pq.ParquetFile(io.BytesIO(content))
        schema = table.schema_arrow
        if not set(columns) <= set(schema.names):
            yield dict.fromkeys(schema.names)  # what is there will be in the message
            return
        classes = {}
        if b"huggingface" in (schema.metadata or {}):  # where `datasets` writes the names of classes
            from datasets import Features

            classes = class_names(Features.from_arrow_schema(schema))
        batches = table.iter_batches(PARQUET_ROWS, columns=list(set(columns)))
        for i, row in enumerate(chain.from_iterable(batch.to_pylist() for batch in batches), 1):
            n_bytes += sum(len(str(value)) for value in row.values())
            if n_bytes > most:
                raise TaskFileError(f"{path} holds more than {most} bytes of text (Limits.task_bytes)")
            yield with_class_names(row, classes, f"{path}, row {i}")


def class_names(features: Mapping[str, Any] | None) -> dict[str, list[str]]:
    """Return the names of the classes of each column of a dataset that holds classes, or lists of them."""
    names = {}
    for column, feature in (features or {}).items():
        while inner := getattr(feature, "feature", None):
            feature = inner
        if classes := getattr(feature, "names", None):
            names[column] = list(classes)
    return names


def with_class_names(row: Mapping[str, object], classes: Mapping[str, list[str]], where: str) -> dict[str, object]:
    """Put the names of classes in the place of their numbers.

    Raises:
        TaskFileError: A number stands for no class, as -1 does where a label is not known.
    """

    def named(value: object, names: list[str]) -> object:
        if isinstance(value, list | tuple):
            return [named(item, names) for item in value]
        if isinstance(value, int) and not 0 <= value < len(names):
            raise TaskFileError(f"{where}: {value} is not one of the {len(names)} classes; leave such rows out")
        return names[value] if isinstance(value, int) else value

    return dict(row) | {column: named(row[column], names) for column, names in classes.items() if column in row}


def text_of(value: object, column: str, where: str) -> str:
    """Return a text or a number of a row as text, letter by letter.

    Raises:
        TaskFileError: It is something else, empty, too long, or half a character.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf
    if not (number or isinstance(value, str)):
        raise TaskFileError(f"{where}: {column!r} must be text or a number, got {value!r:.60}")
    text = str(value)
    if not text.strip():
        raise TaskFileError(f"{where}: {column!r} is empty")
    most = current_limits().text_characters
    if len(text) > most:
        raise TaskFileError(f"{where}: {column!r} holds {len(text)} characters, more than {most}")
    if half_character(text):
        raise TaskFileError(f"{where}: {column!r} holds half a surrogate pair, which is no character: {text!a:.60}")
    return text


READERS: dict[str, Callable[[Path, bytes, tuple[str, ...]], Iterable[object]]] = {
    ".json": _json_rows,
    ".jsonl": _json_lines,
    ".csv": _separated_rows,
    ".tsv": _separated_rows,
    ".parquet": _parquet_rows,
}
"""Reader of each format."""
