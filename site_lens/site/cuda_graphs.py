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
    for name in ("_local_scalar_dense", "equal", "is_nonzero", "nonzero", "masked_select", "_unique2", "lift_fresh")
)
"""Operators that wait for the GPU: they read numbers, return as many as there are, or make a tensor of Python's."""


class WatchedForWaits(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch types it in part
    """Collects the names of operators that wait for the GPU."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        by_mask = func is torch.ops.aten.index.Tensor and any(i is not None and i.dtype == torch.bool for i in args[1])
        copies = func is torch.ops.aten._to_copy.default
        moves = copies and (kwargs or {}).get("device", args[0].device) not in (None, args[0].device)
        if func in WAITING or by_mask or moves:
            self.seen.add(str(func))
        return func(*args, **kwargs or {})


def recorded(work: Callable[[], Outputs]) -> tuple[Outputs, Callable[[], None]]:
    """Record the kernels of a function; return where its results will stand, and what replays it.

    Reference: "CUDA Graphs" in PyTorch's notes on CUDA semantics: some passes on a side stream come before the capture.
    """
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = work()
    return outputs, graph.replay


class GraphedPass:
    """Cache of CUDA graphs of a pass, one a shape. The first pass of a shape runs as it is, the second is recorded.

    A pass that cannot be recorded always runs as it is.

    Args:
        work: The pass.
    """

    def __init__(self, work: Pass) -> None:
        self._work = work
        self._seen: set[object] = set()
        """Shapes of which one pass was run."""
        self._graphs: dict[object, tuple[Prefix, list[Tensor], Outputs, Callable[[], None]]] = {}
        self._waits: set[str] = set()

    def __call__(self, prefix: Prefix, *tensors: Tensor) -> Outputs:
        """Return what the pass returns.

        Args:
            prefix: The prefix.
            tensors: What else it takes.
        """
        shape = (prefix.layout, *(tuple(tensor.shape) for tensor in tensors))
        if self._waits:
            return self._work(prefix, *tensors)
        if shape not in self._seen:
            self._seen.add(shape)
            return self._first(prefix, *tensors)
        if shape not in self._graphs:
            held = prefix.copied(), [tensor.clone() for tensor in tensors]
            self._graphs[shape] = (*held, *recorded(partial(self._work, held[0], *held[1])))
        own_prefix, own_tensors, outputs, replay = self._graphs[shape]
        own_prefix.fill(prefix)
        torch._foreach_copy_(own_tensors, list(tensors))
        replay()
        return tuple(output.clone() for output in outputs)

    def _first(self, prefix: Prefix, *tensors: Tensor) -> Outputs:
        """Run the first pass of a shape, and note whether others can be recorded."""
        with WatchedForWaits() as watched:
            found = self._work(prefix, *tensors)
        self._waits = watched.seen
        if watched.seen:
            warnings.warn(
                f"CUDA graphs cannot hold a training pass of this model, whose code calls {', '.join(watched.seen)}; "
                "passes are run without",
                stacklevel=2,
            )
        return found
