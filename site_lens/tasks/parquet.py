"""Rows of a task out of a parquet file, read within the limits, and the classes that `datasets` names."""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from site_lens.records.errors import TaskFileError
from site_lens.records.limited_io import current_limits, parse_json

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

THRIFT = {"thrift_string_size_limit": 2**24, "thrift_container_size_limit": 2**18}
"""Limits of what the head of a parquet file may claim, in bytes and entries."""

PARQUET_ROWS = 256
"""Rows of a parquet file that are decoded at a time: few, because a short page may stand for long texts."""


def parquet_rows(path: Path, content: bytes, columns: tuple[str, str]) -> Iterator[object]:
    """Read the columns that will be used, a few rows at a time.

    Raises:
        TaskFileError: It is damaged, or says that it holds more than the limits allow.
    """
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
        classes = {name: class_names(feature) for name, feature in _features(found).items()}
        n_bytes, n_rows = 0, 0
        for batch in batches:
            n_bytes += sum(map(_unpacked_bytes, batch.columns))
            if n_bytes > current_limits().task_bytes:
                refused = "its texts take more bytes unpacked than Limits.task_bytes"
                break
            for row in batch.to_pylist():
                n_rows += 1
                yield with_class_names(row, classes, f"{path}, row {n_rows}")
    except (pa.ArrowException, OSError, ValueError, LookupError) as error:
        raise TaskFileError(f"{path} cannot be read: {error}") from error
    if refused:
        raise TaskFileError(f"{path} cannot be read: {refused}")


def _features(found: "pq.ParquetFile") -> Mapping[str, Any]:
    """Return what `datasets` wrote about the columns of a parquet file; nothing where it did not write it."""
    about = (found.schema_arrow.metadata or {}).get(b"huggingface")
    said = parse_json(about, current_limits().task_values) if about else {}
    for key in ("info", "features"):
        said = said.get(key) if isinstance(said, dict) else None
    return said if isinstance(said, dict) else {}


def class_names(feature: object) -> Sequence[str]:
    """Return the names of the classes that a feature of `datasets`, or a list of such, stands for; none if it does not.

    Args:
        feature: The feature as `datasets` writes it to JSON.
    """
    if isinstance(feature, list) and len(feature) == 1:
        return class_names(feature[0])
    if not isinstance(feature, dict):
        return ()
    names = feature.get("names") if feature.get("_type") == "ClassLabel" else None
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return names
    return class_names(feature.get("feature"))


def with_class_names(row: Mapping[str, object], classes: Mapping[str, Sequence[str]], where: str) -> dict[str, object]:
    """Put the names of classes in the place of their numbers.

    Raises:
        TaskFileError: A number stands for no class, as -1 does where a label is not known.
    """

    def named(value: object, names: Sequence[str]) -> object:
        if isinstance(value, list | tuple):
            return [named(one, names) for one in value]
        if not names or not isinstance(value, int):
            return value
        if not 0 <= value < len(names):
            raise TaskFileError(
                f"{where}: {value} is none of the {len(names)} classes of its column; leave such rows out"
            )
        return names[value]

    return {column: named(value, classes.get(column, ())) for column, value in row.items()}


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
