"""Conversion of a GGUF file: dequantised once into a folder of the user's cache, which is loaded from then on."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from site_lens.models.checkpoints import from_checkpoint, refuse_too_large
from site_lens.models.device import memory_of
from site_lens.models.gguf_source import GET_GGUF, SMOLLM2_DIGEST, other_smollm2
from site_lens.models.identity import WEIGHTS_FROM
from site_lens.models.plain_transformers import refuse_unless_decoder
from site_lens.records.assets import SMOLLM2
from site_lens.records.errors import InputError, StorageError
from site_lens.records.hashing import digest_file
from site_lens.records.library_errors import translated_errors
from site_lens.records.limited_io import is_folder, is_there
from site_lens.records.progress import progress_bar

CONVERSIONS = "gguf-1"
"""Folder of the cache; its number rises when files are converted otherwise."""


def cache_folder() -> Path:
    """Return the user's cache folder of the toolkit: in XDG_CACHE_HOME, or in ~/.cache."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".cache") / "site_lens"


def as_folder_or_id(source: str, name: str, *, gguf_file: str | None, revision: str | None) -> str:
    """Return a source of `source_of` as a folder or a hub id without GGUF, converted if need be.

    Raises:
        InputError: See `converted`.
        StorageError: See `converted`.
    """
    if is_folder(source) or not (is_there(source) or gguf_file):
        return source
    if not is_there(source):
        from huggingface_hub import hf_hub_download

        source = hf_hub_download(source, str(gguf_file), revision=revision)
    return str(converted(Path(source), name))


def converted(path: Path, name: str) -> Path:
    """Return the folder with the dequantised weights of a GGUF file, made once under the digest of its content.

    Another process that converts the same file is waited for. What an interruption leaves behind is no such folder.

    Args:
        path: The GGUF file.
        name: What the model is called.

    Raises:
        InputError: The file is damaged, its architecture is unknown to transformers, its weights do not fit into memory
            or into float16, or the package gguf is missing.
        StorageError: The cache cannot be written.
    """
    from filelock import FileLock

    digest = digest_file(path)
    if name == SMOLLM2 and digest != SMOLLM2_DIGEST:
        raise other_smollm2()
    folder = cache_folder() / CONVERSIONS / digest
    if not folder.is_dir():
        with _cache_errors(folder.parent):
            folder.parent.mkdir(parents=True, exist_ok=True)
            held = FileLock(folder.with_suffix(".lock")).acquire()
        with held:
            if not folder.is_dir():
                _convert(path, folder, name)
    return folder


@contextmanager
def _cache_errors(folder: Path) -> Iterator[None]:
    """Turn errors of the system and of safetensors, raised while a model is written, into a StorageError."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StorageError(
            f"cannot write a converted model to {folder}: {reason}; make room, or name another folder in XDG_CACHE_HOME"
        ) from error


def _convert(path: Path, folder: Path, name: str) -> None:
    import transformers

    if find_spec("gguf") is None:
        raise InputError(f"{name!r} is a GGUF file, which needs the package gguf: {GET_GGUF}")
    formats = _formats(path, name)
    dtype = _number_format(formats)
    with progress_bar(4, f"convert {name} once", unit="step", progress=None) as bar:
        config = transformers.AutoConfig.from_pretrained(path.parent, gguf_file=path.name)
        refuse_unless_decoder(config, name)
        with torch.device("meta"):
            shapes = transformers.AutoModelForCausalLM.from_config(config)
        refuse_too_large(shapes, name, dtype, None, memory_of(torch.device("cpu")))
        n_bytes, n_free = dtype.itemsize * shapes.num_parameters(), shutil.disk_usage(folder.parent).free
        with _cache_errors(folder.parent):
            if n_bytes > n_free:
                raise OSError(f"{n_bytes / 2**20:,.0f} MiB are needed, {n_free / 2**20:,.0f} are free")
        bar.update()
        tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        bar.update()
        # Versions of transformers that can keep blocks packed would do so where they find a kernel.
        unpack = {"quantization_config": q(dequantize=True)} if (q := getattr(transformers, "GgufConfig", None)) else {}
        model = from_checkpoint(name, str(path.parent), config, gguf_file=path.name, dtype=dtype, **unpack)
        if not all(weight.isfinite().all() for weight in model.parameters()):
            raise InputError(f"cannot load a model from {name!r}: not all of its weights are finite as {dtype}")
        bar.update()
        is_quantised = not set(formats) <= {"F64", "F32", "F16", "BF16"}
        weights_from = f"GGUF ({', '.join(formats)}){', dequantised' if is_quantised else ''}"
        setattr(model.config, WEIGHTS_FROM, weights_from)
        partial = folder.with_suffix(".partial")
        with _cache_errors(folder.parent):
            shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
            try:
                model.save_pretrained(partial)
                tokenizer.save_pretrained(partial)
                partial.rename(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        bar.update()


def _formats(path: Path, name: str) -> tuple[str, ...]:
    """Return the number formats of the weights, such as Q4_1, the one with the most weights first.

    Raises:
        InputError: It is no GGUF file, is damaged, or ends too early.
    """
    from gguf import GGUFReader

    class Reader(GGUFReader):
        """A reader for which a count beyond the end of the file is an error, and not an endless loop."""

        def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> Any:
            found = super()._get(offset, dtype, count, override_order)
            if len(found) < count:
                raise ValueError(f"it ends at byte {len(self.data):,}, before what its header names")
            return found

    failed = f"cannot load a model from {name!r}: it is no GGUF file, or a part of it is missing"
    with translated_errors(lambda reason: InputError(f"{failed} ({reason}); get the whole file again")):
        tensors = Reader(path).tensors
    n_weights = Counter[str]()
    for tensor in tensors:
        n_weights[tensor.tensor_type.name] += tensor.n_elements
    return tuple(name for name, _ in n_weights.most_common())


def _number_format(formats: tuple[str, ...]) -> torch.dtype:
    """Return the format that weights are kept in: float16 where any is quantised, else the widest that holds them."""
    if set(formats) <= {"F64", "F32"}:
        return torch.float32
    return torch.bfloat16 if set(formats) <= {"BF16", "F32"} else torch.float16
