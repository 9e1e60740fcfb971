"""Where groups of jobs run: the seam, and this process. Scheduling is left to Ray and Slurm."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from site_lens.sweeps.jobs import JobGroup
from site_lens.sweeps.worker import GroupOutcome, Worker


@dataclass(frozen=True, slots=True)
class Resources:
    """What an engine has to offer."""

    n_workers: int | None
    """Groups of one model that can run at once; None where only the scheduler knows."""
    what: str
    """In words."""


@dataclass(frozen=True)
class Completed:
    """A group that an engine has done with."""

    group: JobGroup
    outcome: GroupOutcome | None
    """None where the worker died."""
    reason: str = ""
    """What is known of its death."""


class Engine(Protocol):
    """Runs a worker on groups of jobs."""

    def resources(self) -> Resources:
        """Say what there is to run on."""

    def submit(self, worker: Worker, groups: Sequence[JobGroup]) -> None:
        """Take groups of jobs on."""

    def as_completed(self) -> Iterator[Completed]:
        """Yield the groups taken on as they are done, until none is left."""

    def cancel(self) -> None:
        """Give up what is not done."""


class InProcess:
    """Runs one group after the other in this process."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Worker, JobGroup]] = deque()

    def resources(self) -> Resources:
        """Say what there is to run on: this process."""
        return Resources(1, "this process")

    def submit(self, worker: Worker, groups: Sequence[JobGroup]) -> None:
        """Take groups of jobs on; they run when they are asked for."""
        self._waiting.extend((worker, group) for group in groups)

    def as_completed(self) -> Iterator[Completed]:
        """Run the groups taken on, and yield each when it is done."""
        while self._waiting:
            worker, group = self._waiting.popleft()
            yield Completed(group, worker(group))

    def cancel(self) -> None:
        """Give up what has not begun."""
        self._waiting.clear()
