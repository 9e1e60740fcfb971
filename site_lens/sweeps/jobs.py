"""Jobs of a sweep, the key under which each result is stored, and the groups of jobs that share a batch."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, product
from pathlib import Path
from typing import Any, TypeVar

from site_lens.models.gguf_source import local_gguf
from site_lens.records.assets import DEMO, DEMO_MODEL
from site_lens.records.errors import InputError
from site_lens.records.hashing import code_version, digest_file, digest_json
from site_lens.records.limited_io import is_folder, is_hidden
from site_lens.site.fit import SiteConfig
from site_lens.sweeps import schema
from site_lens.sweeps.store_schema import JobName
from site_lens.tasks.loading import load_tasks
from site_lens.tasks.task import Task

T = TypeVar("T")
K = TypeVar("K")


@dataclass(frozen=True)
class SweepJob:
    """One fit of a sweep with its controls and its evaluation: a model, a task, a template, settings and a seed."""

    model: schema.ModelChoice
    model_parts: dict[str, Any]
    task: Task
    template: schema.NamedTemplate
    config: schema.NamedConfig
    seed: int
    controls: tuple[str, ...]
    evaluation: schema.EvaluationChoice

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
        labels = [job.task.name if len(self.tasks) > 1 else job.seed for job in self.jobs]
        distinct = list(dict.fromkeys(labels))
        first = set(distinct[: len(distinct) // 2])
        pairs = list(zip(self.jobs, labels, strict=True))
        return tuple(JobGroup(tuple(job for job, label in pairs if (label in first) is half)) for half in (True, False))


def jobs_of(sweep: schema.Sweep) -> list[SweepJob]:
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
    if n_jobs > schema.MOST_JOBS:
        raise InputError(f"the sweep has {n_jobs} jobs, more than {schema.MOST_JOBS}; split it into several")
    models = [(model, model_parts(model)) for model in sweep.models]
    schema.check_distinct("model", [model.label for model, _ in models], [digest_json(parts) for _, parts in models])
    return [
        SweepJob(model, parts, task, template, config, seed, sweep.controls, sweep.evaluation)
        for (model, parts), template, config, task, seed in product(
            models, sweep.templates, sweep.configs, tasks.values(), sweep.seeds
        )
    ]


def by_settings(jobs: Iterable[SweepJob]) -> dict[tuple[str, str, str], list[SweepJob]]:
    """Collect jobs by model, template and config."""
    return _collected(jobs, lambda job: (job.model.label, job.template.name, job.config.name))


def group_jobs(jobs: Iterable[SweepJob], *, tasks_at_once: int) -> Iterator[JobGroup]:
    """Group the jobs that can share a batch, so many tasks at a time.

    Tasks of a group lack the same seeds, so that no stored job is computed again.
    """
    for group in by_settings(jobs).values():
        tasks = _collected(group, lambda job: job.task.name).values()
        for same_seeds in _collected(tasks, lambda members: tuple(sorted(job.seed for job in members))).values():
            for start in range(0, len(same_seeds), tasks_at_once):
                yield JobGroup(tuple(chain.from_iterable(same_seeds[start : start + tasks_at_once])))


def _collected(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Collect items by a key, in the order in which they come."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


SUFFIXES = (".json", ".safetensors", ".bin", ".model", ".txt")
"""Files of a model folder that say what the model is."""


def model_parts(model: schema.ModelChoice) -> dict[str, Any]:
    """Return the part of a job's key that describes its model.

    Raises:
        InputError: See `source_parts`.
    """
    source = source_parts(model.name, model.revision, model.gguf_file)
    return source | {"dtype": model.dtype, "bos": model.bos, "quantization": model.quantization}


def source_parts(name: str, revision: str | None, gguf_file: str | None = None) -> dict[str, Any]:
    """Return which weights a name stands for.

    A folder or GGUF file stands for its content, wherever it lies. A hub id stands for itself and its revision; what it
    loads is compared with earlier loads when a fit is stored.

    Raises:
        InputError: A file cannot be read, or `local_gguf` finds no file where one must be.
    """
    gguf = local_gguf(name, gguf_file)
    folder = DEMO_MODEL if name == DEMO else Path(name)
    try:
        if gguf is not None:
            return {"gguf": digest_file(gguf)}
        if is_folder(folder):
            return {"folder": folder_digest(folder)}
    except OSError as error:
        raise InputError(f"cannot read {error.filename} of a model: {error.strerror}") from error
    return {"hub": name, "revision": revision} | ({} if gguf_file is None else {"gguf_file": gguf_file})


def folder_digest(folder: Path) -> str:
    """Digest the files of a model folder, every byte of them: an edit may have changed one head.

    Raises:
        OSError: A file cannot be read.
    """
    files = sorted(
        path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file() and not is_hidden(path)
    )
    return digest_json([[path.name, digest_file(path)] for path in files])
