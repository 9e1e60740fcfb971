"""Records on disk: `<name>.safetensors` for the arrays beside `<name>.json` for everything else.

Nothing is pickled. Both files are written to temporary names and then renamed, tensors first; the JSON
holds the digests of both, so a truncated, edited or half-replaced pair is recognised.
"""

from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from site_lens._version import __version__
from site_lens.records.base import Float32, Record, join, readable
from site_lens.records.errors import InputError, StorageError
from site_lens.records.hashing import digest_bytes, digest_json
from site_lens.records.library_errors import system_errors
from site_lens.records.limited_io import current_limits, is_folder, parse_json, read_file
from site_lens.records.outputs import listed, listing_folder, named, write_output
from site_lens.records.study_registry import STUDIES, imported

KINDS = {
    "head_scores": "site_lens.heads.scores:HeadScores",
    "head_gates": "site_lens.heads.scores:HeadGates",
    "task_embedding": "site_lens.activations.embedding:TaskEmbedding",
    "site_fit": "site_lens.site.fit:SiteFit",
    "head_path": "site_lens.site.head_path:HeadPath",
    "evaluation": "site_lens.methods.evaluation:Evaluation",
    "attention_sample": "site_lens.activations.attention_sample:AttentionSample",
    "convergence": "site_lens.diagnostics.convergence:Convergence",
    "agreement": "site_lens.diagnostics.seed_agreement:Agreement",
    "diagnosis": "site_lens.diagnostics.diagnosis:Diagnosis",
    "overlap": "site_lens.diagnostics.head_overlap:Overlap",
    "transfer_reading": "site_lens.studies.transfer.summary:TransferSummary",
    "task_clusters": "site_lens.diagnostics.task_clusters:TaskClusters",
    "head_clusters": "site_lens.diagnostics.head_clusters:HeadClusters",
    "co_clusters": "site_lens.diagnostics.co_clusters:CoClusters",
    "method_table": "site_lens.methods.method_table:MethodTable",
    "selector_agreement": "site_lens.diagnostics.selector_agreement:SelectorAgreement",
    "study_piece": "site_lens.studies.cache:StudyPiece",
}
"""Where the class of each kind of record is, as `module:name`; of studies, see `STUDIES`."""

R = TypeVar("R", bound=Record)


