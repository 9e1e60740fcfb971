"""Configuration, training trace and result of a SITE fit."""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from site_lens.activations.embedding import TaskEmbedding
from site_lens.activations.prefix_settings import PrefixDType
from site_lens.heads.head_set import HeadGrid
from site_lens.heads.scores import HeadGates
from site_lens.heads.scores import MixRule as MixRule
from site_lens.records.base import Axes, Count, Float32, Frozen, Lengths, Record, leaves_out
from site_lens.records.bounds import MOST_ASKED, size
from site_lens.records.collections import RecordSet
from site_lens.records.display import CellMap, Displayed, few
from site_lens.records.errors import InputError, MismatchError
from site_lens.records.lazy_pandas import pd
from site_lens.tasks.prompt_template import PromptTemplate

OLD_STATUSES = {"diverged": "no_improvement"}
"""Names of statuses in older files: what was called diverged had finite losses, and had kept its start."""

Status = Annotated[
    Literal["nonfinite", "no_improvement", "early_stop", "converged", "step_limit"],
    BeforeValidator(lambda word: OLD_STATUSES.get(word, word) if isinstance(word, str) else word),
]
"""How a fit ended; see `STATUSES`."""

STATUSES: dict[Status, str] = {
    "nonfinite": "An embedding, loss or gradient was not finite; the gates are the best ones before that.",
    "no_improvement": "The kept alphas are no better on valid than those before the first step.",
    "early_stop": "Validation loss did not improve for as many evaluations as the patience allows.",
    "converged": "Over the last ten steps or more no alpha moved by more than 0.05.",
    "step_limit": "All steps were taken and some alpha was still moving.",
}
"""What each status means, in order of precedence: a fit has the first that holds."""

FAILED: tuple[Status, ...] = ("nonfinite", "no_improvement")
"""Statuses under which the gates are no result."""


MOST_PRICE = 10.0
"""Largest price of a head, in nats, in either direction: hundreds of times those that make a difference."""


