"""How the jobs of a sweep are computed: SITE, its controls and the evaluation, for all of a group in one batch."""

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
        self._held: tuple[str, LensModel] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Travel to other processes without the model."""
        return self.__dict__ | {"_held": None}

    def __call__(self, group: JobGroup, budget_bytes: int) -> Mapping[str, Run]:
        """Return the result of every job by its key.

        Raises:
            SiteLensError: A task cannot be fitted, for example because it has too few rows.
        """
        first = group.jobs[0]
        evaluation = first.evaluation
        found = fit_and_evaluate(
            self._model(first),
            group.tasks,
            # The seed of the settings is that of the demonstrations in evaluations; fits have their own.
            first.config.config.replace(seed=evaluation.seed),
            seeds=group.seeds,
            controls=first.controls,
            n_eval_shots=evaluation.n_shots,
            max_queries=evaluation.max_queries,
            generated=evaluation.generated,
            template=first.template.template,
            tasks_at_once=len(group.tasks),
            budget_bytes=budget_bytes,
            progress=self._progress,
        )
        return {job.key: part_of(found, job.task.name, job.seed) for job in group.jobs}

    def prepare(self, job: SweepJob) -> None:
        """Load the model of a job, unless it is the one that is held."""
        self._model(job)

    def _model(self, job: SweepJob) -> LensModel:
        key = digest_json(job.model_parts)
        if self._held is None or self._held[0] != key:
            self._held = None  # freed before the next one is loaded
            choice = job.model
            model = load_model(
                choice.name,
                dtype=choice.dtype,
                device=None if choice.device_map else self._device,
                device_map=choice.device_map,
                quantization=choice.quantization,
                bos=choice.bos,
                revision=choice.revision,
            )
            self._held = (key, model)
        return self._held[1]
