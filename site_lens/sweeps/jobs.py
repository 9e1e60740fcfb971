"""Jobs of a sweep, the key under which each result is stored, and the groups of jobs that share a batch."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

from site_lens.records.errors import InputError
from site_lens.records.hashing import code_version, digest_json
from site_lens.site.fit import SiteConfig
from site_lens.sweeps.fingerprints import model_parts
from site_lens.sweeps.schema import (
    MOST_JOBS,
    EvaluationChoice,
    ModelChoice,
    NamedConfig,
    NamedTemplate,
    Sweep,
    check_distinct,
)
from site_lens.sweeps.store_schema import JobName
from site_lens.tasks.loading import load_tasks
from site_lens.tasks.task import Task


@dataclass(frozen=True)
class SweepJob:
    """One fit of a sweep with its controls and its evaluation: a model, a task, a template, settings and a seed."""

    model: ModelChoice
    model_parts: dict[str, Any]
    task: Task
    template: NamedTemplate
    config: NamedConfig
    seed: int
    controls: tuple[str, ...]
    evaluation: EvaluationChoice

    @property
    def site_config(self) -> SiteConfig:
        """Settings of the fit, seed included."""
        return self.config.config.replace(seed=self.seed)

    @cached_property
    def parts(self) -> dict[str, Any]:
        """Everything that the result depends on: what the key is a digest of."""
        return {
            "model": self.model_parts,
            "task": self.task.digest,
            "template": self.template.template.model_dump(mode="json"),
            "config": self.site_config.model_dump(mode="json"),
            "controls": list(self.controls),
            "evaluation": self.evaluation.model_dump(mode="json"),
            "code": code_version(),
        }

    @cached_property
    def key(self) -> str:
        """64 hexadecimal digits of everything that the result depends on."""
        return digest_json(self.parts)

    @property
    def name(self) -> JobName:
        """Key and labels of the job."""
        return JobName(
            key=self.key,
            model=self.model.label,
            template=self.template.name,
            config=self.config.name,
            task=self.task.name,
            seed=self.seed,
        )


@dataclass(frozen=True)
class JobGroup:
    """Jobs that share a batch: every task with every seed, of one model, template and config."""

    jobs: tuple[SweepJob, ...]

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks, in order of first appearance."""
        return tuple({job.task.name: job.task for job in self.jobs}.values())

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """The seeds in order."""
        return tuple(sorted({job.seed for job in self.jobs}))

    @property
    def keys(self) -> tuple[str, ...]:
        """The key of every job."""
        return tuple(job.key for job in self.jobs)

    def halves(self) -> tuple["JobGroup", ...]:
        """Cut the group in two, by tasks while there are several, else by seeds; a single job stays as it is."""
        if len(self.jobs) == 1:
            return (self,)
        if len(self.tasks) > 1:
            first = {task.name for task in self.tasks[: len(self.tasks) // 2]}
            in_first = [job.task.name in first for job in self.jobs]
        else:
            in_first = [job.seed in self.seeds[: len(self.seeds) // 2] for job in self.jobs]
        pairs = list(zip(self.jobs, in_first, strict=True))
        return tuple(JobGroup(tuple(job for job, is_first in pairs if is_first is half)) for half in (True, False))


def jobs_of(sweep: Sweep) -> list[SweepJob]:
    """List every job of a sweep, in the order of models, templates, configs, tasks and seeds.

    Raises:
        InputError: A task is unknown, two sources hold tasks of the same name, two models are the same, or there
            are more than `MOST_JOBS` jobs.
        TaskFileError: A task file is missing or malformed.
    """
    tasks: dict[str, Task] = {}
    for source in sweep.tasks:
        loaded = load_tasks(**source.model_dump())
        if duplicates := sorted(loaded.keys() & tasks.keys()):
            raise InputError(
                f"two sources hold a task called {duplicates[0]!r}; choose tasks by `names`, or rename one"
            )
        tasks |= loaded
    n_jobs = len(sweep.models) * len(sweep.templates) * len(sweep.configs) * len(tasks) * len(sweep.seeds)
    if n_jobs > MOST_JOBS:
        raise InputError(f"the sweep has {n_jobs} jobs, more than {MOST_JOBS}; split it into several")
    models = [(model, model_parts(model)) for model in sweep.models]
    check_distinct("model", [model.label for model, _ in models], [digest_json(parts) for _, parts in models])
    return [
        SweepJob(model, parts, task, template, config, seed, sweep.controls, sweep.evaluation)
        for (model, parts), template, config, task, seed in product(
            models, sweep.templates, sweep.configs, tasks.values(), sweep.seeds
        )
    ]


def group_jobs(jobs: Iterable[SweepJob], *, tasks_at_once: int) -> Iterator[JobGroup]:
    """Group the jobs that can share a batch, so many tasks at a time.

    Tasks of a group lack the same seeds, so that no stored job is computed again.
    """
    by_settings: dict[tuple[str, str, str], dict[str, list[SweepJob]]] = {}
    for job in jobs:
        by_task = by_settings.setdefault((job.model.label, job.template.name, job.config.name), {})
        by_task.setdefault(job.task.name, []).append(job)
    for by_task in by_settings.values():
        by_seeds: dict[tuple[int, ...], list[Sequence[SweepJob]]] = {}
        for members in by_task.values():
            by_seeds.setdefault(tuple(sorted(job.seed for job in members)), []).append(members)
        for same_seeds in by_seeds.values():
            for start in range(0, len(same_seeds), tasks_at_once):
                batch = same_seeds[start : start + tasks_at_once]
                yield JobGroup(tuple(job for members in batch for job in members))
