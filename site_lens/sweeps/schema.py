"""Sweep file: models, tasks, templates, configs, seeds and evaluation, checked when it is read."""

import os
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from site_lens.methods.registry import RANDOM_EMBEDDING, SHUFFLED_ANSWERS, ZERO_EMBEDDING
from site_lens.records.assets import MODEL_NAMES
from site_lens.records.base import Count, Frozen
from site_lens.records.collections import file_name
from site_lens.records.errors import InputError, unknown_name
from site_lens.records.library_errors import system_errors
from site_lens.records.limited_io import is_there, read_file
from site_lens.site.fit import SETTINGS, SiteConfig
from site_lens.tasks.prompt_template import PromptTemplate

MOST_BYTES = 2**20
"""A larger sweep file is refused unread."""

MOST_JOBS = 1_000_000
"""A sweep of more jobs is refused before any is made."""

SWEEP_CONTROLS = (ZERO_EMBEDDING, SHUFFLED_ANSWERS, RANDOM_EMBEDDING)
"""Controls that a sweep can fit: those of a task alone. The others depend on which tasks share the batch, and a job of
a sweep gives the same result whatever else is in it."""


def _label(name: str) -> str:
    if file_name(name) != name:
        raise ValueError(f"{name!r:.80} cannot name a folder; use letters, digits, - and _")
    return name


Label = Annotated[str, AfterValidator(_label)]
"""Name that becomes a folder of its own, and so cannot be a path."""


