"""Fingerprint of a model: the weights that a name stands for, as far as known without loading them."""

from pathlib import Path
from typing import Any

from site_lens.models.gguf_source import local_gguf
from site_lens.records.assets import DEMO, DEMO_MODEL
from site_lens.records.errors import InputError
from site_lens.records.hashing import digest_file, digest_json
from site_lens.records.limited_io import is_folder, is_hidden
from site_lens.sweeps.schema import ModelChoice

SUFFIXES = (".json", ".safetensors", ".bin", ".model", ".txt")
"""Files of a model folder that say what the model is."""


def model_parts(model: ModelChoice) -> dict[str, Any]:
    """Return the part of a job's key that describes its model.

    Raises:
        InputError: See `source_parts`.
    """
    source = source_parts(model.name, model.revision, model.gguf_file)
    return source | {"dtype": model.dtype, "bos": model.bos, "quantization": model.quantization}


def source_parts(name: str, revision: str | None, gguf_file: str | None = None) -> dict[str, Any]:
    """Return which weights a name stands for.

    A folder or GGUF file stands for its content, wherever it lies. A hub id stands for itself and its revision; what it
    loads is compared with earlier loads when a fit is stored.

    Raises:
        InputError: A file cannot be read, or `local_gguf` finds no file where one must be.
    """
    gguf = local_gguf(name, gguf_file)
    folder = DEMO_MODEL if name == DEMO else Path(name)
    try:
        if gguf is not None:
            return {"gguf": digest_file(gguf)}
        if is_folder(folder):
            return {"folder": folder_digest(folder)}
    except OSError as error:
        raise InputError(f"cannot read {error.filename} of a model: {error.strerror}") from error
    return {"hub": name, "revision": revision} | ({} if gguf_file is None else {"gguf_file": gguf_file})


def folder_digest(folder: Path) -> str:
    """Digest the files of a model folder, every byte of them: an edit may have changed one head.

    Raises:
        OSError: A file cannot be read.
    """
    files = sorted(
        path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file() and not is_hidden(path)
    )
    return digest_json([[path.name, digest_file(path)] for path in files])
