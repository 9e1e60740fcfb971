"""Groups of jobs on Ray: warm workers for each model, which load it once; Ray places them."""

import logging
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from site_lens.records.errors import InputError
from site_lens.sweeps.engines import Completed, Resources
from site_lens.sweeps.jobs import JobGroup
from site_lens.sweeps.worker import GroupOutcome, Worker

N_RETRIES = 1
"""How often Ray runs a group again whose worker died. What it had stored before is not computed again."""


class WarmWorker:
    """What runs in the process of an actor: a worker, with the model that it holds."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def work(self, group: JobGroup) -> GroupOutcome:
        """Work on a group."""
        return self._worker(group)


@dataclass
class _Pool:
    """The actors of one model, and the groups that wait for them."""

    waiting: deque[tuple[Worker, JobGroup]] = field(default_factory=deque)
    idle: list[Any] = field(default_factory=list)
    n_actors: int = 0


class RayEngine:
    """Runs groups on actors of Ray, each of which holds one model.

    Connects to the Ray session that is there, or starts one on this machine.

    Args:
        gpus_per_job: GPUs of each actor; its model may be spread over them.
        cpus_per_job: CPU cores of each actor.
        workers_per_model: Actors that hold the same model, each a copy.
        address: Address of a Ray cluster, such as "auto"; when None a session is started on this machine if need be.

    Raises:
        InputError: Ray is not installed.
    """

    def __init__(
        self,
        *,
        gpus_per_job: float = 0,
        cpus_per_job: float = 1,
        workers_per_model: int = 1,
        address: str | None = None,
    ) -> None:
        if workers_per_model < 1 or gpus_per_job < 0 or cpus_per_job < 0:
            raise InputError("an engine needs at least one worker a model, and no negative number of GPUs or cores")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise InputError("Ray is not installed; pip install 'site_lens[ray]'") from error
        self._ray: Any = ray
        if not ray.is_initialized():
            ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
        self._gpus, self._cpus, self._n_per_model = gpus_per_job, cpus_per_job, workers_per_model
        self._pools: dict[str, _Pool] = {}
        self._running: dict[Any, tuple[str, Any, Worker, JobGroup]] = {}

    def resources(self) -> Resources:
        """Say what the cluster has, and how many workers share the jobs of a model."""
        found = self._ray.cluster_resources()
        fits = [found.get(name, 0) // need for name, need in (("CPU", self._cpus), ("GPU", self._gpus)) if need]
        n_workers = max(1, int(min(fits))) if fits else 1
        what = f"Ray with {found.get('CPU', 0):.0f} cores and {found.get('GPU', 0):.0f} GPUs"
        return Resources(min(n_workers, self._n_per_model), what)

    def submit(self, worker: Worker, groups: Sequence[JobGroup]) -> None:
        """Take groups of jobs on."""
        for group in groups:
            self._pools.setdefault(group.model.label, _Pool()).waiting.append((worker, group))

    def as_completed(self) -> Iterator[Completed]:
        """Yield the groups taken on as they are done."""
        for label in self._pools:
            self._start(label)
        while self._running:
            (done, *_), _ = self._ray.wait(list(self._running), num_returns=1)
            label, actor, _, group = self._running.pop(done)
            try:
                completed = Completed(group, self._ray.get(done))
            except self._ray.exceptions.RayError as error:
                completed = Completed(group, None, str(error).strip().splitlines()[0])
                self._end(label, actor)
            else:
                self._pools[label].idle.append(actor)
            self._start(label)
            yield completed

    def cancel(self) -> None:
        """End every actor; what they have not stored is given up."""
        for label, actor, *_ in self._running.values():
            self._end(label, actor)
        for label, pool in self._pools.items():
            while pool.idle:
                self._end(label, pool.idle.pop())
            pool.waiting.clear()
        self._running.clear()

    def _start(self, label: str) -> None:
        """Hand waiting groups to idle actors and to new ones; end actors that nothing waits for, which frees GPUs."""
        pool = self._pools[label]
        while pool.waiting and (pool.idle or pool.n_actors < self._n_per_model):
            worker, group = pool.waiting.popleft()
            actor = pool.idle.pop() if pool.idle else self._new_actor(pool, worker)
            self._running[actor.work.remote(group)] = (label, actor, worker, group)
        while pool.idle and not pool.waiting:
            self._end(label, pool.idle.pop())

    def _new_actor(self, pool: _Pool, worker: Worker) -> Any:
        pool.n_actors += 1
        options = {"num_cpus": self._cpus, "num_gpus": self._gpus, "max_restarts": -1, "max_task_retries": N_RETRIES}
        return self._ray.remote(WarmWorker).options(**options).remote(worker)

    def _end(self, label: str, actor: Any) -> None:
        self._pools[label].n_actors -= 1
        self._ray.kill(actor)
