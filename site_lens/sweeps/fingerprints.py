"""Fingerprint of a model: the weights that a name stands for, as far as known without loading them."""

import hashlib
from pathlib import Path
from typing import Any

from site_lens.records.assets import DEMO_MODEL
from site_lens.records.errors import InputError
from site_lens.records.hashing import digest_json
from site_lens.records.limited_io import is_folder, is_hidden
from site_lens.sweeps.schema import ModelChoice

SUFFIXES = (".json", ".safetensors", ".bin", ".model", ".txt")
"""Files of a model folder that say what the model is."""


def model_parts(model: ModelChoice) -> dict[str, Any]:
    """Return the part of a job's key that describes its model.

    Raises:
        InputError: A file of a model folder cannot be read.
    """
    source = source_parts(model.name, model.revision)
    return source | {"dtype": model.dtype, "bos": model.bos, "quantization": model.quantization}


def source_parts(name: str, revision: str | None) -> dict[str, Any]:
    """Return which weights a name stands for.

    A folder stands for its content, wherever it lies. A hub id stands for itself and its revision; what it loads is
    compared with earlier loads when a fit is stored.

    Raises:
        InputError: A file of a model folder cannot be read.
    """
    folder = DEMO_MODEL if name == "demo" else Path(name)
    return {"folder": folder_digest(folder)} if is_folder(folder) else {"hub": name, "revision": revision}


def folder_digest(folder: Path) -> str:
    """Digest the files of a model folder, every byte of them: an edit may have changed one head.

    Raises:
        InputError: A file cannot be read.
    """
    try:
        files = sorted(
            path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file() and not is_hidden(path)
        )
        return digest_json([[path.name, _digest(path)] for path in files])
    except OSError as error:
        raise InputError(f"cannot read {error.filename} of a model folder: {error.strerror}") from error


def _digest(path: Path) -> str:
    with path.open("rb") as stream:  # weights are too large to be held
        return hashlib.file_digest(stream, "sha256").hexdigest()
