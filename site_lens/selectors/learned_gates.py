"""Gates of any law, fitted for every task of a workbench in one loop: what the selectors besides SITE are made of."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.core.errors import FitError
from site_lens.core.fits import SiteConfig
from site_lens.core.records import Float32
from site_lens.core.scores import HeadGates
from site_lens.interventions.capturing import ADVICE
from site_lens.selectors.gate_laws import GateLaw
from site_lens.selectors.site_loop import SiteLoop, UnitRun
from site_lens.selectors.site_plan import Plan, SiteJob, make_plan
from site_lens.selectors.workbench import Workbench


@dataclass(frozen=True, slots=True)
class LearnedGates:
    """What was fitted for one task, after the last step."""

    gates: Float32
    """(layer head): the settled gates of the law."""
    raw: Float[Tensor, "layer head"]
    """The parameter."""
    n_forwards: int
    """Prompts passed, backward passes counted as one more each; those of the embedding among them."""
    n_labelled: int
    """Rows of train behind the embedding and the steps."""


def learn_gates(
    bench: Workbench, law: GateLaw, *, start: float | None = None, **changes: Any
) -> dict[str, LearnedGates]:
    """Fit a gate for every head of every task, with SITE's loss and queries, and keep those of the last step.

    Args:
        bench: Model, tasks and settings.
        law: How the parameter becomes a gate.
        start: Gate to begin with at every head; SITE's start when None.
        changes: Further settings of the loop, such as `n_steps`.

    Raises:
        FitError: A loss was not finite.
    """
    own = {"shared": False, "embedding": "task", "null": "none", "keep": "last", "patience": None}
    config = bench.config.site_config(**own | changes)
    config = config.replace(eval_every=config.n_steps)  # no evaluation chooses anything
    warm = None if start is None else HeadGates.constant(bench.model.grid, start)
    embeddings = bench.embeddings()
    jobs = [SiteJob(task, config, embeddings[name], warm) for name, task in bench.tasks.items()]
    plan = make_plan(bench.model, jobs)
    runs = SiteLoop(bench.model, plan, budget_bytes=bench.budget_bytes, law=law).run(progress=bench.progress)
    return {name: _learned(plan, run, config) for name, run in zip(bench.tasks, runs, strict=True)}


def _learned(plan: Plan, run: UnitRun, config: SiteConfig) -> LearnedGates:
    job = plan.jobs[run.unit.jobs[0]]
    if run.ended == "nonfinite" or run.raw is None:
        raise FitError(
            f"the loss of {job.task.name!r} became nonfinite after {run.n_steps} steps: {run.trouble}; {ADVICE}, or a "
            "smaller learning rate"
        )
    rows = set(run.unit.train_rows.flat) | set(job.embedding.labelled_rows)
    n_asked = 2 * run.unit.train_rows.size + len(run.eval_steps) * len(run.unit.valid_questions)
    return LearnedGates(
        gates=np.asarray(run.alphas[-1], dtype=np.float32),
        raw=torch.tensor(run.raw),
        n_forwards=config.n_prompts + n_asked,
        n_labelled=len(rows),
    )
