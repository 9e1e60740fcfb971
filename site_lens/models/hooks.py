"""Hooks on TransformerLens hook points that are always removed again."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from site_lens.models.protocol import Edit
from site_lens.records.errors import InputError

Function = Callable[[Tensor], Tensor | None]
"""What hangs on a hook point: takes what passes, (row pos ...), and returns what replaces it, if anything does."""


class StopForward(Exception):  # noqa: N818  # a signal, not an error
    """Raised inside a hook to end a forward pass whose rest is not needed."""


@contextmanager
def hooked(functions: Iterable[tuple[Any, Function]]) -> Iterator[None]:
    """Hang functions on hook points for as long as the context lasts.

    `HookPoint.add_hook` is used instead of `model.hooks(...)`, which rebuilds the table of all hook names at each call:
    2 ms a step on the demo model, a sixth of an optimisation step. Only the handles added here are removed.

    Args:
        functions: Hook points and what to do with what passes them, in order.
    """
    added = []
    try:
        for point, function in functions:
            point.add_hook(lambda passing, hook, function=function: function(passing))
            added.append((point, point.fwd_hooks[-1]))
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

    def change(whole: Tensor) -> Tensor:
        width, column = whole.shape[1], edit.column
        if column is not None:
            if not -width <= column < width:
                raise InputError(f"an edit of column {column} of a call of {width} tokens")
            column %= width
        part = whole if column is None else whole[:, column]
        old = split_heads(part, n_heads) if edit.hook_point == "z" else part
        new = edit.change(old.float())
        if new.shape != old.shape:
            axes = ("row pos " if column is None else "row ") + ("head d_head" if edit.hook_point == "z" else "d_model")
            raise InputError(
                f"an edit of layer {edit.layer} returned shape {tuple(new.shape)}; {edit.hook_point} here is "
                f"({axes}) = {tuple(old.shape)}"
            )
        new = new.to(whole.dtype).reshape(part.shape)
        if column is None:
            return new
        new = new[:, None]
        return new if whole.shape[1] == 1 else torch.cat([whole[:, :column], new, whole[:, column + 1 :]], dim=1)

    return change


def stop(passing: Tensor) -> None:
    """End the forward pass here."""
    raise StopForward
