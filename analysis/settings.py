"""The numbers of the studies, which stand in `studies.toml`, checked when they are read."""

import tomllib
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError

from site_lens.records.base import Frozen, readable
from site_lens.records.errors import InputError
from site_lens.site.fit import SiteConfig
from site_lens.tasks.prompt_template import PromptTemplate

STUDIES_TOML = Path(__file__).with_name("studies.toml")


class ByData(Frozen):
    """A task, on the demo tasks and on the paper's."""

    demo: str
    paper: str


class Shared(Frozen):
    """What most studies share."""

    n_tasks: int = Field(ge=2)
    """Tasks, drawn evenly over the families by the seed."""
    of_families: tuple[str, ...] = ()
    """Families to draw them from; all when empty."""
    seed: int = Field(ge=0)
    max_queries: int = Field(ge=1)
    """Test rows a task at most, in experiments on fits; evaluations ask all."""
    n_seeds: int = Field(ge=2)
    """Fits of a task, each from random alphas of its own, behind what is said of several fits."""
    n_starts: int | None = Field(None, ge=1)
    """Fits at each price of the head paths; the default of `fit_path` when left out."""
    site: SiteConfig
    """Settings of SITE; the published ones."""


class SingleTask(Frozen):
    """01: one task, as the paper begins."""

    task: ByData
    n_prompts: int = Field(ge=1)


class PromptCount(Frozen):
    """02: how many prompts, and how many demonstrations in each."""

    n_prompts: tuple[int, ...]
    n_shots: tuple[int, ...]
    base: tuple[int, int]
    """M where N changes, and N where M does."""
    n_resamples: int = Field(ge=2)
    n_fit_seeds: int = Field(ge=2)
    tolerance: float = Field(gt=0)
    """Loss in accuracy up to which fewer do as well."""


class Swap(Frozen):
    """03: the embedding of one task with the alphas of another."""

    embedding: ByData
    alphas: ByData


class Methods(Frozen):
    """04: SITE beside other ways to inject a task and to find heads."""

    n_tasks: int = Field(ge=2)
    """Tasks, the first of the sample: methods that train weights take many times as long as fits."""
    methods: tuple[str, ...]
    selectors: tuple[str, ...]
    slower: float = Field(gt=1)
    """Time a query over zero-shot's, up to which inference counts as no slower."""
    n_probes: int = Field(ge=1)


class Transfer(Frozen):
    """05: every task under the parts of every other."""

    n_draws: int = Field(ge=1)
    works: float
    fails: float
    """Share of the own fit's gain from which alphas of another task work, and up to which they fail."""


class HeadClusters(Frozen):
    """06: which tasks share heads."""

    disjoint: float = Field(gt=0, lt=1)
    """Jaccard index up to which two sets of heads count as not overlapping."""


class Convergence(Frozen):
    """07: are gates binary, and is there one basin?"""

    binary: float = Field(gt=0, lt=1)
    """Share of the alphas below 0.1 or above 0.9."""
    n_landscapes: int = Field(ge=1)
    """Tasks whose landscape is measured, the first of the sample."""
    n_fits: int = Field(ge=3)
    n_nulls: int = Field(ge=0)
    constants: tuple[float, ...]
    lrs: tuple[float, ...]
    n_steps: tuple[int, ...]
    one_basin: float = Field(gt=0, lt=1)
    """Share of the lines between fits that must be free of a barrier."""


class PromptSensitivity(Frozen):
    """08: other prompts, on the tasks that vary most."""

    n_tasks: int = Field(ge=1)
    n_resamples: int = Field(ge=2)
    n_fit_seeds: int = Field(ge=2)
    base: tuple[int, int]
    label_noise: tuple[float, ...]
    templates: tuple[PromptTemplate, ...]
    tolerance: float = Field(gt=0)


class HeadRoles(Frozen):
    """09: what heads do, and whether alphas transfer along with it."""

    n_prompts: int = Field(ge=1)
    n_shots: int = Field(ge=1)
    n_top: int = Field(ge=1)
    """Heads of a task whose role counts."""


class SoftHard(Frozen):
    """10: rounding, and one alpha map for all tasks."""

    gap: float = Field(gt=0)
    """Loss by rounding from which intermediate alphas matter for a task."""


class Faithfulness(Frozen):
    """11: are the heads sufficient, are they necessary?"""

    n_random: int = Field(ge=1)
    collapsed: float = Field(gt=0)
    """Gain over zero-shot up to which heads do nothing."""


class Content(Frozen):
    """12: what the embedding contributes."""

    half: float = Field(gt=0, lt=1)
    """Share of SITE's gain."""


class Choices(Frozen):
    """13: what each choice of SITE is worth, and two tasks at once."""

    n_tasks: int = Field(ge=2)
    inits: tuple[float | Literal["random"], ...]
    lrs: tuple[float, ...]
    last_k: tuple[int, ...]
    first: ByData
    second: ByData
    kept: float = Field(gt=0)
    """Loss in accuracy up to which a task counts as still done."""


class Settings(Frozen):
    """All numbers of all studies."""

    shared: Shared
    single_task: SingleTask
    prompt_count: PromptCount
    swap: Swap
    methods: Methods
    transfer: Transfer
    head_clusters: HeadClusters
    convergence: Convergence
    prompt_sensitivity: PromptSensitivity
    head_roles: HeadRoles
    soft_hard: SoftHard
    faithfulness: Faithfulness
    content: Content
    choices: Choices
    families: dict[str, tuple[str, ...]]
    """Similar tasks among those that come without a family, the paper's."""

    @classmethod
    def read(cls, path: Path = STUDIES_TOML) -> Self:
        """Read a TOML file.

        Raises:
            InputError: It is not TOML, or a number is missing, unknown or out of range.
        """
        try:
            return cls.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        except ValidationError as error:
            raise InputError(f"{path}: {readable(error)}") from None
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"cannot read {path}: {error}") from None
