"""The jobs of a sweep, the key under which each is kept, and which of them share a batch."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from site_lens.records.errors import InputError
from site_lens.records.hashing import code_version, digest_json
from site_lens.site.fit import SiteConfig
from site_lens.sweeps.fingerprints import model_parts
from site_lens.sweeps.schema import MOST_JOBS, EvaluationChoice, ModelChoice, NamedConfig, NamedTemplate, Sweep
from site_lens.sweeps.store_schema import JobName, SweepPlan, labelled_parts
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
        """What tables call the job."""
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

    tasks: tuple[Task, ...]
    seeds: tuple[int, ...]
    jobs: tuple[SweepJob, ...]

    @classmethod
    def of(cls, jobs: Iterable[SweepJob]) -> "JobGroup":
        """Group jobs that differ in task and seed only."""
        members = tuple(jobs)
        tasks = {job.task.name: job.task for job in members}
        return cls(tuple(tasks.values()), tuple(sorted({job.seed for job in members})), members)

    @property
    def model(self) -> ModelChoice:
        """The model of all of them."""
        return self.jobs[0].model

    @property
    def keys(self) -> tuple[str, ...]:
        """The key of every job."""
        return tuple(job.key for job in self.jobs)

    def halves(self) -> tuple["JobGroup", ...]:
        """Cut the group in two, by tasks while there are several, else by seeds; a single job stays as it is."""
        if len(self.tasks) > 1:
            first = {task.name for task in self.tasks[: len(self.tasks) // 2]}
            chosen = [job.task.name in first for job in self.jobs]
        elif len(self.seeds) > 1:
            early = self.seeds[: len(self.seeds) // 2]
            chosen = [job.seed in early for job in self.jobs]
        else:
            return (self,)
        parts = [[job for job, own in zip(self.jobs, chosen, strict=True) if own is wanted] for wanted in (True, False)]
        return tuple(JobGroup.of(part) for part in parts)


def jobs_of(sweep: Sweep) -> list[SweepJob]:
    """List every job of a sweep, in the order of models, templates, configs, tasks and seeds.

    Raises:
        InputError: A task is unknown, two sources hold tasks of the same name, two models are the same, or there
            are more than `MOST_JOBS` jobs.
        TaskFileError: A task file is missing or malformed.
    """
    tasks: dict[str, Task] = {}
    for source in sweep.tasks:
        found = load_tasks(
            source.source, source.names, input_column=source.input_column, output_column=source.output_column
        )
        twice = sorted(set(found) & set(tasks))
        if twice:
            raise InputError(f"two sources hold a task called {twice[0]!r}; choose tasks by `names`, or rename one")
        tasks |= found
    n_jobs = len(sweep.models) * len(sweep.templates) * len(sweep.configs) * len(tasks) * len(sweep.seeds)
    if n_jobs > MOST_JOBS:
        raise InputError(f"the sweep has {n_jobs} jobs, more than {MOST_JOBS}; split it into several")
    models = [(model, model_parts(model)) for model in sweep.models]
    _refuse_twins(models)
    return [
        SweepJob(model, parts, task, template, config, seed, sweep.controls, sweep.evaluation)
        for model, parts in models
        for template in sweep.templates
        for config in sweep.configs
        for task in tasks.values()
        for seed in sweep.seeds
    ]


def plan_of(sweep: str, jobs: Sequence[SweepJob]) -> SweepPlan:
    """Write down the jobs of a sweep, and what their labels stand for."""
    names = tuple(job.name for job in jobs)
    labels: dict[str, dict[str, str]] = {}
    for job, name in zip(jobs, names, strict=True):
        for kind, part in labelled_parts(job.parts).items():
            known, label = labels.setdefault(kind, {}), getattr(name, kind)
            if label not in known:
                known[label] = digest_json(part)
    return SweepPlan(sweep=sweep, jobs=names, labels=labels)


def _refuse_twins(models: Sequence[tuple[ModelChoice, dict[str, Any]]]) -> None:
    """Refuse a model that stands there twice: its jobs have the same keys, and one of its labels would stay empty."""
    seen: dict[str, str] = {}
    for model, parts in models:
        twin = seen.setdefault(digest_json(parts), model.label)
        if twin != model.label:
            raise InputError(
                f"the models {twin!r} and {model.label!r} are the same: the same weights, number format and BOS; "
                "leave out one of them"
            )


def group_jobs(jobs: Sequence[SweepJob], *, tasks_at_once: int) -> Iterator[JobGroup]:
    """Group the jobs that can share a batch, so many tasks at a time.

    Tasks of a group lack the same seeds, so that what is stored already is not computed again.
    """
    by_settings: dict[tuple[str, str, str], dict[str, list[SweepJob]]] = {}
    for job in jobs:
        settings = (job.model.label, job.template.name, job.config.name)
        by_settings.setdefault(settings, {}).setdefault(job.task.name, []).append(job)
    for by_task in by_settings.values():
        by_seeds: dict[tuple[int, ...], list[list[SweepJob]]] = {}
        for members in by_task.values():
            by_seeds.setdefault(tuple(sorted(job.seed for job in members)), []).append(members)
        for alike in by_seeds.values():
            for start in range(0, len(alike), tasks_at_once):
                yield JobGroup.of(job for members in alike[start : start + tasks_at_once] for job in members)
