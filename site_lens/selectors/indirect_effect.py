"""Average indirect effect: how far one head's mean output brings a prompt with shuffled labels to the answer."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.heads.head_set import HeadGrid
from site_lens.heads.scores import HeadScores
from site_lens.records.base import Float32
from site_lens.selectors.context import ComparisonContext, once


@once
def indirect_effect(context: ComparisonContext) -> dict[str, HeadScores]:
    """Replace one head's z at the last token of few-shot prompts with shuffled labels by its mean over true ones.

    The score is the mean change of the probability of the right first token, in [-1, 1]; positive where the head
    brings the task back. One pass a head and prompt, over one prefix a prompt.

    Prompts ask rows of valid behind demonstrations of train, and means are over `config.effect_prompts` prompts, as in
    the source's code; `config.probe_queries="train"` and `effect_prompts=None` (M) are the other choices.

    Reference: Todd et al., arXiv 2310.15213, eq. 4 and 5 (causal and average indirect effect). Theirs asks, here and in
    the prompts of the means, only queries of valid that the model answers with true labels; here every query counts,
    and the means' prompts ask rows of train, whose answers nobody looks at.
    """
    grid = context.model.grid
    scores = {}
    for task, embedding in mean_outputs(context):
        queries = context.probes(task, shuffled=True)
        clean = queries.under([]).log_prob.exp()
        patched = queries.answers(one_head_each(grid), embedding[None]).log_prob.exp()
        scores[task] = HeadScores(
            grid=grid,
            values=on_grid(grid, (patched - clean).mean(1)),
            selector="indirect_effect",
            meaning="mean change of the answer's probability when the head's mean output is put into a prompt with "
            "shuffled labels; positive: the head carries the task",
            task=task,
            n_forwards=mean_prompts(context) + len(queries) * (len(grid) + 1),
            n_labelled=context.labelled("effects", "probes", task=task),
        )
    return scores


def mean_outputs(context: ComparisonContext) -> Iterator[tuple[str, Float[Tensor, "layer head d_head"]]]:
    """Yield every task and its heads' mean outputs over few-shot prompts, as many as indirect effects take."""
    return ((task, context.mean_z(task, context.config.effect_prompts)) for task in context.tasks)


def mean_prompts(context: ComparisonContext) -> int:
    """Return how many prompts these means are over."""
    return context.config.effect_prompts or context.config.n_prompts


def one_head_each(grid: HeadGrid) -> Float[Tensor, "variant layer head"]:
    """Return gates that open one head, for every head of the grid in order."""
    gates = torch.zeros(len(grid), *grid.shape)
    for i, head in enumerate(grid):
        gates[i, head.layer, head.head] = 1
    return gates


def on_grid(grid: HeadGrid, of_heads: Float[Tensor, " variant"]) -> Float32:
    """Lay one number for every head of the grid, in order, out as (layer head)."""
    values: Float32 = torch.einsum("v,vlh->lh", of_heads.cpu().float(), one_head_each(grid)).numpy()
    return values
