"""Edits of activations, and the hooks that carry them out; hooks are always removed again."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from site_lens.records.errors import InputError

HookPoint = Literal["z", "attn_out", "mlp_out", "residual"]
"""Where in a layer an activation is read or changed: `z`, the heads' outputs before W_O, (head d_head); `attn_out` and
`mlp_out`, what the two blocks add to the residual stream, and `residual`, the stream behind the layer, (d_model)."""

HOOK_NAMES: dict[str, str] = {
    "z": "blocks.{layer}.attn.hook_z",
    "attn_out": "blocks.{layer}.hook_attn_out",
    "mlp_out": "blocks.{layer}.hook_mlp_out",
    "residual": "blocks.{layer}.hook_resid_post",
}
"""Names of the hook points in TransformerLens."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of one layer at one column, or at all columns, of the tokens that a call passes through the model.

    `change` takes and returns (row head d_head) at z and (row d_model) at the other hook points, with a `pos` axis
    behind `row` where all columns are changed; float32. It must be pure. The host slices the column out, casts, and
    puts the result back out of place, which keeps autograd intact. Where the layers' heads differ in width, d_head is
    that of the widest: narrower z is padded with zeros, and what is returned there is dropped.
    """

    layer: int
    change: Callable[[Tensor], Tensor]
    column: int | None = -1
    """Column of the tokens of the call; None changes all of them, padding included."""
    hook_point: HookPoint = "z"


def z_edits(
    heads_per_layer: Sequence[int], change: Callable[[int, Tensor], Tensor], column: int | None = -1
) -> list[Edit]:
    """Return an edit of z of every layer with heads; `change` takes the layer, too."""
    return [Edit(layer, partial(change, layer), column) for layer, n in enumerate(heads_per_layer) if n]


Function = Callable[[Tensor], Tensor | None]
"""Function on a hook point: takes the activation, (row pos ...), and returns its replacement, if any."""


class StopForward(Exception):  # noqa: N818  # a signal, not an error
    """Signal raised inside a hook to end a forward pass whose rest is not needed."""


@contextmanager
def hooked(functions: Iterable[tuple[Any, Function]]) -> Iterator[None]:
    """Add functions to hook points for as long as the context lasts.

    `HookPoint.add_hook` is used instead of `model.hooks(...)`, which rebuilds the table of all hook names at each call:
    2 ms a step on the demo model, a sixth of an optimisation step. Only the handles added here are removed.

    Args:
        functions: Hook points and the function of each, in order.
    """
    added = []
    try:
        for point, function in functions:
            point.add_hook(lambda activation, hook, function=function: function(activation))
            added.append((point, point.fwd_hooks[-1]))
        yield
    finally:
        for point, handle in added:
            handle.hook.remove()
            point.fwd_hooks.remove(handle)


def split_heads(z: Tensor, n_heads: int) -> Tensor:
    """Reshape the last two dimensions of z to (head d_head).

    They are so already, but for multi-head latent attention: TransformerLens divides its width by the wrong d_head.
    """
    if z.shape[-2] == n_heads:
        return z
    return z.reshape(*z.shape[:-2], n_heads, -1)


def edit_hook(edit: Edit, n_heads: int, d_head: int) -> Callable[[Tensor], Tensor]:
    """Return the hook of an edit: slice its column out, change it in float32, put it back out of place.

    Args:
        edit: The edit.
        n_heads: Heads of its layer.
        d_head: Width of the model's widest heads.
    """

    def change(whole: Tensor) -> Tensor:
        width, column = whole.shape[1], edit.column
        if column is not None:
            if not -width <= column < width:
                raise InputError(f"an edit of column {column} of a call of {width} tokens")
            column %= width
        part = own = old = whole if column is None else whole[:, column]
        if edit.hook_point == "z":
            own = split_heads(part, n_heads)
            old = own if own.shape[-1] == d_head else F.pad(own, (0, d_head - own.shape[-1]))
        new = edit.change(old.float())
        if new.shape != old.shape:
            axes = ("row pos " if column is None else "row ") + ("head d_head" if edit.hook_point == "z" else "d_model")
            raise InputError(
                f"an edit of layer {edit.layer} returned shape {tuple(new.shape)}; {edit.hook_point} here is "
                f"({axes}) = {tuple(old.shape)}"
            )
        new = new[..., : own.shape[-1]].to(whole.dtype).reshape(part.shape)
        if column is None:
            return new
        new = new[:, None]
        return new if width == 1 else torch.cat([whole[:, :column], new, whole[:, column + 1 :]], dim=1)

    return change
