"""Gates of any law, fitted for every task of a workbench in one loop: what the selectors besides SITE are made of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.heads.scores import HeadGates, MixRule
from site_lens.records.base import Float32
from site_lens.selectors.context import ComparisonContext
from site_lens.selectors.validation import Checkpoint, choose_checkpoint
from site_lens.site.gate_parametrization import GateParametrization
from site_lens.site.optimizer import AlphaMapRun, SiteLoop
from site_lens.site.plan import SiteJob, make_plan


@dataclass(frozen=True, slots=True)
class LearnedGates:
    """What was fitted for one task, at the checkpoint and learning rate of lowest loss on valid."""

    gates: Float32
    """(layer head): the settled gates of the law."""
    raw: Float[Tensor, "layer head"]
    """The parameter."""
    n_forwards: int
    """Prompts passed, backward passes counted as one more each; those of the embedding and of all rates among them."""
    n_labelled: int
    """Rows behind the embedding, the steps and the choice on valid."""
    notes: tuple[str, ...]


def learn_gates(
    context: ComparisonContext,
    law: GateParametrization,
    *,
    name: str,
    n_steps: int,
    lr: float,
    start: float | None = None,
    mix: MixRule = "convex",
) -> dict[str, LearnedGates]:
    """Fit a gate for every head of every task, with SITE's loss, queries and choice of the checkpoint.

    All tasks and all learning rates to try are fitted side by side; the rates of a task see the same queries. The
    checkpoint of lowest loss on valid is kept, to which a law that costs something adds what it costs at the end.

    Args:
        context: Model, tasks and settings.
        law: How the parameter becomes a gate.
        name: What the notes call it.
        n_steps: Steps.
        lr: The learning rate that those to try are multiples of.
        start: Gate to begin with at every head; SITE's start when None.
        mix: How gates mix the task embedding in.

    Raises:
        FitError: The losses of a task were not finite at any rate.
    """
    config = context.config.site_config(
        shared=False, embedding="task", null="none", keep="best", patience=None, mix=mix, n_steps=n_steps,
        eval_every=context.config.eval_every(n_steps),
    )  # fmt: skip
    warm = None if start is None else HeadGates.constant(context.model.grid, start)
    embeddings, rates = context.embeddings(), context.config.rates(lr)
    jobs = [
        SiteJob(task, config.replace(lr=rate), embeddings[task.name], warm)
        for task in context.tasks.values()
        for rate in rates
    ]
    plan = make_plan(context.model, jobs)
    loop = SiteLoop(context.model, plan, budget_bytes=context.budget_bytes, law=law)
    runs = iter(loop.run(progress=context.progress))
    return {task: _learned(context, law, name, task, {rate: next(runs) for rate in rates}) for task in context.tasks}


def _learned(
    context: ComparisonContext, law: GateParametrization, name: str, task: str, runs: Mapping[float, AlphaMapRun]
) -> LearnedGates:
    """Choose among the runs of one task."""
    unit = next(iter(runs.values())).unit
    mask = torch.tensor(context.model.grid.mask)
    found = {lr: _checkpoints(law, run, mask) for lr, run in runs.items()}
    chosen = choose_checkpoint(f"{name} of {task!r}", found, n_steps=unit.config.n_steps)
    gates, raw = chosen.state
    n_valid = len(unit.valid_questions)
    n_asked = sum(2 * run.unit.train_rows.size + len(run.eval_steps) * n_valid for run in runs.values())
    rows = set(unit.train_rows.flat) | set(context.embeddings()[task].labelled_rows)
    return LearnedGates(gates, torch.tensor(raw), context.config.n_prompts + n_asked, len(rows) + n_valid, chosen.notes)


def _checkpoints(
    law: GateParametrization, run: AlphaMapRun, mask: Tensor
) -> Iterator[Checkpoint[tuple[Float32, Float32]]]:
    """Yield the evaluations of a run, settled gates and parameter; the last has no loss where the run broke off."""
    raws = torch.tensor(np.array(run.raws))
    cost = law.penalty(raws, torch.ones(len(raws)), mask) if len(raws) else None
    losses = np.array(run.valid_loss) + (0 if cost is None else cost.numpy())
    for step, loss, gates, raw in zip(run.eval_steps, losses, run.alphas, run.raws, strict=True):
        yield Checkpoint(step, float(loss), (gates, raw))
    if run.ended == "nonfinite":
        yield Checkpoint(run.n_steps, float("nan"), (run.start, run.start))
