"""The `.pt` files of the published SITE code, read into records and written back.

What SNU-DRL/Soft_Injection saves (`eval.py`, `utils.py`), both with `torch.save` and a single tensor each:

- `<activation_path>/<task>.pt`: the task embedding, (layer head 1 d_head), the mean input of each `o_proj` at the last
  token, on the device and in the number format that the model ran in.
- `<alphas_path>`: (layer head), alpha in [0, 1]. The parameter before the sigmoid is what its optimiser holds;
  `optimize_head_selection` returns, and `eval.py` saves, its sigmoid.

The files say nothing of model, task, M, N, template or rows, and no spread is kept. What a record needs of that is
handed in; what nobody knows (the rows whose labels were shown, the spread, a seed: the code has none) is left empty, 0
or -1.
"""

import math
import warnings
import zipfile
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch

from site_lens.activations.embedding import NO_SEED, TaskEmbedding
from site_lens.heads.head_set import HeadGrid
from site_lens.heads.scores import HeadGates
from site_lens.models.identity import ModelIdentity
from site_lens.records.base import Float32
from site_lens.records.errors import InputError, MismatchError, StorageError
from site_lens.records.hashing import digest_json
from site_lens.records.library_errors import system_errors, translated_errors
from site_lens.records.limited_io import read_file
from site_lens.records.outputs import write_file
from site_lens.tasks.prompt_template import PromptTemplate

OVERHEAD_BYTES = 2**20
"""Bytes that a file may hold beyond its numbers; `torch.save` adds a few kB."""


def read_published_embedding(
    path: str | Path,
    model: ModelIdentity,
    *,
    task: str,
    n_prompts: int = 50,
    n_shots: int = 10,
    template: PromptTemplate | None = None,
) -> TaskEmbedding:
    """Read the task embedding that the published code saved.

    Its spread is unknown and stands as 0, its labelled rows are unknown and stand as none, its seed as -1.

    Args:
        path: The file, `<task>.pt`.
        model: The model that it was made on, as it is here: `sl.load_model(...).identity`. The published code reads the
            checkpoint's own weights, so they must be raw.
        task: Name of the task.
        n_prompts: M (50: the published default).
        n_shots: N (10: the published default).
        template: The template of the prompts; the paper's when None.

    Raises:
        StorageError: The file cannot be read, is no tensor, or would run code when it is unpickled.
        MismatchError: The tensor is not (layer head 1 d_head) of this model, or the model's value biases are folded.
    """
    if model.processing != "raw":
        raise MismatchError(f"published embeddings are of raw weights, {model.name} has {model.processing} ones")
    mean = _read(path, (*model.grid.shape, 1, model.d_head), "(layer head 1 d_head)")[:, :, 0]
    return TaskEmbedding(
        task=task,
        mean=mean,
        spread=np.zeros_like(mean),
        n_prompts=n_prompts,
        n_shots=n_shots,
        seed=NO_SEED,
        template=template or PromptTemplate(),
        task_digest=digest_json(["published", task]),
        labelled_rows=(),
        model=model,
    )


def read_published_alphas(
    path: str | Path, grid: HeadGrid, *, task: str | None = None, before_sigmoid: bool = False
) -> HeadGates:
    """Read the alphas that the published code saved.

    Args:
        path: The file.
        grid: The heads of the model that they were learned on.
        task: Name of the task; None for alphas of several tasks.
        before_sigmoid: Whether the file holds the parameter before the sigmoid, as files that were saved by changed
            code may; those of the published code hold alpha.

    Raises:
        StorageError: The file cannot be read, is no tensor, or would run code when it is unpickled.
        MismatchError: The tensor is not (layer head) of this grid.
        InputError: A number lies outside [0, 1] and is said to be an alpha.
    """
    values = _read(path, grid.shape, "(layer head)")
    if before_sigmoid:
        values = torch.from_numpy(values.copy()).sigmoid().numpy()
    elif values.min() < 0 or values.max() > 1:
        raise InputError(
            f"{path} holds numbers from {values.min():g} to {values.max():g}, but alphas lie in [0, 1]; if it holds "
            "the parameter before the sigmoid, pass before_sigmoid=True"
        )
    return HeadGates(grid=grid, values=values * grid.mask, selector="site", task=task)


def write_published_embedding(embedding: TaskEmbedding, path: str | Path, *, replace: bool = False) -> Path:
    """Write an embedding as the published code does, (layer head 1 d_head) in float32; returns the path.

    Raises:
        StorageError: The folder cannot be written, or there is another file and `replace` is not given.
    """
    return _write(embedding.mean[:, :, None], path, replace)


def write_published_alphas(gates: HeadGates, path: str | Path, *, replace: bool = False) -> Path:
    """Write alphas as the published code does, (layer head) in float32; returns the path.

    Raises:
        InputError: They mix by another rule than the published code, whose files name none.
        StorageError: The folder cannot be written, or there is another file and `replace` is not given.
    """
    if gates.mix != "convex":
        raise InputError(
            f"published alphas mix convexly, and these gates by the rule {gates.mix}; save them with sl.save"
        )
    return _write(gates.values, path, replace)


def _read(path: str | Path, shape: tuple[int, ...], axes: str) -> Float32:
    """Read the one tensor of a file of `torch.save` without running any code that the file may hold."""
    most = 8 * math.prod(shape) + OVERHEAD_BYTES  # 8 bytes: float64, the widest format there is
    with system_errors(f"read {path}", "; check the path"):
        content = read_file(path, most)
    damaged = f"{path} is truncated or not a file of torch.save"
    with translated_errors(lambda reason: StorageError(f"{damaged} ({reason[:80]})")), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about classes of its own that it prints in its complaint
        with zipfile.ZipFile(BytesIO(content)) as archive:
            n_bytes = sum(record.file_size for record in archive.infolist())
        if n_bytes > most:
            raise StorageError(f"{path} holds {n_bytes} bytes unpacked; {axes} = {shape} take at most {most}")
        try:
            tensor = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            raise StorageError(f"refusing to unpickle {path}, which could execute code") from error
    if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point() or tensor.layout != torch.strided:
        raise StorageError(f"{path} holds a {type(tensor).__name__}, not a tensor of numbers with axes {axes}")
    if tuple(tensor.shape) != shape or tensor.is_meta:
        raise MismatchError(f"{path} holds a tensor of shape {tuple(tensor.shape)}; this model needs {axes} = {shape}")
    return tensor.detach().float().numpy()


def _write(values: Float32, path: str | Path, replace: bool) -> Path:
    content = BytesIO()
    torch.save(torch.from_numpy(values.copy()), content)
    return write_file(content.getvalue(), path, replace=replace)
