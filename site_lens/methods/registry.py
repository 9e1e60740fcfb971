"""Registry of methods: what each does, its source, its colour, and the function that fits it.

A new method is one file and one entry of `assets/methods.toml`. Functions are named by "module:function" and imported
when they are used, so that reports and figures read this table without torch.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Literal, TypeAlias

from site_lens.methods.names import CALIBRATED, PROMPTING, EvaluatedMethod, split_seed
from site_lens.records.assets import asset
from site_lens.records.errors import InputError, unknown_name

if TYPE_CHECKING:
    from site_lens.methods.method import Method
    from site_lens.selectors.context import ComparisonContext

FitFunction: TypeAlias = Callable[["ComparisonContext", str], "Method"]
"""Fit a method for a task of a comparison context, by the task's name."""

UNKNOWN = "No description here; see the code that made the evaluation."


@dataclass(frozen=True, slots=True)
class MethodEntry:
    """One way to make a model do a task."""

    description: str
    """What it does, for readers of a report; `{n}` stands for the number of demonstrations."""
    fit: str | FitFunction | None = None
    """The function that fits it, or its "module:function" in this folder; None for controls that only
    `fit_and_evaluate` fits."""
    reference: str = ""
    look: int | None = None
    """Place in palette and symbols, the same in every figure; None for one that others leave free."""
    control: Literal["embedding", "null", "shared"] | None = None
    """Of a control that is fitted beside SITE: what it changes. `embedding` changes what alphas mix in; `null` is a
    task that cannot be learned; `shared` is one alpha map for all tasks."""
    optional: bool = False
    """Whether it needs a package that does not come with site_lens."""
    needs_others: bool = False
    """Whether it needs a second task."""
    label: str = ""
    """Its name in figures and tables for readers, with `{n}` as above; its name here when empty."""

    def make(self, context: "ComparisonContext", task: str) -> "Method":
        """Fit it for a task."""
        if self.fit is None:
            raise InputError("this control is fitted beside SITE; pass it to fit_and_evaluate as controls=[...]")
        function: FitFunction = resolve_name(f"{__package__}.{self.fit}") if isinstance(self.fit, str) else self.fit
        return function(context, task)


ZERO_EMBEDDING = "site_zero_embedding"
SHUFFLED_ANSWERS = "site_shuffled_answers"
OTHER_EMBEDDING = "site_other_embedding"
TASK_AGNOSTIC = "site_task_agnostic"
MEAN_EMBEDDING = "site_mean_embedding"
RANDOM_EMBEDDING = "site_random_embedding"

METHODS = {name: MethodEntry(**entry) for name, entry in tomllib.loads(asset("methods.toml")).items()}
"""Every method by its name."""

SPARSE_METHODS = frozenset({"site_sparse", "gates_sparse"})
"""What is measured of a head path."""
SITE_METHODS = ("site", "site_hard", "site_top_k")
"""What is measured of a fit; a control is measured under its own name alone."""
CONTROLS = tuple(name for name, entry in METHODS.items() if entry.control)
"""Controls that can be fitted beside SITE."""
CONTENTS = tuple(name for name in CONTROLS if METHODS[name].control == "embedding")
"""Those that change what alphas mix in, and nothing else."""
NULLS = (SHUFFLED_ANSWERS, OTHER_EMBEDDING)
"""Those whose alphas have no mapping of the task to learn."""


def comparable_methods() -> tuple[str, ...]:
    """Return the names of the methods that `run_methods` can fit."""
    return tuple(name for name, entry in METHODS.items() if entry.fit is not None)


def registered_name(name: str, n_shots: int) -> str:
    """Return the name in `METHODS` of a method: `ten_shot` is `few_shot` where prompts show ten demonstrations.

    Raises:
        InputError: The name is unknown, or names another number of demonstrations than `n_shots`.
    """
    if name in comparable_methods():
        return name
    method = EvaluatedMethod.parse(name)
    if method.kind not in (PROMPTING, CALIBRATED):
        raise unknown_name("method", name, comparable_methods())
    if method.n_shots != n_shots:
        raise InputError(
            f"{name} shows {method.n_shots} demonstrations, and the settings say n_shots={n_shots}; ask for few_shot "
            f"or set n_shots={method.n_shots}"
        )
    return _key(method)


def fit_method(context: "ComparisonContext", name: str, task: str) -> "Method":
    """Fit a method for a task, and measure how long it took, with its share of what other methods use, too."""
    entry = METHODS[registered_name(name, context.config.n_shots)]
    with context.stopwatch() as watch:
        method = entry.make(context, task)
    return replace(method, seconds=watch.seconds)


def _key(method: EvaluatedMethod) -> str:
    """Return the name in `METHODS` of a method that was evaluated."""
    prompting = "few_shot" if method.n_shots else "zero_shot"
    return {PROMPTING: prompting, CALIBRATED: "calibrated_few_shot"}.get(method.kind, method.kind)


def entry_of(name: str) -> MethodEntry | None:
    """Return the entry of a method by its display name, such as `ten_shot` or `site#1_hard`; None of unknown ones."""
    return METHODS.get(_key(EvaluatedMethod.parse(name)))


def method_look(name: str) -> int | None:
    """Return the place in palette and symbols of a method, by its display name; None of one without a fixed place."""
    entry = entry_of(name)
    return None if entry is None else entry.look


def _with_shots(text: str, name: str) -> str:
    """Put the number of demonstrations of a method into a text of its entry."""
    n_shots = EvaluatedMethod.parse(name).n_shots
    return text.format(n="N" if n_shots is None else n_shots)


def method_label(name: str) -> str:
    """Return the name of a method in figures, by its display name: `site#1_hard` is "SITE, rounded (seed 1)"."""
    entry, (plain, seed) = entry_of(name), split_seed(name)
    label = _with_shots(entry.label, name) if entry and entry.label else plain
    return label if seed is None else f"{label} (seed {seed})"


def describe_method(name: str) -> str:
    """Return what a method does, by its display name."""
    entry = entry_of(name)
    return UNKNOWN if entry is None else _with_shots(entry.description, name)
