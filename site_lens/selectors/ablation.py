"""Ablation: the log-probability that a few-shot prompt loses when one head is replaced."""

import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.activations.prefill import prompt_batches
from site_lens.activations.queries import Queries
from site_lens.heads.head_set import Head
from site_lens.heads.scores import HeadScores
from site_lens.models.hooks import Edit
from site_lens.selectors.context import ComparisonContext, each_task
from site_lens.selectors.indirect_effect import on_grid, one_head_each, probe_costs


@each_task
def zero_ablation(context: ComparisonContext, task: str) -> HeadScores:
    """Set one head's z to zero in few-shot prompts; see `knock_out`."""
    return knock_out(context, task, "zero_ablation", "zeros", zeros(context))


@each_task
def mean_ablation(context: ComparisonContext, task: str) -> HeadScores:
    """Set one head's z to its mean over prompts with shuffled labels; see `knock_out`.

    That mean keeps the form of few-shot prompts and has lost the mapping. The mean over true prompts would not do: it
    is the task embedding, which carries the task.
    """
    what = "its mean over prompts with shuffled labels"
    return knock_out(context, task, "mean_ablation", what, uninformed_mean(context, task))


def knock_out(
    context: ComparisonContext, task: str, name: str, what: str, replacement: Float[Tensor, "layer head d_head"]
) -> HeadScores:
    """Put a value that knows nothing in the place of one head's z, and measure what the right answer loses.

    The score is the mean fall of the log-probability of the right first token, in nats; positive where the few-shot
    prompt needs the head. `config.knock_out_at` says whether z is replaced at the last token or at every token.
    """
    grid, at, queries = context.model.grid, context.config.knock_out_at, context.probes(task)
    clean = queries.under([]).log_prob
    if at == "all":
        lost = torch.stack([clean[0] - _without(context, queries.queries, head, replacement) for head in grid])
    else:
        lost = clean - queries.answers(one_head_each(grid), replacement[None]).log_prob
    meaning = (
        f"nats that the answer loses when the head's output at {at} prompt token{'s' if at == 'all' else ''} is "
        f"replaced by {what}; positive: the prompt needs the head"
    )
    n_probed = len(queries) * (len(grid) + 1)
    costs = probe_costs(context, task, n_probed, means="embedding" if name == "mean_ablation" else None)
    return context.head_scores(task, name, on_grid(grid, lost.mean(1)), meaning, **costs)


def zeros(context: ComparisonContext) -> Float[Tensor, "layer head d_head"]:
    """Return a z of zeros for every head."""
    return torch.zeros(*context.model.grid.shape, context.model.identity.d_head, device=context.model.device)


def uninformed_mean(context: ComparisonContext, task: str) -> Float[Tensor, "layer head d_head"]:
    """Return the mean z at the last token of the embedding's own prompts with their labels shuffled."""
    texts = [prompt.text for prompt in context.embedding_set(task, shuffled=True).prompts]
    return context.mean_over(texts, context.model.last_z)


@torch.no_grad()
def _without(
    context: ComparisonContext, queries: Queries, head: Head, replacement: Float[Tensor, "layer head d_head"]
) -> Float[Tensor, " prompt"]:
    """Return the log-probability of every answer with one head replaced at every token: whole prompts, no prefix."""

    def replaced(z: Float[Tensor, "row pos head d_head"]) -> Tensor:
        changed = z.clone()
        changed[:, :, head.head] = replacement[head.layer, head.head].to(z.device)
        return changed

    log_prob = torch.zeros(len(queries), device=context.model.device)
    for group, batch in prompt_batches(context.model, queries.ids):
        logits = context.model.forward(batch, [Edit(head.layer, replaced, column=None)])
        targets = queries.only(group).targets(logits.device)[:, None]
        log_prob[group] = logits.log_softmax(-1).gather(1, targets)[:, 0]
    return log_prob
