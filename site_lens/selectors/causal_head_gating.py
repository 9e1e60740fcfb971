"""Causal head gating: a gate on every head's own output in few-shot prompts, pushed open in one fit, closed in another.

No embedding is mixed in: a closed gate takes the head's output away. The gates act at all tokens of a prompt, as in the
source, or at the last one alone, as SITE's do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

from site_lens.activations.embedding import TaskEmbedding
from site_lens.activations.prefill import Indices, in_halves, length_batches
from site_lens.heads.scores import HeadGates, HeadScores
from site_lens.models.batch import Batch
from site_lens.models.hooks import Edit
from site_lens.records.base import Float32
from site_lens.selectors.context import ComparisonContext, each_task, once
from site_lens.selectors.learned_gates import gate_config, learn_jobs
from site_lens.site.gate_parametrization import PricedLogit
from site_lens.site.optimizer import JointOptimizer, Rows
from site_lens.site.plan import BatchStep, SiteJob
from site_lens.tasks.prompt_sampling import PromptSet, few_shot_prompts
from site_lens.tasks.prompt_template import Prompt
from site_lens.tasks.task import Example, Task


@dataclass(frozen=True, slots=True)
class HeadGating:
    """Causal head gating of one task; every map is (layer head), in [0, 1], and 0 where the grid has no head."""

    facilitating: Float32
    """G-: the gate stays open although open gates cost."""
    irrelevant: Float32
    """G+ (1 - G-): the gate goes where it is pushed."""
    interfering: Float32
    """1 - G+: the gate stays closed although closed gates cost."""
    costs: dict[str, Any]
    """Passes, labelled rows and notes, as records of scores name them."""


@each_task
def causal_head_gating(context: ComparisonContext, task: str) -> HeadScores:
    """Learn gates on the heads' outputs at all tokens of few-shot prompts; see `gatings_of_all_tokens`."""
    return _scores(context, task, "causal_head_gating", "all prompt tokens", gatings_of_all_tokens(context)[task])


@each_task
def causal_head_gating_last(context: ComparisonContext, task: str) -> HeadScores:
    """Learn gates on the heads' outputs at the last token of few-shot prompts; see `gatings_of_last_token`."""
    gating = gatings_of_last_token(context)[task]
    return _scores(context, task, "causal_head_gating_last", "the last prompt token", gating)


@once
def gatings_of_all_tokens(context: ComparisonContext) -> dict[str, HeadGating]:
    """Learn a gate G in [0, 1] for every head, which its z is multiplied by at all tokens; whole prompts both ways.

    Prompts are the M few-shot prompts of N demonstrations that the task embedding is made of, all over train. The loss
    is the cross-entropy of the first answer token, minus `config.gating_price` times the mean logit of the gates, cut
    at 4 either way. A first fit has no price and begins at 0.5. From its gates go G+, with the price, and G-, with
    minus the price. Each takes `config.gating_steps` steps at multiples of `config.gating_lr`; rate and checkpoint are
    chosen by the loss with the price on few-shot prompts that ask rows of valid.

    Reference: Nam et al., arXiv 2505.13737 (objective and kinds of heads) and published code (nam-causal-head-gating).
    The paper sums the logits, the code takes their mean. Theirs begins at random gates, several times, and predicts the
    whole target; its 500 steps at rate 1 keep the last; and G+ and G- begin with logits as far out as they came, where
    the price has no slope.
    """
    return _gatings(context, AllTokens, "causal_head_gating")


@once
def gatings_of_last_token(context: ComparisonContext) -> dict[str, HeadGating]:
    """Learn the same with gates at the last token alone, over cached prefixes: SITE's mixing with zeros, alpha = 1 - G.

    Prompts, loss, price and choices are those of `gatings_of_all_tokens`. What a head does at earlier tokens stays as
    it is, so a head that prepares demonstrations is irrelevant here.
    """
    return _gatings(context, JointOptimizer, "causal_head_gating_last")


class AllTokens(JointOptimizer):
    """Optimizer of plans with embeddings of zeros and a loss of first tokens that gates z at all tokens of prompts."""

    is_behind_prefixes: ClassVar[bool] = False

    def _each(self, index: int, step: BatchStep, rows: Indices, work: Callable[[Indices, Any], object]) -> None:
        asked = self._plan.questions
        prompts = [asked.prompts[asked.prompt_of[question]] for question in step.questions]
        for group in length_batches([len(prompts[place]) for place in rows]):
            in_halves(rows[group], lambda part: work(part, [prompts[place] for place in part]))

    def _logits(
        self, passed: Any, rows: Rows, gates: Float[Tensor, "row layer head"]
    ) -> Float[Tensor, "row tail vocab"]:
        model = self._model
        batch = Batch.of(passed, pad=model.encoder.pad, device=model.device)
        return model.forward(batch, gate_edits(1 - gates, model.grid.heads_per_layer))[:, None]


