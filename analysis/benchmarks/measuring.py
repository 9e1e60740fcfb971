"""How a ratio is measured: both sides in turn, in one process."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One line of the table."""

    row: int
    question: str
    unit: str
    ours: float
    """Median."""
    rival: float | None = None
    """Median of what it is compared with; None for a figure that stands alone."""
    ratio: float | None = None
    """Median over pairs of rival / ours: how many times less ours needs."""
    low: float
    """Smallest ratio of a pair; smallest of ours where there is no rival."""
    high: float
    target: float | None = None
    """Smallest ratio that is good; largest value of ours that is, where there is no rival."""
    timings: dict[str, list[float]]
    """What was measured, `ours` and `rival` pair by pair, in the unit of the line."""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None:
            return None
        return self.ours <= self.target if self.ratio is None else self.ratio >= self.target

    def row_of_table(self) -> dict[str, object]:
        """What goes into the summary: all but the single timings."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "timings"}

    def row_of_timings(self) -> dict[str, object]:
        """What goes into the file beside it."""
        return {"row": self.row, "question": self.question, "unit": self.unit, **self.timings}


def compare(
    row: int, question: str, unit: str, rival: Sequence[float], ours: Sequence[float], target: float | None = None
) -> Result:
    """Put two series of measurements, taken pair by pair, into a line."""
    ratios = [theirs / mine for theirs, mine in zip(rival, ours, strict=True)]
    return Result(
        row=row,
        question=question,
        unit=unit,
        rival=statistics.median(rival),
        ours=statistics.median(ours),
        ratio=statistics.median(ratios),
        low=min(ratios),
        high=max(ratios),
        target=target,
        timings={"rival": list(rival), "ours": list(ours)},
    )


def alone(row: int, question: str, unit: str, values: Sequence[float], target: float | None = None) -> Result:
    """Put one series of measurements into a line."""
    return Result(
        row=row,
        question=question,
        unit=unit,
        ours=statistics.median(values),
        low=min(values),
        high=max(values),
        target=target,
        timings={"ours": list(values)},
    )


def seconds(call: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def interleaved(*sides: Callable[[], object], n: int, warm_up: int = 1) -> list[list[float]]:
    """Time several calls in turn, `n` times each, the order turned round from time to time; seconds by side."""
    for _ in range(warm_up):
        for side in sides:
            side()
    found: list[list[float]] = [[] for _ in sides]
    for i in range(n):
        order = range(len(sides)) if i % 2 == 0 else reversed(range(len(sides)))
        for k in order:
            found[k].append(seconds(sides[k]))
    return found


def peak_bytes(call: Callable[[], object], device: torch.device) -> int:
    """Most memory that tensors took at one time during a call, over what they took before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        call()
    events: Any = profiled.profiler.kineto_results.events()
    held = peak = 0
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak
