"""Keys and values in two parts: those of a frozen prefix, and those of the new tokens behind it.

A step of a fit runs one token behind a prefix that never changes. Concatenating keys and values copies the prefix, once
more for grouped heads, and sends a gradient back through the copies. Here both stay where they are: scores are two
products, joined before the softmax, and the weighted sum of values is two products, added. Rows that share a prefix
share its keys, and query heads that share a key head share it.

`TwoPart` is a tensor to the code of a model: it intercepts the calls by which attention code turns keys and values into
scores and outputs. Whatever else a model does with it gets the concatenated tensor, which is exact and slower;
`watching_joins` tells of it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

IN_ORDER = (0, 1, 2, 3)
"""Order of the axes (row head pos d_head)."""

SHARED = (slice(None), slice(None), None, slice(None), slice(None))
"""Index by which `repeat_kv` of transformers makes room for the query heads that share a key head."""

_watching: list[set[str]] = []


@contextmanager
def watching_joins() -> Iterator[set[str]]:
    """Collect the names of the functions that were given concatenated keys or values, because they know no parts."""
    seen: set[str] = set()
    _watching.append(seen)
    try:
        yield seen
    finally:
        _watching[:] = [each for each in _watching if each is not seen]  # `remove` would take an equal one


class TwoPart(Tensor):
    """Keys or values (row head pos d_head), in two parts along `pos`.

    Args:
        frozen: Those of the prefixes, (distinct head pos d_head), without gradient.
        tail: Those of the tokens behind them, (row head pos d_head); none yet when None.
        times: How many times over the rows of `frozen` stand below each other.
        groups: Query heads for each head: each head stands so often in a row.
        order: Order in which the axes are seen.
        unsqueezed: Whether the query heads of a head have an axis of their own, (row head group pos d_head).
    """

    frozen: Tensor
    tail: Tensor | None
    times: int
    groups: int
    order: tuple[int, ...]
    unsqueezed: bool

    @staticmethod
    def __new__(  # noqa: D102  # the class says it
        cls: type["TwoPart"],
        frozen: Tensor,
        tail: Tensor | None = None,
        *,
        times: int = 1,
        groups: int = 1,
        order: tuple[int, ...] = IN_ORDER,
        unsqueezed: bool = False,
    ) -> "TwoPart":
        rows, heads, width, d_head = frozen.shape
        width += 0 if tail is None else tail.shape[2]
        if unsqueezed:
            shape = [rows * times, heads, groups, width, d_head]
        else:
            whole = (rows * times, heads * groups, width, d_head)
            shape = [whole[axis] for axis in order]
        made = Tensor._make_wrapper_subclass(cls, shape, dtype=frozen.dtype, device=frozen.device)
        vars(made).update(frozen=frozen, tail=tail, times=times, groups=groups, order=order, unsqueezed=unsqueezed)
        return made

    def changed(self, **changes: Any) -> "TwoPart":
        """Return it with some arguments changed."""
        return TwoPart(**(vars(self) | changes))

    def copied(self) -> "TwoPart":
        """Return it in memory of its own."""
        return self.changed(frozen=self.frozen.clone(), tail=None if self.tail is None else self.tail.clone())

    @property
    def is_plain(self) -> bool:
        """Whether it is seen as (row head pos d_head), with the heads that the model computed."""
        return self.order == IN_ORDER and self.groups == 1 and not self.unsqueezed

    @property
    def nbytes(self) -> int:  # type: ignore[override]  # which torch declares writeable
        """Bytes that it holds in memory."""
        return self.frozen.nbytes + (0 if self.tail is None else self.tail.nbytes)

    def joined(self) -> Tensor:
        """Return the concatenated tensor."""
        whole = self.frozen.repeat(self.times, 1, 1, 1) if self.times > 1 else self.frozen
        if self.tail is not None:
            whole = torch.cat([whole, self.tail], dim=2)
        if self.unsqueezed:
            return whole[SHARED].expand(self.shape)
        return (whole.repeat_interleave(self.groups, 1) if self.groups > 1 else whole).permute(self.order)

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _DESCRIBING:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs or {})
        known = _KNOWN.get(func) if (kwargs or {}).keys() <= _NAMED else None
        found = NotImplemented if known is None else known(*args, **kwargs or {})
        if found is not NotImplemented:
            return found
        return cls.__torch_dispatch__(func, types, args, kwargs)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch declares what it calls as a class method otherwise
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function that knows no parts with the concatenated tensor."""
        for seen in _watching:
            seen.add(getattr(func, "__name__", str(func)))
        args, kwargs = tree_map(joined, (args, kwargs or {}))
        return func(*args, **kwargs)


def joined(value: Any) -> Any:
    """Return the concatenated tensor of a `TwoPart`; any other value as it is."""
    return value.joined() if isinstance(value, TwoPart) else value


def _product(one: Tensor, part: Tensor) -> Tensor:
    """Multiply (row head a b) by (distinct kv_head b c), of which rows and heads share those of one place."""
    rows, heads, a, b = one.shape
    n_distinct, kv_heads, _, c = part.shape
    times, groups = rows // n_distinct, heads // kv_heads
    if times == 1:
        return one @ part if groups == 1 else (one.reshape(rows, kv_heads, -1, b) @ part).view(rows, heads, a, c)
    together = one.reshape(times, n_distinct, kv_heads, groups * a, b).permute(1, 2, 0, 3, 4)
    product = together.reshape(n_distinct, kv_heads, -1, b) @ part
    apart = product.view(n_distinct, kv_heads, times, groups * a, c).permute(2, 0, 1, 3, 4)
    return apart.reshape(rows, heads, a, c)


