"""Affine edits of heads: a fit as plain tensors, for programs that have never heard of site_lens."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np

from site_lens.records.base import Float32
from site_lens.records.errors import InputError, MismatchError
from site_lens.records.outputs import write_file
from site_lens.site.fit import Pair, SiteFit, gates_and_embedding

FORMULA = (
    "z[h] = scale[h] * z[h] + bias[h], at the input of the attention's output projection, at the last prompt token"
)


def affine_edits(fit: SiteFit | Pair) -> dict[str, Float32]:
    r"""Affine edits of heads that do what a fit does: a scale and a bias per head, as in vLLM's per-head scaling.

    In every layer, at the input of the attention's output projection (`o_proj` of Llama, `c_proj` of GPT-2, ...), and
    at the last prompt token alone, once, when the prompt is read:

        z'[h] = scale[h] * z[h] + bias[h]      scale[h] = 1 - alpha[h]      bias[h] = alpha[h] * t[h]

    z[h] is the output of head h: numbers h * d_head to (h + 1) * d_head of the projection's input. t is the task
    embedding. Under the additive mix rule scale is 1. Heads that are closed have scale 1 and bias 0.

    Args:
        fit: A fit, such as `path.sparse` of a head path, or gates and an embedding that belong together.

    Returns:
        `layers.{layer}.scale`, (head), and `layers.{layer}.bias`, (head d_head), of every layer that has heads.

    Raises:
        InputError: The gates mix by the rule `norm_preserving`, which is not affine.
        MismatchError: The fit was made on folded weights, whose z is not that of the checkpoint's own weights.

    Reference: arXiv 2507.20906, eq. 4.

    Example:
        >>> import site_lens as sl
        >>> model, tasks = sl.load_model("demo"), sl.load_tasks("demo", ["antonym"])
        >>> embedding = sl.capture_embeddings(model, tasks, n_prompts=4, n_shots=3)["antonym"]
        >>> gates = sl.HeadGates.of(sl.HeadSet.of(model.grid, ["L2H0", "L0H5"]))
        >>> state = sl.affine_edits((gates, embedding))
        >>> state["layers.2.scale"].tolist(), state["layers.2.bias"].shape
        ([0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], (8, 32))
    """
    gates, embedding = gates_and_embedding(fit)
    model = embedding.model
    if gates.mix == "norm_preserving":
        raise InputError(
            f"the gates of {embedding.task!r} mix by the rule norm_preserving, which no scale and bias can stand for; "
            "fit with another rule"
        )
    if model.processing != "raw":
        raise MismatchError(
            f"the fit of {embedding.task!r} was made on {model.processing} weights, whose z differs from that of the "
            "checkpoint; fit it on sl.load_model(...), which takes the weights as they are"
        )
    state: dict[str, Float32] = {}
    for layer, (n_heads, width) in enumerate(zip(model.grid.heads_per_layer, model.widths, strict=True)):
        if n_heads:
            alpha = gates.values[layer, :n_heads]
            state[f"layers.{layer}.scale"] = np.ones_like(alpha) if gates.mix == "additive" else 1 - alpha
            state[f"layers.{layer}.bias"] = alpha[:, None] * embedding.mean[layer, :n_heads, :width]
    return state


def write_affine_edits(fit: SiteFit | Pair, path: str | Path, *, replace: bool = False) -> Path:
    """Write the affine edits of a fit as a PyTorch state to `.safetensors` or `.pt`; returns the path.

    Either holds the tensors of `affine_edits` and nothing that could run code: read them with
    `safetensors.torch.load_file(path)` or `torch.load(path, weights_only=True)`. A `.safetensors` file says formula,
    task and model, too, as JSON in its metadata under `site_lens`.

    Args:
        fit: See `affine_edits`.
        path: The file; its suffix says which format.
        replace: Write over any file that is there.

    Raises:
        InputError: The suffix is another one, or the edit is not affine.
        MismatchError: The fit was made on folded weights.
        StorageError: The folder cannot be written, or there is another file and `replace` is not given.
    """
    state, suffix = affine_edits(fit), Path(path).suffix.lower()
    if suffix == ".safetensors":
        from safetensors.numpy import save

        return write_file(save(state, metadata=_metadata(fit)), path, replace=replace)
    if suffix != ".pt":
        raise InputError(f"{path} ends neither in .safetensors nor in .pt; name it so that its format is known")
    import torch

    content = BytesIO()
    torch.save({name: torch.from_numpy(array) for name, array in state.items()}, content)
    return write_file(content.getvalue(), path, replace=replace)


def _metadata(fit: SiteFit | Pair) -> dict[str, str]:
    """Return what a file says of itself: one entry, since the order of several is not always the same."""
    _, embedding = gates_and_embedding(fit)
    model = embedding.model
    said = {
        "kind": "affine_head_edits",
        "formula": FORMULA,
        "task": embedding.task,
        "model": model.short_name,
        "architecture": model.architecture,
        "heads_per_layer": model.grid.heads_per_layer,
        "weights_digest": model.weights_digest,
        "bos": model.bos,
    }
    return {"site_lens": json.dumps(said)}
