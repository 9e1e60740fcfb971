"""Rows of a task out of one file: JSON, JSON lines, CSV, TSV, parquet, each read within the limits."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from site_lens.core.errors import TaskFileError
from site_lens.core.reading import current_limits, parse_json, read_file, refuse_many

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

TEXT = "utf-8-sig"
"""UTF-8, with the byte order mark that spreadsheets put in front or without."""

THRIFT = {"thrift_string_size_limit": 2**24, "thrift_container_size_limit": 2**18}
"""Limits of what the head of a parquet file may claim, in bytes and entries."""

PARQUET_ROWS = 256
"""Rows of a parquet file that are decoded at a time: few, because a short page may stand for long texts."""


def read_rows(path: Path, columns: tuple[str, str]) -> list[object]:
    """Read the rows of a task file as its suffix says.

    Args:
        path: A `.json`, `.jsonl`, `.csv`, `.tsv` or `.parquet` file.
        columns: The columns that will be used; of a parquet file no other is read.

    Raises:
        TaskFileError: It cannot be read, is not what its suffix says, or holds more than the limits allow.
    """
    limits = current_limits()
    try:
        content = read_file(path, limits.task_bytes)
        rows = list(islice(READERS[path.suffix](path, content, columns), limits.task_rows + 1))
    except UnicodeDecodeError as error:
        raise TaskFileError(f"{path} is not UTF-8 text: {error}") from error
    except OSError as error:
        raise TaskFileError(f"cannot read {path}: {error.strerror or error}") from error
    if len(rows) > limits.task_rows:
        raise TaskFileError(f"{path} holds more than {limits.task_rows} rows; if you trust it, raise Limits.task_rows")
    return rows


def _json_rows(path: Path, content: bytes, columns: tuple[str, str]) -> Iterator[object]:
    rows = _parse(content.decode(TEXT), str(path))
    if not isinstance(rows, list):
        raise TaskFileError(f'{path} must hold a list of {{"input", "output"}} objects, got {type(rows).__name__}')
    return iter(rows)


def _json_lines(path: Path, content: bytes, columns: tuple[str, str]) -> Iterator[object]:
    text = content.decode(TEXT)
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
    separator = "\t" if path.suffix == ".tsv" else ","
    reader = csv.reader(io.StringIO(content.decode(TEXT), newline=""), delimiter=separator, strict=True)
    n_rows = 0
    try:
        lines = (line for line in reader if line)
        header = next(lines, [])
        places = {name: header.index(name) for name in columns if name in header}
        for name in places:
            if header.count(name) > 1:
                raise TaskFileError(f"{path} has two columns called {name!r}; rename one")
        for n_rows, line in enumerate(lines, 1):
            if len(line) > len(header):
                many = f"more cells than the header; quote texts that hold {separator!r}"
                raise TaskFileError(f"{path}, row {n_rows} has {many}")
            if len(places) < len(set(columns)):
                yield dict.fromkeys(header)  # what is there will be in the message
                return
            yield {name: line[place] if place < len(line) else "" for name, place in places.items()}
    except csv.Error as error:
        raise TaskFileError(f"{path}, row {n_rows + 1} is not one of a table: {error}") from error


def _parquet_rows(path: Path, content: bytes, columns: tuple[str, str]) -> Iterator[object]:
    import pyarrow as pa

    try:
        found = _open_parquet(content, columns)
        names = found.schema_arrow.names
        wanted = [field for field in found.schema_arrow if field.name in columns]
        refused = _refused_parquet(found, wanted)
        batches = found.iter_batches(PARQUET_ROWS, columns=list(dict.fromkeys(columns))) if not refused else iter(())
        if not refused and len(wanted) < len(set(columns)):
            yield dict.fromkeys(names)  # what is there will be in the message
            return
        n_bytes = 0
        for batch in batches:
            n_bytes += sum(map(_unpacked_bytes, batch.columns))
            if n_bytes > current_limits().task_bytes:
                refused = "its texts take more bytes unpacked than Limits.task_bytes"
                break
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError, LookupError) as error:
        raise TaskFileError(f"{path} cannot be read: {error}") from error
    if refused:
        raise TaskFileError(f"{path} cannot be read: {refused}")


def _open_parquet(content: bytes, columns: tuple[str, str]) -> "pq.ParquetFile":
    """Open a parquet file so that texts stay in the dictionary that holds each of them once."""
    import pyarrow.parquet as pq

    schema = pq.ParquetFile(io.BytesIO(content), **THRIFT).metadata.schema
    leaves = [schema.column(i) for i in _leaves(schema, columns)]
    texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    return pq.ParquetFile(io.BytesIO(content), read_dictionary=texts, **THRIFT)


def _leaves(schema: "pq.ParquetSchema", columns: Iterable[str]) -> list[int]:
    """Return the places of the leaves that some columns consist of."""
    paths = [schema.column(i).path for i in range(len(schema))]
    return [i for i, path in enumerate(paths) if any(path == name or path.startswith(f"{name}.") for name in columns)]


def _refused_parquet(found: "pq.ParquetFile", wanted: "list[pa.Field[Any]]") -> str:
    """Say what of a file, by its own account, is refused before any row is read; nothing if nothing is."""
    limits, about, names = current_limits(), found.metadata, [field.name for field in wanted]
    for field in wanted:
        if not _is_plain(field.type):
            return f"the column {field.name!r} holds {field.type}, not texts, numbers or lists of them"
        if names.count(field.name) > 1:
            return f"two columns are called {field.name!r}; rename one"
    if about.num_rows > limits.task_rows:
        return f"it says that it holds {about.num_rows} rows, more than {limits.task_rows} (Limits.task_rows)"
    if _most_values(found, names) > limits.task_values:
        return f"it says that a column holds more than {limits.task_values} values (Limits.task_values)"
    n_bytes = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
    if n_bytes > limits.task_bytes:
        return f"it says that it takes {n_bytes} bytes unpacked, more than {limits.task_bytes} (Limits.task_bytes)"
    return ""


def _most_values(found: "pq.ParquetFile", columns: Sequence[str]) -> int:
    """Return how many values a chunk of one of the columns says it holds, at most.

    Asked about a damaged chunk, pyarrow (26) aborts the process. The start of reading meets the same damage and raises;
    the public `iter_batches` does not stop there, before the first row.
    """
    about, most = found.metadata, 0
    leaves = _leaves(about.schema, columns)
    if not leaves:  # pyarrow would divide by the rows of a batch, which are none
        return 0
    for i in range(about.num_row_groups):
        next(found.reader.iter_batches(0, [i], column_indices=leaves), None)
        most = max(most, *(about.row_group(i).column(leaf).num_values for leaf in leaves))
    return most


def _is_plain(kind: "pa.DataType", *, inside: bool = False) -> bool:
    import pyarrow.types as types

    if types.is_dictionary(kind):
        return _is_plain(kind.value_type, inside=inside)
    if types.is_list(kind) or types.is_large_list(kind):
        return not inside and _is_plain(kind.value_type, inside=True)
    plain = (types.is_string, types.is_large_string, types.is_integer, types.is_floating, types.is_boolean)
    return types.is_null(kind) or any(is_kind(kind) for is_kind in plain)


def _unpacked_bytes(column: "pa.Array[Any]") -> int:
    """Bytes that a column takes once every row has its own copy of its text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column, pa.ListArray | pa.LargeListArray):
        return _unpacked_bytes(column.flatten())
    if isinstance(column, pa.DictionaryArray):
        return int(pc.sum(pc.binary_length(column.dictionary).take(column.indices)).as_py() or 0)
    return int(column.nbytes)


READERS: dict[str, Callable[[Path, bytes, tuple[str, str]], Iterable[object]]] = {
    ".json": _json_rows,
    ".jsonl": _json_lines,
    ".csv": _separated_rows,
    ".tsv": _separated_rows,
    ".parquet": _parquet_rows,
}
"""How to read each format."""
