"""What a sweep file may say: models, tasks, templates, settings, seeds, evaluation; checked when it is read."""

import math
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from site_lens.methods.registry import RANDOM_EMBEDDING, SHUFFLED_ANSWERS, ZERO_EMBEDDING
from site_lens.records.base import Frozen
from site_lens.records.collections import file_name
from site_lens.records.errors import InputError, unknown_name
from site_lens.records.limited_io import is_there, read_file
from site_lens.site.fit import SETTINGS, SiteConfig
from site_lens.tasks.prompt_template import PromptTemplate

MOST_BYTES = 2**20
"""A sweep file larger than this is refused unread."""

MOST_JOBS = 1_000_000
"""A sweep of more jobs is refused before any is made."""

SWEEP_CONTROLS = (ZERO_EMBEDDING, SHUFFLED_ANSWERS, RANDOM_EMBEDDING)
"""The controls that a sweep can fit: those of a task alone. The others depend on which tasks share the batch, and a
job of a sweep gives the same result whatever else is in it."""


class ModelChoice(Frozen):
    """A model to sweep over, as `load_model` takes it."""

    name: str = Field(min_length=1)
    """"demo", a folder in Hugging Face's format, or a hub id."""
    label: str
    """What tables and folders call it; the last part of the name unless given."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    revision: str | None = None
    bos: bool | None = None
    quantization: Literal["nf4", "int8"] | None = None
    device_map: str | None = None
    """How weights are spread over the devices of a worker, such as "auto", whatever device is asked for the sweep;
    results do not depend on it."""

    @model_validator(mode="before")
    @classmethod
    def _labelled(cls, given: Any) -> Any:
        given = {"name": given} if isinstance(given, str) else given
        if isinstance(given, dict) and isinstance(given.get("name"), str):
            return {"label": file_name(Path(given["name"]).name)} | given
        return given


class TaskSource(Frozen):
    """Where tasks come from, as `load_tasks` takes it."""

    source: str = Field(min_length=1)
    """"demo", a file, or a folder."""
    names: tuple[str, ...] | None = Field(None, min_length=1)
    """The tasks to keep; all when None."""
    input_column: str = "input"
    output_column: str = "output"

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        return {"source": given} if isinstance(given, str) else given


class NamedConfig(Frozen):
    """Settings of a fit under a name. In a file: `name`, `settings` to begin with, and any field of SiteConfig."""

    name: str
    config: SiteConfig

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "config" in given:
            return given
        fields = dict(given)
        settings = fields.pop("settings", "default")
        name = fields.pop("name", settings)
        if not isinstance(settings, str) or settings not in SETTINGS:
            raise unknown_name("settings", str(settings), SETTINGS)
        if "seed" in fields:
            raise InputError("a config has no seed; list seeds beside the configs: seeds = [0, 1, 2]")
        strange = sorted(set(fields) - set(SiteConfig.model_fields))
        if strange:
            raise unknown_name("field of a config", strange[0], SiteConfig.model_fields)
        return {"name": name, "config": SETTINGS[settings](**fields)}

    @model_validator(mode="after")
    def _alone(self) -> Self:
        if self.config.shared:
            raise InputError(
                "shared = true fits one alpha map for all tasks; fit it with `site-lens fit`, not in a sweep"
            )
        if self.config.embedding != "task" or self.config.null != "none":
            raise InputError(f"list controls instead of changing the embedding or null; there are {SWEEP_CONTROLS}")
        return self


class NamedTemplate(Frozen):
    """A template under a name. In a file: `name`, and any field of PromptTemplate."""

    name: str
    template: PromptTemplate

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "template" in given:
            return given
        fields = {key: value for key, value in given.items() if key != "name"}
        return {"name": given.get("name"), "template": PromptTemplate(**fields)}


class EvaluationChoice(Frozen):
    """How every fit is evaluated."""

    n_shots: int = Field(10, ge=1)
    """Demonstrations of the prompting that is compared with."""
    max_queries: int | None = Field(None, ge=1)
    """Test rows to use, a sample; all when None."""
    generated: bool = False
    """Generate answers, too, for exact and prefix match."""
    seed: int = Field(0, ge=0)
    """Seed of the demonstrations, the same for fits of every seed."""


PAPER_TEMPLATE = NamedTemplate(name="paper", template=PromptTemplate())


class Sweep(Frozen):
    """Everything that a sweep computes: each model with each task, template, config and seed."""

    name: str = "sweep"
    """What the plan of the sweep is called in the run store."""
    models: tuple[ModelChoice, ...] = Field(min_length=1)
    tasks: tuple[TaskSource, ...] = Field(min_length=1)
    templates: tuple[NamedTemplate, ...] = Field((PAPER_TEMPLATE,), min_length=1)
    configs: tuple[NamedConfig, ...] = Field((NamedConfig(name="default", config=SiteConfig()),), min_length=1)
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    """Seeds of the fits; a number n in a file means 0, ..., n - 1."""
    controls: tuple[str, ...] = (ZERO_EMBEDDING,)
    """What is fitted beside every fit; of `SWEEP_CONTROLS`."""
    evaluation: EvaluationChoice = EvaluationChoice()
    tasks_at_once: int = Field(16, ge=1)
    """Tasks that share a batch at most. What is computed does not depend on it, beyond rounding."""
    slurm: dict[str, str | int | float | bool] = {}
    """Parameters of submitit's executor, such as timeout_min, gpus_per_node or slurm_partition."""

    @field_validator("models", "tasks", mode="before")
    @classmethod
    def _one_or_several(cls, given: Any) -> Any:
        return [given] if isinstance(given, str | dict) else given

    @field_validator("seeds", mode="before")
    @classmethod
    def _counted(cls, given: Any) -> Any:
        if not isinstance(given, int) or isinstance(given, bool) or given < 1:
            return given
        _refuse_many(given)
        return range(given)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        _refuse_many(len(self.models), len(self.templates), len(self.configs), len(self.seeds))
        for what, names, contents in (
            ("label of a model", [one.label for one in self.models], [one.replace(label="") for one in self.models]),
            ("config", [one.name for one in self.configs], [one.config for one in self.configs]),
            ("template", [one.name for one in self.templates], [one.template for one in self.templates]),
            ("seed", [str(seed) for seed in self.seeds], self.seeds),
            ("control", self.controls, self.controls),
        ):
            _check_names(what, names, contents)
        for control in self.controls:
            if control not in SWEEP_CONTROLS:
                raise unknown_name("control of a sweep", control, SWEEP_CONTROLS)
        if min(self.seeds) < 0:
            raise InputError(f"seeds are 0 or more, got {min(self.seeds)}")
        if file_name(self.name) != self.name:
            raise InputError(f"the sweep's name {self.name!r} cannot name a file; use letters, digits, - and _")
        return self

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a sweep file (TOML). Folders and files named in it stand relative to it.

        Raises:
            InputError: It is not TOML, or says what a sweep cannot do; the message names the place.
        """
        path = Path(path)
        try:
            fields = _parsed(read_file(path, MOST_BYTES))
        except OSError as error:
            raise InputError(f"cannot read the sweep file {path}: {error.strerror}") from error
        except ValueError as error:
            raise InputError(f"{path} is not valid TOML: {error}") from error
        try:
            read = cls(**{"name": file_name(path.stem)} | fields)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        return read.replace(
            models=tuple(one.replace(name=_beside(path, one.name)) for one in read.models),
            tasks=tuple(one.replace(source=_beside(path, one.source)) for one in read.tasks),
        )


def _parsed(content: bytes) -> dict[str, Any]:
    """Parse TOML; raises ValueError if it is none, or nested too deeply to be a sweep."""
    text = content.decode()
    try:
        fields = tomllib.loads(text)
    except RecursionError:
        raise ValueError("lists and tables are nested too deeply") from None
    return fields


def _refuse_many(*axes: int) -> None:
    if math.prod(axes) > MOST_JOBS:
        raise InputError(f"the sweep has more than {MOST_JOBS} jobs; split it into several")


def _check_names(what: str, names: Sequence[str], contents: Sequence[object]) -> None:
    seen: set[str] = set()
    named: dict[object, str] = {}
    for name, content in zip(names, contents, strict=True):
        if name in seen:
            raise InputError(f"the {what} {name!r} comes twice; give each a name of its own")
        seen.add(name)
        twin = named.setdefault(content, name)
        if twin != name:
            raise InputError(f"{what} {name!r} says the same as {twin!r}; leave one out")
        if file_name(name) != name:
            raise InputError(f"the {what} {name!r} cannot name a folder; use letters, digits, - and _")


def _beside(path: Path, name: str) -> str:
    """Read a name as a path beside the sweep file, where there is such a file or folder."""
    try:
        beside = path.parent / Path(name).expanduser()
    except RuntimeError:  # the home of a user who is not there
        return name
    return str(beside.resolve()) if name != "demo" and is_there(beside) else name