def gate_edits(gates: Float[Tensor, "row layer head"], heads_per_layer: Sequence[int]) -> list[Edit]:
    """Build the edits that multiply z by gates at all tokens, one map a row; one edit a layer that has heads."""

    def gating(layer: int, n: int) -> Callable[[Tensor], Tensor]:
        return lambda z: z * gates[:, None, layer, :n, None].to(z.device)

    return [Edit(layer, gating(layer, n), column=None) for layer, n in enumerate(heads_per_layer) if n]


def _gatings(context: ComparisonContext, optimizer: type[JointOptimizer], name: str) -> dict[str, HeadGating]:
    """Fit without a price, and from there with the price and its negative."""
    grid, price = context.model.grid, context.config.gating_price
    drawn = {task: _prompts(context, task) for task in context.tasks}
    jobs = [_job(context, task, *sets) for task, sets in drawn.items()]

    fit = partial(learn_jobs, context, lr=context.config.gating_lr, optimizer=optimizer)
    first = fit(PricedLogit(0.0), jobs, name=f"first fit of {name}")
    warm = [replace(job, warm_start=HeadGates(grid=grid, values=first[job.task.name].gates)) for job in jobs]
    # The parameter is that of alpha = 1 - G: a price of its logit is paid for closed gates.
    plus = fit(PricedLogit(price), warm, name=f"G+ of {name}")
    minus = fit(PricedLogit(-price), warm, name=f"G- of {name}")
    gatings = {}
    for task, (asked, checked) in drawn.items():
        fits = (first[task], plus[task], minus[task])
        opened, closed = ((1 - fitted.gates) * grid.mask for fitted in fits[1:])
        rows = asked.labelled_rows | asked.queried_rows | checked.labelled_rows
        costs = {
            "n_forwards": sum(fitted.n_forwards for fitted in fits),
            "n_labelled": len(rows) + context.labelled("valid", task=task),
            "notes": tuple(note for fitted in fits for note in fitted.notes),
        }
        gatings[task] = HeadGating(closed, opened * (1 - closed), (1 - opened) * grid.mask, costs)
    return gatings


def _prompts(context: ComparisonContext, task: str) -> tuple[PromptSet, PromptSet]:
    """Return the few-shot prompts that gates are trained on, and those that rate and checkpoint are chosen on."""
    config, stream = context.config, context.stream(task, "gating")
    rows = context.valid_rows(task)
    checked = few_shot_prompts(context.tasks[task], rows, config.template, n_shots=config.n_shots, stream=stream)
    return context.embedding_set(task), checked


def _job(context: ComparisonContext, task: str, asked: PromptSet, checked: PromptSet) -> SiteJob:
    """Make a job that asks few-shot prompts: its rows are whole prompts, to which its template adds their end."""
    config, grid, template = context.config, context.model.grid, context.config.template
    end = template.input_separator + template.output_prefix + template.query_suffix
    bare = template.replace(
        instruction="", input_prefix="", space_before_input=False, space_before_output=False, digit_rule=False
    )

    def row(prompt: Prompt) -> Example:
        return Example(prompt.text.removesuffix(end), prompt.answers)

    train, valid = (tuple(map(row, drawn.prompts)) for drawn in (asked, checked))
    zeros = np.zeros((*grid.shape, context.model.identity.d_head), dtype=np.float32)
    prompts = Task(task, train, valid, train[:1])
    embedding = TaskEmbedding(
        task=task, mean=zeros, spread=zeros, n_prompts=len(train), n_shots=config.n_shots, seed=config.seed,
        template=bare, task_digest=prompts.digest, labelled_rows=(), model=context.model.identity,
    )  # fmt: skip
    settings = gate_config(
        config, config.gating_steps, embedding="zero", mix="convex", loss="first_token", init=0.5, n_queries=None
    )
    return SiteJob(prompts, settings, embedding)


def _scores(context: ComparisonContext, task: str, selector: str, where: str, gating: HeadGating) -> HeadScores:
    meaning = (
        f"gate on the head's output at {where} of few-shot prompts when open gates cost; high: the head stays open "
        "because the answer needs it"
    )
    return context.head_scores(task, selector, gating.facilitating, meaning, **gating.costs)