class SiteConfig(Frozen):
    """Settings of a SITE fit.

    The defaults are fast and careful; `SiteConfig.quick()` spends a third of their time, `SiteConfig.paper()` gives the
    published ones.
    """

    n_prompts: int = size("n_prompts", 50)
    """M: few-shot prompts averaged into the task embedding."""
    n_shots: int = size("n_shots", 10)
    """N: demonstrations in each of them."""
    n_steps: int = size("n_steps", 100)
    """Optimiser steps."""
    batch_size: int = size("batch_size", 8)
    """Training queries a step."""
    lr: float = Field(0.2, gt=0)
    """Learning rate of Adam on the parameter before the sigmoid (0.2: the paper's)."""
    n_queries: int | None = size("n_queries", None)
    """Train rows to draw training queries from; all of them when None."""
    init: Annotated[float, Field(gt=0, lt=1)] | Literal["random"] = 0.5
    """Alpha before the first step, at every head; "random" draws the parameter before the sigmoid from a normal
    distribution of standard deviation 2."""
    alpha_per: Literal["head", "layer"] = "head"
    """One alpha a head (the paper's), or one a layer, which all of its heads share."""
    mix: MixRule = "convex"
    loss: Literal["auto", "first_token", "answer"] = "auto"
    """Cross-entropy of the first answer token (the paper's), or the mean over all answer tokens, teacher-forced.
    "auto" is the first token, but the whole answer where first tokens do not tell the answers of train apart (see
    `FirstTokens.tell_apart`); the config of a fit says what was taken."""
    keep: Literal["best", "last"] = "best"
    """Which evaluated alphas to keep: those of lowest validation loss, or the last. With a price, the loss and the
    price of the open heads together, and only after the price has risen."""
    eval_every: int = size("eval_every", 10)
    """Steps between evaluations on valid; the alphas are recorded there, too."""
    n_valid: int = size("n_valid", 64)
    """Rows of valid to evaluate on, a sample that depends on the rows alone; all of them if there are fewer."""
    patience: int | None = size("patience", None)
    """Stop after this many evaluations without a lower validation loss; never when None. With a price, the loss and the
    price of the open heads together count, from when the price has risen."""
    shared: bool = False
    """Learn one alpha map for all tasks of the call (task-agnostic) instead of one a task."""
    head_price: float = Field(0.0, ge=-MOST_PRICE, le=MOST_PRICE)
    """Price of an open head, in nats per unit of alpha, added to the loss; it rises from 0 over the first 30 % of the
    steps, but not in a fit that a head path begins at the gates of another. 0 is the paper's: nothing closes a head
    that does no harm. Below 0 heads stay open unless they do harm."""
    embedding: Literal["task", "zero"] = "task"
    """What alpha mixes in: the task embedding, or zeros (gates alone, the control that belongs beside every fit)."""
    null: Literal["none", "shuffled_answers"] = "none"
    """`shuffled_answers`: the same loop on queries whose answers were permuted; what its alphas
    learn is no mapping from queries to answers. The embedding stays the task's own."""
    prefix_dtype: PrefixDType = "model"
    seed: int = size("seed", 0)

    @model_validator(mode="after")
    def _zeros_do_something(self) -> Self:
        if self.embedding == "zero" and self.mix != "convex":
            raise ValueError(f"an embedding of zeros changes nothing under mix={self.mix!r}; use mix='convex'")
        if self.n_steps * self.batch_size > MOST_ASKED:
            raise ValueError(f"n_steps times batch_size is more than {MOST_ASKED}: no fit asks so many queries")
        return self

    _serializer = leaves_out(head_price=0.0)

    @classmethod
    def paper(cls, *, keep: Literal["best", "last"] = "last", **changes: Any) -> "SiteConfig":
        """Return the published settings: 400 steps of batch 1, evaluation every 50 steps on 100 rows.

        Args:
            keep: "last" is what the published code does (it never updates its best loss); "best" is what it means to.
            changes: Further fields to set.

        Reference: arXiv 2507.20906; Soft_Injection `eval.py` and `utils.py`.
        """
        published: dict[str, Any] = {
            "n_steps": 400, "batch_size": 1, "loss": "first_token", "eval_every": 50, "n_valid": 100, "keep": keep,
        }  # fmt: skip
        return cls(**published | changes)

    @classmethod
    def quick(cls, **changes: Any) -> "SiteConfig":
        """Return settings for many fits: 50 steps of batch 4, ten prompts in the embedding.

        On demo tasks they reach the accuracy of the defaults in a third of the time (docs/benchmarks.md, row 2; chosen
        on samples of tasks other than the one measured there). Take the defaults to ask whether a fit converged.

        Args:
            changes: Further fields to set.
        """
        few: dict[str, Any] = {
            "n_prompts": 10, "n_steps": 50, "batch_size": 4, "lr": 0.4, "eval_every": 10, "n_valid": 32,
        }  # fmt: skip
        return cls(**few | changes)


SETTINGS: dict[str, Callable[..., SiteConfig]] = {
    "default": SiteConfig,
    "quick": SiteConfig.quick,
    "paper": SiteConfig.paper,
}
"""Settings to begin with, by name; each takes further fields to set."""


