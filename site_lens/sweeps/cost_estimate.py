"""Cost estimate of a sweep: jobs that are missing, and their time where the store has timed such jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from site_lens.records.errors import StorageError
from site_lens.records.hashing import digest_json
from site_lens.sweeps.jobs import SweepJob
from site_lens.sweeps.store import RunStore


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of the jobs of one model, template and config."""

    model: str
    template: str
    config: str
    n_jobs: int
    n_stored: int
    seconds: float | None
    """Time of the missing jobs on one worker, by the median of such jobs in the store; None without any."""


def estimate_cost(jobs: Sequence[SweepJob], store: RunStore | None) -> list[Cost]:
    """Estimate the cost of the missing jobs, a row for each model, template and config.

    Args:
        jobs: The jobs of a sweep.
        store: Where results are kept; None if there is no store yet.
    """
    groups: dict[tuple[str, str, str], list[SweepJob]] = {}
    for job in jobs:
        groups.setdefault((job.model.label, job.template.name, job.config.name), []).append(job)
    timed = {} if store is None else _median_seconds(store)
    costs = []
    for labels, members in groups.items():
        n_stored = 0 if store is None else sum(store.has(job.key) for job in members)
        seconds = timed.get(_kind(members[0].parts))
        missing_seconds = None if seconds is None else seconds * (len(members) - n_stored)
        costs.append(Cost(*labels, len(members), n_stored, missing_seconds))
    return costs


def _kind(parts: Mapping[str, Any]) -> str:
    """Return a digest of what jobs of about the same time share: everything but task and seed."""
    return digest_json({k: v for k, v in parts.items() if k != "task"} | {"config": dict(parts["config"], seed=0)})


def _median_seconds(store: RunStore) -> dict[str, float]:
    seconds: dict[str, list[float]] = {}
    for key in store.stored_keys():
        try:
            stored = store.stored(key)
        except StorageError:
            continue  # a damaged result was not timed; the sweep sets it aside
        seconds.setdefault(_kind(stored.made_from), []).append(stored.seconds)
    return {kind: median(times) for kind, times in seconds.items()}
