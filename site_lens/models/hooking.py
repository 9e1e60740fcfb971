"""Hooks on TransformerLens hook points that are always removed again."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from site_lens.core.errors import InputError
from site_lens.models.protocol import Edit

ZFunction = Callable[[Tensor], Tensor | None]
"""What hangs on a hook point: takes z (row pos head d_head), returns what replaces it, if anything does."""


class StopForward(Exception):  # noqa: N818  # a signal, not an error
    """Raised inside a hook to end a forward pass whose rest is not needed."""


@contextmanager
def hooked(points: Mapping[int, Any], functions: Iterable[tuple[int, ZFunction]]) -> Iterator[None]:
    """Hang a function on the hook points of some layers for as long as the context lasts.

    `HookPoint.add_hook` is used instead of `model.hooks(...)`, which rebuilds the table of all hook names at each call:
    2 ms a step on the demo model, a sixth of an optimisation step. Only the handles added here are removed.

    Args:
        points: The z hook point of each layer.
        functions: Layers and what to do with their z, in order.
    """
    added = []
    try:
        for layer, function in functions:
            points[layer].add_hook(lambda z, hook, function=function: function(z))
            added.append((points[layer], points[layer].fwd_hooks[-1]))
        yield
    finally:
        for point, handle in added:
            handle.hook.remove()
            point.fwd_hooks.remove(handle)


def split_heads(z: Tensor, n_heads: int) -> Tensor:
    """Bring the last two dimensions of z into (head d_head).

    They are so already, but for multi-head latent attention: TransformerLens divides its width by the wrong d_head.
    """
    return z if z.shape[-2] == n_heads else z.reshape(*z.shape[:-2], n_heads, -1)


def editing(edit: Edit, n_heads: int) -> Callable[[Tensor], Tensor]:
    """Turn an edit into a hook: slice its column out, change it in float32, put it back out of place."""

    def change(z: Tensor) -> Tensor:
        column = edit.column % z.shape[1]
        old = split_heads(z[:, column], n_heads)
        new = edit.change(old.float())
        if new.shape != old.shape:
            raise InputError(
                f"an edit of layer {edit.layer} returned shape {tuple(new.shape)}; z here is (row head d_head) = "
                f"{tuple(old.shape)}"
            )
        new = new.to(z.dtype).reshape(z[:, :1].shape)
        return new if z.shape[1] == 1 else torch.cat([z[:, :column], new, z[:, column + 1 :]], dim=1)

    return change


def stop(z: Tensor) -> None:
    """End the forward pass here."""
    raise StopForward
