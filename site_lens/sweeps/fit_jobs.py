"""Computation of the jobs of a sweep: SITE, its controls and the evaluation, for all of a group in one batch."""

from collections.abc import Mapping
from typing import Any

from site_lens.models.base import LensModel
from site_lens.models.loading import load_model
from site_lens.records.hashing import digest_json
from site_lens.runs.pipeline import fit_and_evaluate
from site_lens.runs.run import Run
from site_lens.sweeps.jobs import JobGroup, SweepJob
from site_lens.sweeps.seed_merge import part_of


class FitJobs:
    """Fits and evaluates groups of jobs, and keeps the model of the last one for the next.

    Args:
        device: Where to put weights; an accelerator if there is one, when None.
        progress: Show progress bars of fits; on a terminal and in notebooks only when None.
    """

    def __init__(self, *, device: str | None = None, progress: bool | None = None) -> None:
        self._device, self._progress = device, progress
        self._loaded: tuple[str, LensModel] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Travel to other processes without the model."""
        return self.__dict__ | {"_loaded": None}

    def __call__(self, group: JobGroup, budget_bytes: int) -> Mapping[str, Run]:
        """Return the result of every job by its key.

        Raises:
            SiteLensError: A task cannot be fitted, for example because it has too few rows.
        """
        first = group.jobs[0]
        evaluation = first.evaluation
        run = fit_and_evaluate(
            self._model(first),
            group.tasks,
            # The seed of the settings is that of the demonstrations in evaluations; fits have their own.
            first.config.config.replace(seed=evaluation.seed),
            seeds=group.seeds,
            controls=first.controls,
            prices=(),
            n_eval_shots=evaluation.n_shots,
            max_queries=evaluation.max_queries,
            generated=evaluation.generated,
            template=first.template.template,
            tasks_at_once=len(group.tasks),
            budget_bytes=budget_bytes,
            progress=self._progress,
        )
        return {job.key: part_of(run, job.task.name, job.seed) for job in group.jobs}

    def prepare(self, job: SweepJob) -> None:
        """Load the model of a job, unless it is the one that is loaded."""
        self._model(job)

    def _model(self, job: SweepJob) -> LensModel:
        key = digest_json(job.model_parts)
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = None  # freed before the next one is loaded
            loading = job.model.model_dump(exclude={"label"})
            model = load_model(**loading, device=None if job.model.device_map else self._device)
            self._loaded = (key, model)
        return self._loaded[1]
