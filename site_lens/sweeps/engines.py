"""Engines of a sweep: where groups of jobs run; here the seam, and the engine of this process."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

from site_lens.sweeps.jobs import JobGroup
from site_lens.sweeps.worker import GroupOutcome, Worker


@dataclass(frozen=True)
class Completed:
    """A group that an engine has finished."""

    group: JobGroup
    outcome: GroupOutcome | None
    """None if the worker died."""
    reason: str = ""
    """What is known of its death."""


class Engine(Protocol):
    """Runs a worker on groups of jobs."""

    def n_workers(self) -> int | None:
        """Return how many groups of one model can run at once; None if only the scheduler knows."""

    def run(self, worker: Worker, groups: Sequence[JobGroup]) -> Generator[Completed, None, None]:
        """Run groups and yield each when it is finished; unfinished ones are cancelled when the iterator is closed."""


class InProcess:
    """Runs one group after the other in this process."""

    def n_workers(self) -> int:
        """Return 1."""
        return 1

    def run(self, worker: Worker, groups: Sequence[JobGroup]) -> Generator[Completed, None, None]:
        """Run each group when the next one is asked for."""
        for group in groups:
            yield Completed(group, worker(group))