class Manifest(BaseModel):
    """Manifest of a record: the content of its JSON file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: str
    record_schema: int
    site_lens: str
    """Version that wrote the file."""
    axes: dict[str, list[int]]
    """Shape of every array in the safetensors file."""
    fields: dict[str, Any]
    tensors_digest: str
    """SHA-256 of the safetensors file."""
    digest: str
    """SHA-256 of everything above in canonical form."""

    def content_digest(self) -> str | None:
        """Digest everything but the digest; None when it holds what no record does (NaN, endless nesting)."""
        try:
            return digest_json(self.model_dump(exclude={"digest"}))
        except (ValueError, RecursionError):
            return None


def record_paths(path: str | Path) -> tuple[Path, Path]:
    """Return the (tensors, manifest) paths of the record called `path`, with or without its suffix."""
    path = Path(path)
    if path.suffix in (".json", ".safetensors"):
        path = path.with_suffix("")
    return path.parent / f"{path.name}.safetensors", path.parent / f"{path.name}.json"


def save(record: Record, path: str | Path, *, replace: bool = False) -> Path:
    """Write a record to `<path>.safetensors` and `<path>.json`, over a record that is there; each appears whole or not.

    If the machine stops between the two over an older record, the digests do not match and the pair is refused.

    Args:
        record: The record.
        path: Its path, with or without `.json` or `.safetensors`.
        replace: Write over files that are no record, too.

    Returns:
        The path of the JSON file.

    Raises:
        InputError: It is no record, or the path is empty.
        StorageError: The folder cannot be written, or holds a file of that name that is no record.
    """
    from safetensors.numpy import save as to_bytes

    if not isinstance(record, Record):
        raise InputError(f"needs a record, such as a fit, got a {type(record).__name__}")
    arrays, fields = record.parts()
    tensors = to_bytes(arrays)
    said: dict[str, Any] = dict(
        kind=record.kind,
        record_schema=record.schema_version,
        site_lens=__version__,
        axes={name: list(array.shape) for name, array in sorted(arrays.items())},
        fields=fields,
        tensors_digest=digest_bytes(tensors),
    )
    manifest = Manifest(**said, digest=digest_json(said))
    tensors_path, manifest_path = record_paths(named(path))
    files = {tensors_path: tensors, manifest_path: (manifest.model_dump_json(indent=1) + "\n").encode()}
    write_output(files, holds_record, replace=replace)
    return manifest_path


def holds_record(path: Path) -> bool:
    """Tell whether a file is one of the two of a record, damaged ones included, or is listed as one of its run."""
    try:
        content = read_file(record_paths(path)[1], current_limits().record_json_bytes)
    except OSError:
        content = b""
    if b'"record_schema":' in content:
        return True
    folder = listing_folder(path)
    return folder is not None and path.absolute().relative_to(folder).as_posix() in listed(folder)


def load(path: str | Path, expected: type[R] | None = None) -> R:
    """Read a record back and check it against its digests.

    Args:
        path: Its path, with or without `.json` or `.safetensors`.
        expected: The record class that must come; any kind when None.

    Raises:
        StorageError: A file is missing, truncated, edited, of a newer schema or of another kind.
    """
    tensors_path, manifest_path = record_paths(path)
    manifest = _read_manifest(manifest_path)
    record_class = _record_class(manifest, manifest_path)
    if expected is not None and not issubclass(record_class, expected):
        raise StorageError(f"{manifest_path} holds a {manifest.kind}, not a {expected.kind}")
    if manifest.content_digest() != manifest.digest:
        raise StorageError(f"{manifest_path} was edited after it was written; remake the record")
    arrays = _read_arrays(tensors_path, manifest)
    try:
        return cast(R, record_class(**join(manifest.fields, arrays)))
    except (KeyError, TypeError, RecursionError, InputError) as error:
        raise StorageError(f"{manifest_path} does not hold a valid {manifest.kind}: {error}") from error


def _read_manifest(path: Path) -> Manifest:
    try:
        return Manifest.model_validate(parse_json(read_file(path, current_limits().record_json_bytes)))
    except FileNotFoundError:
        if is_folder(path.with_suffix("")):
            folder = path.with_suffix("")
            raise StorageError(f"{folder} is a folder, not one record; use Run.load or SiteFits.load") from None
        raise StorageError(f"there is no record at {path}; check the path") from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        raise StorageError(f"{path} is not a site_lens record: {readable(error)}") from None
    except ValueError as error:
        raise StorageError(f"{path} is truncated or not JSON ({error}); remake the record") from None


def _record_class(manifest: Manifest, path: Path) -> type[Record]:
    home = STUDIES[manifest.kind].result if manifest.kind in STUDIES else KINDS.get(manifest.kind)
    if home is None:
        raise StorageError(f"{path} holds a {manifest.kind!r}, which site_lens {__version__} does not know; upgrade")
    record_class = cast(type[Record], imported(home))
    if manifest.record_schema > record_class.schema_version:
        raise StorageError(
            f"{path} was written by site_lens {manifest.site_lens} with schema {manifest.record_schema} of "
            f"{manifest.kind}; site_lens {__version__} reads up to {record_class.schema_version}: upgrade"
        )
    return record_class


def _read_arrays(path: Path, manifest: Manifest) -> dict[str, Float32]:
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    with system_errors(f"read {path}", "; the record needs it beside its JSON"):
        content = read_file(path, current_limits().record_array_bytes)
    if digest_bytes(content) != manifest.tensors_digest:
        raise StorageError(f"{path} is truncated or was edited (its digest is not the recorded one); remake the record")
    try:
        arrays = cast(dict[str, Float32], from_bytes(content))
    except (SafetensorError, KeyError, ValueError) as error:  # KeyError: a number format that numpy lacks
        raise StorageError(f"{path} is not a safetensors file of float32 arrays: {error}") from error
    if formats := {str(array.dtype) for array in arrays.values()} - {"float32"}:
        raise StorageError(f"{path} holds arrays of {', '.join(sorted(formats))}; records hold float32")
    shapes = {name: list(array.shape) for name, array in arrays.items()}
    if shapes != manifest.axes:
        raise StorageError(f"{path} holds arrays {shapes}, its JSON says {manifest.axes}")
    return arrays
