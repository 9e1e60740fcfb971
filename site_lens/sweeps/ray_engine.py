"""Ray engine: warm workers for each model, which load it once; Ray places them."""

import logging
import os
from collections import defaultdict, deque
from collections.abc import Generator, Sequence
from typing import Any

from site_lens.records.errors import InputError
from site_lens.sweeps.engines import Completed
from site_lens.sweeps.jobs import JobGroup
from site_lens.sweeps.worker import GroupOutcome, Worker

N_RETRIES = 1
"""How often Ray runs a group again whose worker died. What it had stored before is not computed again."""


class WarmWorker:
    """Actor: a worker in a process of its own, with the model that it has loaded."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def work(self, group: JobGroup) -> GroupOutcome:
        """Work on a group."""
        return self._worker(group)


class RayEngine:
    """Runs groups on actors of Ray, each of which loads one model.

    Connects to the Ray session that is there, or starts one on this machine.

    Args:
        gpus_per_job: GPUs of each actor; its model may be spread over them.
        cpus_per_job: CPU cores of each actor.
        workers_per_model: Actors that load the same model, each a copy.
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

    def n_workers(self) -> int:
        """Return how many workers of the cluster share the jobs of a model."""
        available = self._ray.cluster_resources()
        need = {name: each for name, each in (("CPU", self._cpus), ("GPU", self._gpus)) if each}
        n_fitting = min((int(available.get(name, 0) // each) for name, each in need.items()), default=1)
        return min(max(1, n_fitting), self._n_per_model)

    def run(self, worker: Worker, groups: Sequence[JobGroup]) -> Generator[Completed, None, None]:
        """Run groups on the actors of their model, and yield each when it is finished."""
        waiting: dict[str, deque[JobGroup]] = defaultdict(deque)
        for group in groups:
            waiting[group.jobs[0].model.label].append(group)
        running: dict[Any, tuple[Any, JobGroup]] = {}

        def start(label: str, actor: Any = None) -> None:
            """Hand the next group of a model to an actor, a new one if None; without a group end it: frees its GPUs."""
            if waiting[label]:
                group = waiting[label].popleft()
                actor = self._new_actor(worker) if actor is None else actor
                running[actor.work.remote(group)] = (actor, group)
            elif actor is not None:
                self._ray.kill(actor)

        try:
            for label in list(waiting):
                for _ in range(self._n_per_model):
                    start(label)
            while running:
                (done, *_), _ = self._ray.wait(list(running), num_returns=1)
                actor, group = running.pop(done)
                try:
                    completed = Completed(group, self._ray.get(done))
                except self._ray.exceptions.RayError as error:
                    completed = Completed(group, None, str(error).strip().splitlines()[0])
                    self._ray.kill(actor)
                    actor = None
                start(group.jobs[0].model.label, actor)
                yield completed
        finally:
            for actor, _ in running.values():
                self._ray.kill(actor)

    def _new_actor(self, worker: Worker) -> Any:
        options = {"num_cpus": self._cpus, "num_gpus": self._gpus, "max_restarts": -1, "max_task_retries": N_RETRIES}
        return self._ray.remote(WarmWorker).options(**options).remote(worker)
