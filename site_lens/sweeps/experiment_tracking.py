"""Experiment tracking: a sweep logged to W&B or trackio."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Literal

from site_lens.records.errors import InputError
from site_lens.sweeps.events import Event


class Tracker:
    """A watcher that logs stored and failed jobs to W&B or trackio, which has the same interface.

    Args:
        service: Which of them; it must be installed.
        project: Name of the project there.
        config: What to keep beside the numbers.

    Raises:
        InputError: It is not installed.
    """

    def __init__(
        self, service: Literal["wandb", "trackio"], *, project: str, config: Mapping[str, Any] | None = None
    ) -> None:
        try:
            module = import_module(service)
        except ImportError as error:
            raise InputError(f"{service} is not installed; pip install {service}") from error
        self._run: Any = module.init(project=project, config=dict(config or {}))
        self._n_stored = self._n_failed = 0

    def on_event(self, event: Event) -> None:
        """Log counts, and accuracy and time of a stored job; close the run when the sweep has ended."""
        self._n_stored += event.kind == "job_stored"
        self._n_failed += event.kind == "job_failed"
        if event.kind in ("job_stored", "job_failed"):
            numbers = {name: event.detail.get(name) for name in ("accuracy", "seconds")}
            known = {name: value for name, value in numbers.items() if value is not None}
            self._run.log({"n_stored": self._n_stored, "n_failed": self._n_failed} | known)
        elif event.kind == "sweep_ended":
            self._run.finish()
