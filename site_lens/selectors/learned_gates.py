"""Gates of any parametrization, fitted for every task side by side, and the trained selectors besides SITE."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.heads.scores import HeadGates, HeadScores, MixRule
from site_lens.records.base import Float32
from site_lens.selectors.config import ComparisonConfig
from site_lens.selectors.context import ComparisonContext, once
from site_lens.selectors.validation import Checkpoint, choose_checkpoint
from site_lens.site.fit import SiteConfig
from site_lens.site.gate_parametrization import GateParametrization, HardConcrete, Unbounded
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

    @property
    def costs(self) -> dict[str, Any]:
        """Costs and notes of the gates, as records of scores name them."""
        return {"n_forwards": self.n_forwards, "n_labelled": self.n_labelled, "notes": self.notes}


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
    config = gate_config(context.config, n_steps, embedding="task", mix=mix)
    warm = None if start is None else HeadGates.constant(context.model.grid, start)
    embeddings = context.embeddings()
    jobs = [SiteJob(task, config, embeddings[task.name], warm) for task in context.tasks.values()]
    learned = learn_jobs(context, parametrization, jobs, name=name, lr=lr)
    return {
        task: replace(gates, n_forwards=gates.n_forwards + context.config.n_prompts) for task, gates in learned.items()
    }


def gate_config(config: ComparisonConfig, n_steps: int, **changes: object) -> SiteConfig:
    """Return the settings of a fit of one gate a head whose checkpoint is chosen on valid."""
    return config.site_config(
        shared=False, null="none", head_price=0.0, alpha_per="head", keep="best", patience=None, n_steps=n_steps,
        eval_every=config.eval_every(n_steps), **changes,
    )  # fmt: skip


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
    runs, mask = iter(joint.run(progress=context.progress)), torch.tensor(context.model.grid.mask)
    learned = {}
    for job in jobs:
        task, of_rate = job.task.name, {rate: next(runs) for rate in rates}
        checkpoints = {rate: _checkpoints(parametrization, run, mask) for rate, run in of_rate.items()}
        chosen = choose_checkpoint(f"{name} of {task!r}", checkpoints, n_steps=job.config.n_steps)
        alpha_map = of_rate[rates[0]].alpha_map
        n_valid = len(alpha_map.valid.questions)
        n_trained = 2 * alpha_map.train.rows.size * len(rates)
        n_evaluated = n_valid * sum(len(run.eval_steps) for run in of_rate.values())
        rows = set(alpha_map.train.rows.flat) | set(job.embedding.labelled_rows)
        gates, raw = chosen.state
        n_labelled = len(rows) + n_valid
        learned[task] = LearnedGates(gates, torch.tensor(raw), n_trained + n_evaluated, n_labelled, chosen.notes)
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


@once
def hard_concrete(context: ComparisonContext) -> dict[str, HeadScores]:
    """Learn for every head the probability that its gate is open, at a given density of open gates.

    The gates mix the task embedding in as SITE's alphas do, and are trained by the same loss and optimiser; but in
    each step they are drawn, and a penalty brings their number to `config.l0_density`, the share of heads expected open
    after `config.l0_steps` steps. See `HardConcrete`. Rates are multiples of `config.l0_lr`; rate and checkpoint are
    chosen by the loss on valid plus what missing the density costs at the end (`learn_gates`), so that no checkpoint is
    kept at which too many gates are open yet.

    The score is that probability, in [0, 1]. The settled gate orders the heads alike, but is 0 or 1 for many.

    Reference: Louizos, Welling and Kingma, arXiv 1712.01312; Voita et al., arXiv 1905.09418 (gates on heads). Theirs
    multiply a head's own output and are trained with a price on open gates instead of a density; neither chooses a
    checkpoint.
    """
    config, name = context.config, "hard_concrete"
    parametrization = HardConcrete(config.l0_density)
    learned = learn_gates(context, parametrization, name=name, n_steps=config.l0_steps, lr=config.l0_lr)
    meaning = (
        f"probability that the head's gate is open when {config.l0_density:.0%} of the gates are expected to be; high: "
        "the task embedding is wanted at this head"
    )
    return {
        task: context.head_scores(
            task, name, parametrization.open_probability(gates.raw).numpy(), meaning, **gates.costs
        )
        for task, gates in learned.items()
    }


@once
def head_weights(context: ComparisonContext) -> dict[str, HeadScores]:
    """Learn how much of every head's mean output to add to its own output: z + w t, from w = 0, unbounded.

    The score is w. Positive: adding the head's mean output of few-shot prompts makes the right answer more probable;
    negative: taking it away does. The size of w counts mean outputs, and says little of the size of the effect: Adam
    moves every head that matters at all at the same speed. `config.weight_steps` steps at multiples of
    `config.weight_lr`; checkpoint and rate are chosen on valid, see `learn_gates`.

    Reference: Saglam et al., arXiv 2502.05390, section 4. Theirs adds, layer by layer, the weighted sum of all mean
    outputs of a layer behind the layer; here each share is added at z, so that the layer's MLP sees it, too. Theirs
    takes about 10,000 examples at a rate of 5e-5; here the steps ask what SITE's do, at rates made for so few.
    """
    config, name = context.config, "head_weights"
    learned = learn_gates(
        context, Unbounded(), name=name, start=0.0, mix="additive", n_steps=config.weight_steps, lr=config.weight_lr
    )
    meaning = (
        "weight with which the head's mean output is added to its own; positive: adding it helps the task, negative: "
        "taking it away does"
    )
    return {
        task: context.head_scores(task, name, gates.gates, meaning, **gates.costs) for task, gates in learned.items()
    }
