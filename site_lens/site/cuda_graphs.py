"""CUDA graphs of training passes: recorded once for each shape of their tensors, and replayed without Python.

A pass of one token launches a hundred small kernels a layer, and Python needs longer to launch them than the GPU to run
them. A graph launches all of them at once. It reads and writes the memory that it was recorded with, so what a pass is
given is copied there first.

Nothing in a recorded pass may wait for the GPU: read a number, or copy from or to the CPU. The first pass of each shape
is watched for that, which shows on any device. Bloom makes numbers on the CPU, for positions of ALiBi: its passes are
run as they are, with a warning.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from site_lens.models.kv_cache import Prefix

Outputs: TypeAlias = tuple[Tensor, ...]
Pass: TypeAlias = Callable[..., Outputs]
"""Takes a prefix and tensors, and returns new tensors."""

WIDTH_STEP = 16
"""Columns of prefixes are padded to multiples of this, so that few shapes come up; padding is masked."""


WAITING = frozenset(
    getattr(torch.ops.aten, name).default
    for name in (
        "_local_scalar_dense", "equal", "is_nonzero", "nonzero", "masked_select", "_unique2", "unique_consecutive",
        "bincount", "lift_fresh",
    )
) | {torch.ops.aten.repeat_interleave.Tensor}  # fmt: skip
"""Operators that wait for the GPU: they read numbers, return as many as there are, or make a tensor from Python's."""

BY_MASK = (torch.ops.aten.index.Tensor, torch.ops.aten.index_put.default, torch.ops.aten.index_put_.default)
"""Operators that take indices, and wait where these are masks."""


class WatchedForWaits(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch types it in part
    """Collects the names of operators that wait for the GPU. What operators do inside themselves it cannot see."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        has_mask = func in BY_MASK and any(index is not None and index.dtype == torch.bool for index in args[1])
        moves = func is torch.ops.aten._to_copy.default and (kwargs or {}).get("device") not in (None, args[0].device)
        copies = func is torch.ops.aten.copy_.default and args[0].device != args[1].device
        if func in WAITING or has_mask or moves or copies:
            self.seen.add(str(func))
        return func(*args, **kwargs or {})


def recorded(work: Callable[[], Outputs], stream: torch.cuda.Stream, pool: Any) -> tuple[Outputs, Callable[[], None]]:
    """Record the kernels of a function; return where its results will stand, and what replays it.

    Reference: "CUDA Graphs" in PyTorch's notes on CUDA semantics: some passes on a side stream come before the capture.

    Args:
        work: The function.
        stream: The side stream, on the device of the model.
        pool: Memory that graphs share, which are replayed one after the other.

    Raises:
        RuntimeError: An operator waited for the GPU after all.
    """
    here = torch.cuda.current_stream(stream.device)
    stream.wait_stream(here)
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    here.wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.stream(stream), torch.cuda.graph(graph, pool=pool, stream=stream):
        outputs = work()
    return outputs, graph.replay


class GraphedPass:
    """Cache of CUDA graphs of a pass, one a shape. The first pass of a shape runs as it is, the second is recorded.

    A shape whose pass cannot be recorded always runs as it is.

    Args:
        device: The device of the model.
    """

    def __init__(self, device: torch.device) -> None:
        self._where: tuple[Any, Any] = (None, None)
        """Side stream and shared memory of all graphs."""
        if device.type == "cuda":
            stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch types it in part
            self._where = stream, torch.cuda.graph_pool_handle()
        self._plain: set[object] = set()
        """Shapes that run as they are."""
        self._graphs: dict[object, tuple[Prefix, list[Tensor], Outputs, Callable[[], None]] | None] = {}
        """By shape; None after its first pass."""

    def __call__(self, work: Pass, prefix: Prefix, *tensors: Tensor) -> Outputs:
        """Return what the pass returns.

        Args:
            work: The pass, the same at every call.
            prefix: The prefix.
            tensors: What else it takes.
        """
        shape = (prefix.layout, *(tuple(tensor.shape) for tensor in tensors))
        if shape in self._plain:
            return work(prefix, *tensors)
        if shape not in self._graphs:
            with WatchedForWaits() as watched:
                found = work(prefix, *tensors)
            self._graphs[shape] = None
            if watched.seen:
                self._give_up(shape, f"its code calls {', '.join(sorted(watched.seen))}")
            return found
        graph = self._graphs[shape]
        if graph is None:
            own = prefix.copied(), [tensor.clone() for tensor in tensors]
            try:
                graph = *own, *recorded(partial(work, own[0], *own[1]), *self._where)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                self._give_up(shape, str(error))
                return work(prefix, *tensors)
            self._graphs[shape] = graph
        own_prefix, own_tensors, outputs, replay = graph
        own_prefix.fill(prefix)
        torch._foreach_copy_(own_tensors, list(tensors))
        replay()
        return tuple(output.clone() for output in outputs)

    def _give_up(self, shape: object, reason: str) -> None:
        self._plain.add(shape)
        warnings.warn(
            f"CUDA graph left out: this training pass cannot be recorded, and runs as it is ({reason})", stacklevel=3
        )