def _matmul(one: Tensor, other: Tensor) -> Any:
    """Multiply queries by keys, or attention by values."""
    if not isinstance(other, TwoPart) or isinstance(one, TwoPart) or other.unsqueezed or other.tail is None:
        return NotImplemented
    if one.ndim != 4 or one.shape[:2] != other.shape[:2]:
        return NotImplemented
    if other.order == (0, 1, 3, 2):
        parts = [_product(one, part.transpose(2, 3)) for part in (other.frozen, other.tail)]
        return torch.cat(parts, dim=-1)
    if other.order == IN_ORDER:
        frozen, tail = torch.split(one, [other.frozen.shape[2], other.tail.shape[2]], dim=-1)
        return _product(frozen, other.frozen) + _product(tail, other.tail)
    return NotImplemented


def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Any:
    """Put new tokens behind a prefix."""
    first, *rest = tensors
    if not isinstance(first, TwoPart) or not rest or not first.is_plain or dim not in (-2, 2):
        return NotImplemented
    if any(isinstance(part, TwoPart) or part.shape[0] != first.shape[0] for part in rest):
        return NotImplemented
    tail = torch.cat([*([] if first.tail is None else [first.tail]), *rest], dim=2)
    dtype = torch.promote_types(first.dtype, tail.dtype)
    return first.changed(frozen=first.frozen.to(dtype), tail=tail.to(dtype))


def _getitem(keys: TwoPart, index: Any) -> Any:
    """Make room for grouped query heads, or take the last columns, as a sliding window does."""
    if not isinstance(keys, TwoPart) or not keys.is_plain or not isinstance(index, tuple):
        return NotImplemented
    if not all(part is None or isinstance(part, slice) for part in index):  # arrays are not compared as a whole
        return NotImplemented
    if index == SHARED:
        return keys.changed(unsqueezed=True)
    start = index[2].start if len(index) == 4 and index[2] is not None else None
    if start is None or start >= 0 or index != (slice(None), slice(None), slice(start, None), slice(None)):
        return NotImplemented
    n_frozen = min(-start, keys.shape[2]) - (0 if keys.tail is None else keys.tail.shape[2])
    return NotImplemented if n_frozen < 0 else keys.changed(frozen=keys.frozen[:, :, keys.frozen.shape[2] - n_frozen :])


def _sizes(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(sizes[0] if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes)


def _expand(keys: TwoPart, *sizes: Any) -> Any:
    if not keys.unsqueezed or keys.groups != 1:
        return NotImplemented
    wanted, shape = _sizes(sizes), tuple(keys.shape)
    if len(wanted) != 5 or any(n not in (-1, shape[i]) for i, n in enumerate(wanted) if i != 2):
        return NotImplemented
    return keys.changed(groups=wanted[2])


def _reshape(keys: TwoPart, *sizes: Any) -> Any:
    if not isinstance(keys, TwoPart) or not keys.unsqueezed:
        return NotImplemented
    merged = keys.changed(unsqueezed=False)
    return merged if _sizes(sizes) == tuple(merged.shape) else NotImplemented


def _permute(keys: TwoPart, *dims: Any) -> Any:
    if keys.unsqueezed:
        return NotImplemented
    return keys.changed(order=tuple(keys.order[dim] for dim in _sizes(dims)))


def _transpose(keys: TwoPart, dim0: int, dim1: int) -> Any:
    dims = list(range(keys.ndim))
    dims[dim0], dims[dim1] = dims[dim1], dims[dim0]
    return _permute(keys, *dims)


def _repeat_interleave(keys: TwoPart, repeats: Any, dim: int | None = None) -> Any:
    repeats_heads = isinstance(repeats, int) and dim is not None and not keys.unsqueezed and keys.order[dim] == 1
    return keys.changed(groups=repeats) if repeats_heads and keys.groups == 1 else NotImplemented


_KNOWN: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.matmul: _matmul, Tensor.matmul: _matmul, Tensor.__matmul__: _matmul, torch.cat: _cat,
    Tensor.__getitem__: _getitem, Tensor.expand: _expand, Tensor.reshape: _reshape, torch.reshape: _reshape,
    Tensor.permute: _permute, torch.permute: _permute, Tensor.transpose: _transpose, torch.transpose: _transpose,
    Tensor.repeat_interleave: _repeat_interleave, torch.repeat_interleave: _repeat_interleave,
}  # fmt: skip
"""What attention code does with keys and values, and how two parts do the same; NotImplemented where they cannot."""

_NAMED = {"dim", "repeats"}
"""Arguments that these know by name; a call that names others goes to the concatenated tensor."""

_DESCRIBING = {
    *(getattr(Tensor, name).__get__ for name in ("shape", "dtype", "device", "ndim", "requires_grad", "is_cuda")),
    Tensor.size, Tensor.dim, Tensor.numel, Tensor.is_floating_point, torch.is_floating_point,
}  # fmt: skip
"""What asks only how the tensor looks."""