class SiteTrace(Frozen):
    """Training trace: the training loss at every step, everything else at every evaluation."""

    lengths: ClassVar[Lengths] = {"eval_steps": "evaluation"}

    loss: Annotated[Float32, Axes(("step",), 0)]
    """(step): training loss before the step, in nats."""
    train_rows: Annotated[Float32, Axes(("step", "row"), -1)]
    """(step row): rows of train asked at each step, so that the fit can be followed by other code; -1 where a row of
    the batch asked another task (shared alphas)."""
    eval_steps: tuple[Count, ...]
    """Steps taken before each evaluation; the first is 0."""
    valid_loss: Annotated[Float32, Axes(("evaluation",), 0)]
    """(evaluation): mean validation loss, in nats."""
    valid_accuracy: Annotated[Float32, Axes(("evaluation",), 0, 1)]
    """(evaluation): share of validation rows whose first answer token is ranked first."""
    alphas: Annotated[Float32, Axes(("evaluation", "layer", "head"), 0, 1)]
    """(evaluation layer head): alpha at each evaluation."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if any(later <= step for step, later in pairwise(self.eval_steps)):
            raise ValueError(f"evaluations after {self.eval_steps} steps are not in order")
        return self


class SiteFit(Record):
    """One fit of SITE: the gates it learned for a task, the embedding they mix in, and how it got there."""

    kind: ClassVar[str] = "site_fit"

    task: str
    config: SiteConfig
    gates: HeadGates
    embedding: TaskEmbedding
    trace: SiteTrace
    status: Status
    kept_step: int = Field(ge=0)
    """Steps taken before the evaluation whose alphas were kept."""
    labelled_rows: tuple[Count, ...]
    """Rows of the task's train whose labels the embedding or the optimiser saw."""
    n_labelled_elsewhere: int = Field(0, ge=0)
    """Labelled rows of other tasks: those of a borrowed embedding, and all that trained shared gates."""
    n_valid: int = Field(ge=0)
    """Rows of valid whose labels chose the checkpoint; 0 where the last one is kept whatever it is."""
    shared_with: tuple[str, ...] = ()
    """The other tasks that the same gates were fitted on."""
    task_digest: str
    template: PromptTemplate
    family: str | None = None
    """Known group of similar tasks, if any."""
    versions: dict[str, str]
    notes: tuple[str, ...] = ()
    """What a reader should know: merged answer tokens, differences of the model, and the like."""

    @model_validator(mode="after")
    def _one_grid(self) -> Self:
        if self.gates.grid != self.embedding.model.grid:
            raise ValueError(f"gates over {self.gates.grid}, embedding over {self.embedding.model.grid}")
        if self.gates.mix != self.config.mix:  # as in the first records, whose gates do not name their rule
            self.__dict__["gates"] = self.gates.replace(mix=self.config.mix)
        return self

    @property
    def seed(self) -> int:
        """Seed of the fit."""
        return self.config.seed

    @property
    def origin(self) -> str:
        """Say under a figure what it shows: one seed, what makes the fit a control, and whether there is a map."""
        parts = {
            f"one seed ({self.seed})": True,
            "embedding of zeros": self.config.embedding == "zero",
            "shuffled answers": self.config.null == "shuffled_answers",
            "start kept: no map": self.kept_start,
        }
        return ", ".join(part for part, holds in parts.items() if holds)

    @property
    def kept_start(self) -> bool:
        """Whether no step improved on the alphas before the first one, which were kept: there is no map then."""
        return self.status == "no_improvement" and self.kept_step == 0

    def _facts(self) -> Mapping[str, object]:
        ended = f"start kept ({self.status})" if self.kept_start else f"{self.status}, kept step {self.kept_step}"
        return {
            "task": self.task,
            "model": self.embedding.model.name,
            "seed": self.seed,
            "status": ended,
            "open": f"{len(self.gates.above(0.5))} of {len(self.gates.grid)} heads above 0.5",
            **({} if self.kept_start else {"highest": self.gates._brief()}),
        }

    def _brief(self) -> str:
        return "start kept" if self.kept_start else f"{len(self.gates.above(0.5))} open"

    def _maps(self) -> Mapping[str, CellMap]:
        caption = f"{self.task}: start kept, no map" if self.kept_start else self.task
        return {caption: CellMap(self.gates.values, self.gates.grid.mask, full=1)}

    def _tables(self) -> "Mapping[str, Callable[[], pd.DataFrame]]":
        return {"alphas, highest first": self._ranked_frame, "training": self.trace_frame}

    def _ranked_frame(self) -> "pd.DataFrame":
        return self.frame().sort_values("alpha", ascending=False, kind="stable", ignore_index=True)

    @property
    def n_labelled(self) -> int:
        """Labelled rows that the fit used, of all tasks: for embedding, optimiser, and choosing the checkpoint."""
        return len(self.labelled_rows) + self.n_valid + self.n_labelled_elsewhere

    def frame(self) -> "pd.DataFrame":
        """One row per head: task, seed, layer, head, alpha, rank (1 = highest)."""
        table = self.gates.frame().rename(columns={"value": "alpha"})
        table.insert(0, "seed", self.seed)
        table.insert(0, "task", self.task)
        return table

    def trace_frame(self) -> "pd.DataFrame":
        """One row per evaluation: step, valid_loss, valid_accuracy, undecided (share of 0.1 < alpha < 0.9)."""
        trace, inside = self.trace, self.trace.alphas[:, self.gates.grid.mask]
        columns = {
            "step": trace.eval_steps,
            "valid_loss": trace.valid_loss,
            "valid_accuracy": trace.valid_accuracy,
            "undecided": np.mean((inside > 0.1) & (inside < 0.9), axis=1),
        }
        return pd.DataFrame(columns)


