"""A Ray session of this machine for tests and for the page on reliability."""

import gc
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

N_STARTS = 3
"""Ray gives its processes half a minute to start, which a busy machine may exceed."""


@contextmanager
def ray_session(*, n_cores: int) -> Iterator[None]:
    """Start Ray with as many cores as asked, whether they are there or not: made-up jobs take none."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    for n_left in reversed(range(N_STARTS)):
        try:
            ray.init(
                num_cpus=n_cores, num_gpus=0, include_dashboard=False, log_to_driver=False,
                logging_level=logging.ERROR, object_store_memory=80 * 2**20,
            )  # fmt: skip
            break
        except Exception as error:  # Ray raises a bare one
            _stop()
            if "timed out during startup" not in str(error) or not n_left:
                raise
    try:
        yield
    finally:
        _stop()


def _stop() -> None:
    import ray

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray does not wait for the processes that it ends
        ray.shutdown()
        gc.collect()