class ModelChoice(Frozen):
    """Model of a sweep; the fields are arguments of `load_model`."""

    name: str = Field(min_length=1)
    """"demo", "smollm2", a folder in Hugging Face's format, a GGUF file, or a hub id."""
    label: Label = Field(default_factory=lambda fields: file_name(Path(fields["name"]).name))
    """Name in tables and folders; the last part of `name` unless given."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    gguf_file: str | None = None
    revision: str | None = None
    bos: bool | None = None
    quantization: Literal["nf4", "int8"] | None = None
    device_map: str | None = None
    """How weights are spread over the devices of a worker, such as "auto", whatever device is chosen for the sweep;
    results do not depend on it."""


class TaskSource(Frozen):
    """Source of tasks; the fields are arguments of `load_tasks`."""

    source: str = Field(min_length=1)
    """"demo", a file, or a folder."""
    names: tuple[str, ...] | None = Field(None, min_length=1)
    """Tasks to keep; all when None."""
    input_column: str = "input"
    output_column: str = "output"


class NamedConfig(Frozen):
    """Settings of a fit under a name. In a file: `name`, `settings` to begin with, and any field of SiteConfig."""

    name: Label
    config: SiteConfig

    @model_validator(mode="before")
    @classmethod
    def _from_flat_table(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "config" in given:
            return given
        fields = dict(given)
        settings = str(fields.pop("settings", "default"))
        if settings not in SETTINGS:
            raise unknown_name("settings", settings, SETTINGS)
        if "seed" in fields:
            raise InputError("a config has no seed; list seeds beside the configs: seeds = [0, 1, 2]")
        return {"name": fields.pop("name", settings), "config": SETTINGS[settings](**fields)}

    @model_validator(mode="after")
    def _independent(self) -> Self:
        if self.config.shared:
            raise InputError("shared = true fits one alpha map for all tasks; use `site-lens fit`, not a sweep")
        if self.config.embedding != "task" or self.config.null != "none":
            raise InputError(f"list controls instead of changing the embedding or null; there are {SWEEP_CONTROLS}")
        return self


class NamedTemplate(Frozen):
    """Template under a name. In a file: `name`, and any field of PromptTemplate."""

    name: Label
    template: PromptTemplate

    @model_validator(mode="before")
    @classmethod
    def _from_flat_table(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "template" in given:
            return given
        fields = dict(given)
        return {"name": fields.pop("name", None), "template": PromptTemplate(**fields)}


class EvaluationChoice(Frozen):
    """Settings of the evaluation of every fit."""

    n_shots: int = Field(10, ge=1)
    """Demonstrations of the prompting that is compared with."""
    max_queries: int | None = Field(None, ge=1)
    """Test rows to use, a sample; all when None."""
    generated: bool = False
    """Generate answers, too, for exact and prefix match."""
    seed: Count = 0
    """Seed of the demonstrations, the same for fits of every seed."""


PAPER_TEMPLATE = NamedTemplate(name="paper", template=PromptTemplate())


class Sweep(Frozen):
    """Everything that a sweep computes: each model with each task, template, config and seed."""

    name: Label = "sweep"
    """Name of the sweep's plan in the run store."""
    models: tuple[ModelChoice, ...] = Field(min_length=1)
    tasks: tuple[TaskSource, ...] = Field(min_length=1)
    templates: tuple[NamedTemplate, ...] = Field((PAPER_TEMPLATE,), min_length=1)
    configs: tuple[NamedConfig, ...] = Field((NamedConfig(name="default", config=SiteConfig()),), min_length=1)
    seeds: tuple[Count, ...] = Field((0,), min_length=1, max_length=MOST_JOBS)
    """Seeds of the fits; a number n in a file means 0, ..., n - 1."""
    controls: tuple[str, ...] = (ZERO_EMBEDDING,)
    """Controls fitted beside every fit; of `SWEEP_CONTROLS`."""
    evaluation: EvaluationChoice = EvaluationChoice()
    tasks_at_once: int = Field(16, ge=1)
    """Tasks that share a batch at most. Results do not depend on it, beyond rounding."""
    slurm: dict[str, str | int | float | bool] = {}
    """Parameters of submitit's executor, such as timeout_min, gpus_per_node or slurm_partition."""

    @model_validator(mode="before")
    @classmethod
    def _from_short_forms(cls, given: Any) -> Any:
        """Read a name as a table with that name, and one table as a list of one."""
        if not isinstance(given, dict):
            return given
        short = {"models": "name", "tasks": "source"}
        lists = {axis: [v] if isinstance(v := given[axis], str | dict) else v for axis in short if axis in given}
        return given | {
            axis: [{short[axis]: value} if isinstance(value, str) else value for value in values]
            for axis, values in lists.items() if isinstance(values, list | tuple)
        }  # fmt: skip

    @field_validator("seeds", mode="before")
    @classmethod
    def _from_count(cls, given: Any) -> Any:
        is_count = isinstance(given, int) and not isinstance(given, bool) and given > 0
        return range(given) if is_count else given

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        check_distinct("model", [model.label for model in self.models])
        check_distinct("config", [each.name for each in self.configs], [each.config for each in self.configs])
        check_distinct("template", [each.name for each in self.templates], [each.template for each in self.templates])
        check_distinct("seed", self.seeds)
        check_distinct("control", self.controls)
        for control in self.controls:
            if control not in SWEEP_CONTROLS:
                raise unknown_name("control of a sweep", control, SWEEP_CONTROLS)
        return self

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a sweep file (TOML). Paths in it are relative to it.

        Raises:
            InputError: It is not TOML, or asks for what a sweep cannot do; the message names the place.
        """
        path = Path(path)
        with system_errors(f"read the sweep file {path}", kind=InputError):
            content = read_file(path, MOST_BYTES)
        try:
            fields = tomllib.loads(content.decode())
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} is not valid TOML: {error}") from error
        try:
            sweep = cls(**{"name": file_name(path.stem)} | fields)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        return sweep.replace(
            models=tuple(model.replace(name=_beside(path, model.name)) for model in sweep.models),
            tasks=tuple(task.replace(source=_beside(path, task.source)) for task in sweep.tasks),
        )


def check_distinct(kind: str, names: Iterable[Any], contents: Iterable[object] = ()) -> None:
    """Raise InputError if a name, or what it stands for, is listed twice."""
    names = list(names)
    for values in (names, list(contents)):
        first: dict[object, Any] = {}
        for name, value in zip(names, values, strict=False):
            if value in first:
                raise InputError(f"duplicate {kind}: {name!r} is the same as {first[value]!r}; remove one")
            first[value] = name


def _beside(path: Path, name: str) -> str:
    """Return a name as a path beside the sweep file if such a file or folder exists, else unchanged."""
    beside = path.parent / os.path.expanduser(name)  # noqa: PTH111  # Path.expanduser raises for an unknown user
    return str(beside.resolve()) if name not in MODEL_NAMES and is_there(beside) else name
