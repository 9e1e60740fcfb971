"""Average indirect effect: how far one head's mean output brings a prompt with shuffled labels to the answer."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.heads.head_set import HeadGrid
from site_lens.heads.scores import HeadScores
from site_lens.records.base import Float32
from site_lens.selectors.context import ComparisonContext, each_task


@each_task
def indirect_effect(context: ComparisonContext, task: str) -> HeadScores:
    """Replace one head's z at the last token of few-shot prompts with shuffled labels by its mean over true ones.

    The score is the mean change of the probability of the right first token, in [-1, 1]; positive where the head
    brings the task back. One pass a head and prompt, over one prefix a prompt.

    Prompts ask rows of valid behind demonstrations of train, and means are over `config.effect_prompts` prompts, as in
    the source's code; `config.probe_queries="train"` and `effect_prompts=None` (M) are the other choices.

    Reference: Todd et al., arXiv 2310.15213, eq. 4 and 5 (causal and average indirect effect). Theirs asks, here and in
    the prompts of the means, only queries of valid that the model answers with true labels; here every query counts,
    and the means' prompts ask rows of train, whose answers nobody looks at.
    """
    grid, queries = context.model.grid, context.probes(task, shuffled=True)
    clean = queries.under([]).log_prob.exp()
    mean = context.mean_z(task, context.config.effect_prompts)
    patched = queries.answers(one_head_each(grid), mean[None]).log_prob.exp()
    meaning = (
        "mean change of the answer's probability when the head's mean output is put into a prompt with shuffled "
        "labels; positive: the head carries the task"
    )
    costs = probe_costs(context, task, len(queries) * (len(grid) + 1), means="effects")
    return context.head_scores(task, "indirect_effect", on_grid(grid, (patched - clean).mean(1)), meaning, **costs)


def probe_costs(
    context: ComparisonContext, task: str, n_probed: int, *, means: Literal["embedding", "effects"] | None = None
) -> dict[str, int]:
    """Return the costs of scores from passes of probes, and from mean outputs that they use; see `labelled`."""
    config, parts = context.config, ["probes"]
    if means is not None:
        n_probed += config.n_prompts if means == "embedding" else config.effect_prompts or config.n_prompts
        parts.append(means)
    return {"n_forwards": n_probed, "n_labelled": context.labelled(*parts, task=task)}


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
