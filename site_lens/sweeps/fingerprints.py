"""Which model a name stands for, as far as that can be known without loading it."""

from pathlib import Path
from typing import Any

from site_lens.core.assets import DEMO_MODEL
from site_lens.core.digests import digest_bytes, digest_json
from site_lens.sweeps.schema import ModelChoice

N_BLOCKS = 16
"""Places at which every large file of a model folder is sampled."""

BLOCK_BYTES = 4096

WHOLE_BYTES = 2**20
"""Files up to this size, such as configs, are read whole."""

SUFFIXES = (".json", ".safetensors", ".bin", ".model", ".txt")
"""Files of a model folder that say what the model is."""


def model_parts(model: ModelChoice) -> dict[str, Any]:
    """Return what the key of a job says of its model.

    A folder stands for its content, wherever it lies: config and tokenizer whole, weights by size and a few sampled
    blocks. A hub id stands for itself and its revision; what it loads is compared with earlier loads when a fit is
    stored.
    """
    folder = DEMO_MODEL if model.name == "demo" else Path(model.name)
    source = {"folder": folder_digest(folder)} if folder.is_dir() else {"hub": model.name, "revision": model.revision}
    return source | {"dtype": model.dtype, "bos": model.bos, "quantization": model.quantization}


def folder_digest(folder: Path) -> str:
    """Digest the files of a model folder, weights by samples."""
    files = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    return digest_json([[path.name, path.stat().st_size, _sampled(path)] for path in files])


def _sampled(path: Path) -> str:
    size = path.stat().st_size
    if size <= WHOLE_BYTES:
        return digest_bytes(path.read_bytes())
    blocks = []
    with path.open("rb") as stream:
        for i in range(N_BLOCKS):
            stream.seek(i * (size - BLOCK_BYTES) // (N_BLOCKS - 1))
            blocks.append(stream.read(BLOCK_BYTES))
    return digest_bytes(b"".join(blocks))
