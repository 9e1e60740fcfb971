"""Slurm engine: one Slurm job a group, through submitit."""

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from site_lens.records.errors import InputError
from site_lens.sweeps.engines import Completed
from site_lens.sweeps.jobs import JobGroup
from site_lens.sweeps.worker import Worker

POLL_SECONDS = {"slurm": 10.0, "local": 0.2, "debug": 0.0}
"""Pause between two looks at the jobs of a cluster."""


class SlurmEngine:
    """Runs every group as a job of a Slurm cluster.

    Args:
        folder: Where submitit keeps scripts and logs; the nodes must see it.
        cluster: "slurm"; "local" runs jobs as processes of this machine and "debug" inside this process, to try things.
        parameters: Parameters of submitit's executor, such as timeout_min, gpus_per_node or slurm_partition.

    Raises:
        InputError: submitit is not installed, there is no Slurm here, or a parameter is unknown.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        cluster: Literal["slurm", "local", "debug"] = "slurm",
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        try:
            import submitit
        except ImportError as error:
            raise InputError("submitit is not installed; pip install 'site_lens[slurm]'") from error
        try:
            self._executor: Any = submitit.AutoExecutor(folder=Path(folder), cluster=cluster)
            self._executor.update_parameters(**(parameters or {}))
        except (RuntimeError, NameError, ValueError, TypeError) as error:  # what submitit raises for either
            raise InputError(f"cannot submit to {cluster}: {error}") from error
        self._poll_seconds = POLL_SECONDS[cluster]

    def n_workers(self) -> None:
        """Return None: only the cluster knows how many jobs run at once."""

    def run(self, worker: Worker, groups: Sequence[JobGroup]) -> Generator[Completed, None, None]:
        """Submit groups as one array of jobs, and yield each when it is finished."""
        from submitit.core.utils import FailedJobError, UncompletedJobError
        from submitit.helpers import as_completed

        with self._executor.batch():
            jobs = [self._executor.submit(worker, group) for group in groups]
        unfinished = dict(zip(jobs, groups, strict=True))
        try:
            for job in as_completed(jobs, poll_frequency=self._poll_seconds):
                group = unfinished.pop(job)
                try:
                    completed = Completed(group, job.result())
                except (FailedJobError, UncompletedJobError) as error:
                    completed = Completed(group, None, str(error).strip().splitlines()[0])
                yield completed
        finally:
            for job in unfinished:
                job.cancel(check=False)
