"""Gates of any parametrization, fitted for every task of a context side by side: the trained selectors besides SITE."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.heads.head_set import HeadGrid
from site_lens.heads.scores import HeadGates, HeadScores, MixRule
from site_lens.records.base import Float32
from site_lens.selectors.context import ComparisonContext
from site_lens.selectors.validation import Checkpoint, choose_checkpoint
from site_lens.site.gate_parametrization import GateParametrization
from site_lens.site.optimizer import AlphaMapRun, JointOptimizer
from site_lens.site.plan import SiteJob, make_plan


@dataclass(frozen=True, slots=True)
class LearnedGates:
    """Gates fitted for one task, at the checkpoint and learning rate of lowest loss on valid."""

    gates: Float32
    """(layer head): the deterministic gates."""
    raw: Float[Tensor, "layer head"]
    """The parameter."""
    n_forwards: int
    """Prompts passed, backward passes counted as one more each; those of the embedding and of all rates among them."""
    n_labelled: int
    """Rows behind the embedding, the steps and the choice on valid."""
    notes: tuple[str, ...]

    def scores(self, grid: HeadGrid, values: Float32, *, task: str, selector: str, meaning: str) -> HeadScores:
        """Return scores with the costs and notes of these gates."""
        return HeadScores(
            grid=grid, values=values, selector=selector, meaning=meaning, task=task, n_forwards=self.n_forwards,
            n_labelled=self.n_labelled, notes=self.notes,
        )  # fmt: skip


def learn_gates(
    context: ComparisonContext,
    parametrization: GateParametrization,
    *,
    name: str,
    n_steps: int,
    lr: float,
    start: float | None = None,
    mix: MixRule = "convex",
) -> dict[str, LearnedGates]:
    """Fit a gate for every head of every task, with SITE's loss, queries and choice of the checkpoint.

    All tasks and all learning rates to try are fitted side by side; the rates of a task see the same queries. The
    checkpoint of lowest loss on valid is kept, to which a parametrization with a penalty adds its final penalty.

    Args:
        context: Model, tasks and settings.
        parametrization: How the parameter becomes a gate.
        name: What the notes call it.
        n_steps: Steps.
        lr: The learning rate that those to try are multiples of.
        start: Gate to begin with at every head; SITE's start when None.
        mix: How gates mix the task embedding in.

    Raises:
        FitError: The losses of a task were not finite at any rate.
    """
    config = context.config.site_config(
        shared=False, embedding="task", null="none", head_price=0.0, alpha_per="head", keep="best", patience=None,
        mix=mix, n_steps=n_steps, eval_every=context.config.eval_every(n_steps),
    )  # fmt: skip
    warm = None if start is None else HeadGates.constant(context.model.grid, start)
    embeddings = context.embeddings()
    jobs = [SiteJob(task, config, embeddings[task.name], warm) for task in context.tasks.values()]
    learned = learn_jobs(context, parametrization, jobs, name=name, lr=lr)
    return {
        task: replace(gates, n_forwards=gates.n_forwards + context.config.n_prompts) for task, gates in learned.items()
    }


def learn_jobs(
    context: ComparisonContext,
    parametrization: GateParametrization,
    jobs: Sequence[SiteJob],
    *,
    name: str,
    lr: float,
    optimizer: type[JointOptimizer] = JointOptimizer,
) -> dict[str, LearnedGates]:
    """Fit the gates of jobs, one a task, at every learning rate to try; see `learn_gates`.

    Passes of the embeddings are not counted.

    Args:
        context: Model and settings.
        parametrization: How the parameter becomes a gate.
        jobs: What to fit; their learning rates are not looked at.
        name: What the notes call it.
        lr: The learning rate that those to try are multiples of.
        optimizer: What takes the steps.
    """
    rates = context.config.rates(lr)
    by_rate = [replace(job, config=job.config.replace(lr=rate)) for job in jobs for rate in rates]
    plan = make_plan(context.model, by_rate)
    joint = optimizer(context.model, plan, budget_bytes=context.budget_bytes, gates=parametrization)
    runs = iter(joint.run(progress=context.progress))
    learned = {}
    for job in jobs:
        task, of_rate = job.task.name, {rate: next(runs) for rate in rates}
        checkpoints = {
            rate: _checkpoints(parametrization, run, torch.tensor(context.model.grid.mask))
            for rate, run in of_rate.items()
        }
        chosen = choose_checkpoint(f"{name} of {task!r}", checkpoints, n_steps=job.config.n_steps)
        alpha_map = of_rate[rates[0]].alpha_map
        n_valid = len(alpha_map.valid.questions)
        n_trained = sum(2 * run.alpha_map.train.rows.size for run in of_rate.values())
        n_evaluated = sum(len(run.eval_steps) * n_valid for run in of_rate.values())
        rows = set(alpha_map.train.rows.flat) | set(job.embedding.labelled_rows)
        gates, raw = chosen.state
        learned[task] = LearnedGates(
            gates,
            torch.tensor(raw),
            n_forwards=n_trained + n_evaluated,
            n_labelled=len(rows) + n_valid,
            notes=chosen.notes,
        )
    return learned


def _checkpoints(
    parametrization: GateParametrization, run: AlphaMapRun, mask: Tensor
) -> Iterator[Checkpoint[tuple[Float32, Float32]]]:
    """Yield the evaluations of a run, gates and parameter; the last has no loss where the run broke off."""
    raws = torch.tensor(np.array(run.raws))
    penalty = parametrization.penalty(raws, torch.ones(len(raws)), mask) if len(raws) else None
    losses = np.array(run.valid_loss) + (0 if penalty is None else penalty.numpy())
    for step, loss, gates, raw in zip(run.eval_steps, losses, run.alphas, run.raws, strict=True):
        yield Checkpoint(step, float(loss), (gates, raw))
    if run.ended == "nonfinite":
        yield Checkpoint(run.n_steps, float("nan"), (run.start, run.start))
