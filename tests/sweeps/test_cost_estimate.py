"""Cost estimate of a dry run: missing jobs, and their time by the median of similar ones."""

from pathlib import Path

import pytest

from site_lens.sweeps.jobs import jobs_of
from site_lens.sweeps.maintenance import estimate_cost
from site_lens.sweeps.store import RunStore
from tests.sweeps.faulty import made_up, small_sweep


def test_time_is_known_once_such_jobs_were_timed(tmp_path: Path, store: RunStore) -> None:
    jobs = jobs_of(small_sweep(tmp_path, 3, n_seeds=2, models=("nobody/a", "nobody/b")))
    assert [(cost.n_jobs, cost.n_stored, cost.seconds) for cost in estimate_cost(jobs, None)] == [(6, 0, None)] * 2
    for job, seconds in zip(jobs[:3], (1.0, 2.0, 9.0), strict=True):
        store.commit(job.name, job.parts, made_up(job), seconds=seconds)
    timed, untimed = estimate_cost(jobs, store)
    assert (timed.model, timed.n_stored) == ("a", 3)
    assert timed.seconds == pytest.approx(3 * 2.0)
    assert (untimed.model, untimed.n_stored, untimed.seconds) == ("b", 0, None)