Pair = tuple[HeadGates, TaskEmbedding]
"""Gates and what they mix in, wherever the two come from."""


def gates_and_embedding(fit: SiteFit | Pair) -> Pair:
    """Return the gates and the embedding of a fit or a pair.

    Raises:
        InputError: It is neither.
        MismatchError: The gates stand over other heads than the embedding.
    """
    if isinstance(fit, SiteFit):
        return fit.gates, fit.embedding
    if not (isinstance(fit, tuple) and list(map(type, fit)) == [HeadGates, TaskEmbedding]):
        raise InputError(f"needs a SiteFit, or (HeadGates, TaskEmbedding), got a {type(fit).__name__}")
    gates, embedding = fit
    if gates.grid != embedding.model.grid:
        raise MismatchError(f"gates over {gates.grid} do not fit an embedding over {embedding.model.grid}")
    return gates, embedding


class SiteFits(RecordSet[SiteFit]):
    """Fits by task: `fits["antonym"]`, or `fits["antonym", 3]` when there are fits of several seeds."""

    record_class: ClassVar[type[Record]] = SiteFit

    def _keyed(self, records: list[SiteFit]) -> Iterator[tuple[str, SiteFit]]:
        tasks = [fit.task for fit in records]
        seen = set()
        for fit in records:
            key = fit.task if tasks.count(fit.task) == 1 else f"{fit.task}#{fit.seed}"
            if key in seen:
                raise InputError(f"two fits of task {fit.task!r} with seed {fit.seed}; keep them in separate sets")
            seen.add(key)
            yield key, fit

    def __getitem__(self, key: str | tuple[str, int]) -> SiteFit:
        if isinstance(key, tuple):
            matching = [fit for fit in self.of(key[0]) if fit.seed == key[1]]
            if not matching:
                raise InputError(f"no fit of {key[0]!r} with seed {key[1]}; seeds: {[f.seed for f in self.of(key[0])]}")
            return matching[0]
        several = self.of(key) if key not in self else []
        if several:
            raise InputError(
                f"there are {len(several)} fits of {key!r}; pick one by seed, fits[{key!r}, {several[0].seed}]"
            )
        return super().__getitem__(key)

    def _facts(self) -> Mapping[str, object]:
        fits, start = list(self.values()), [key for key, fit in self.items() if fit.kept_start]
        return {
            "fits": f"{len(fits)} of {len({fit.task for fit in fits})} tasks",
            "model": few(list(dict.fromkeys(fit.embedding.model.name for fit in fits))),
            **({"start kept": f"{len(start)} ({few(start)})"} if start else {}),
        }

    def _line(self) -> str:
        return f"{Displayed._line(self)}; {super()._line()}"

    def of(self, task: str) -> list[SiteFit]:
        """Return every fit of a task, one a seed."""
        return [fit for fit in self.values() if fit.task == task]

    def first(self, task: str) -> SiteFit:
        """Return the fit of a task that has the lowest seed.

        Raises:
            InputError: There is none.
        """
        of_task = self.of(task)
        if not of_task:
            raise InputError(f"no fit of task {task!r}; there are fits of: {', '.join(self)}")
        return min(of_task, key=lambda fit: fit.seed)

    def one_grid(self) -> HeadGrid:
        """Return the grid that all fits stand over.

        Raises:
            InputError: There are no fits.
            MismatchError: Two fits are over different grids.
        """
        every = list(self.values())
        if not every:
            raise InputError("there are no fits; fit some tasks first, for example with fit_site(model, tasks)")
        first = every[0]
        for fit in every:
            if fit.gates.grid != first.gates.grid:
                raise MismatchError(
                    f"{first.task!r} was fitted over {first.gates.grid}, {fit.task!r} over {fit.gates.grid}"
                )
        return first.gates.grid
