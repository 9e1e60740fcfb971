"""Scores of all heads from one backward pass: attribution patching and gradient importance."""

import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.heads.scores import HeadScores
from site_lens.selectors.context import ComparisonContext, once
from site_lens.selectors.indirect_effect import mean_outputs, mean_prompts


@once
def attribution_patching(context: ComparisonContext) -> dict[str, HeadScores]:
    """Estimate the average indirect effect of every head by its first-order expansion.

    The score is the mean over prompts with shuffled labels of (mean z - z) . dp/dz, p the probability of the right
    first token: a change of probability, positive where the head's mean output would bring the task back.

    Reference: Nanda 2023 (attribution patching); Kramar et al., arXiv 2403.00745, eq. 4.
    """
    grid = context.model.grid
    scores = {}
    for task, embedding in mean_outputs(context):
        queries = context.probes(task, shuffled=True)
        z, gradient = queries.gradients(torch.exp)
        scores[task] = HeadScores(
            grid=grid,
            values=((embedding - z) * gradient).sum(-1).mean(0).cpu().numpy(),
            selector="attribution_patching",
            meaning="first-order estimate of the indirect effect, a change of the answer's probability; positive: the "
            "head carries the task",
            task=task,
            n_forwards=mean_prompts(context) + 2 * len(queries),
            n_labelled=context.labelled("effects", "probes", task=task),
        )
    return scores


@once
def gradient_importance(context: ComparisonContext) -> dict[str, HeadScores]:
    """Measure how sensitive few-shot prompts are to a gate on every head.

    The score is the mean over prompts of |z . dL/dz| at the last token, L the loss of the first answer token, divided
    by its L2 norm over the heads of the layer: at least 0, high where the prompt leans on the head, whichever way.

    Reference: Michel, Levy and Neubig, arXiv 1905.10650, eq. 2 and its layer-wise normalisation; theirs gates a head at
    every token.
    """
    grid = context.model.grid
    scores = {}
    for task in context.tasks:
        queries = context.probes(task)
        z, gradient = queries.gradients(torch.neg)
        raw = (z * gradient).sum(-1).abs().mean(0)
        scores[task] = HeadScores(
            grid=grid,
            values=_normalised(raw).cpu().numpy(),
            selector="gradient_importance",
            meaning="size of the loss's slope in a gate on the head, as a share of its layer; without sign",
            task=task,
            n_forwards=2 * len(queries),
            n_labelled=context.labelled("probes", task=task),
        )
    return scores


def _normalised(raw: Float[Tensor, "layer head"]) -> Float[Tensor, "layer head"]:
    """Divide by the L2 norm of each layer; a layer of zeros stays as it is."""
    norm = raw.norm(dim=1, keepdim=True)
    return torch.where(norm > 0, raw / norm.clamp(min=torch.finfo(raw.dtype).tiny), raw)
