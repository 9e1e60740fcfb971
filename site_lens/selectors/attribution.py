"""Scores of all heads from one backward pass: attribution patching, GIM, RelP and gradient importance."""

from dataclasses import replace

import torch
import torch.nn.functional as F

from site_lens.heads.scores import HeadScores
from site_lens.models.backward_rules import GIM, RELP, BackwardRules
from site_lens.selectors.context import ComparisonContext, each_task
from site_lens.selectors.indirect_effect import probe_costs


@each_task
def attribution_patching(context: ComparisonContext, task: str) -> HeadScores:
    """Estimate the average indirect effect of every head by its first-order expansion.

    The score is the mean over prompts with shuffled labels of (mean z - z) . dp/dz, p the probability of the right
    first token: a change of probability, positive where the head's mean output would bring the task back.

    Reference: Nanda 2023 (attribution patching); Kramar et al., arXiv 2403.00745, eq. 4.
    """
    return _patching(context, task, "attribution_patching", "first-order estimate of the indirect effect")


@each_task
def gim(context: ComparisonContext, task: str) -> HeadScores:
    """Estimate the indirect effect as attribution patching does, with the gradient interaction modifications (GIM).

    In the backward pass, the gradient of a softmax is that at a temperature (`config.gim_temperature`), so that
    attention that is saturated passes something on; norms divide by a constant; and the gradient of a product is
    divided among its factors: queries and keys get a quarter, values a half, both sides of a gated MLP a half.

    Reference: Edin et al., arXiv 2505.17630, and published code: as there, the temperature does not scale the gradient,
    and activations keep theirs. Theirs differentiates a difference of logits on a clean prompt, and attributes to
    tokens, edges or nodes at every token; here the metric, the prompts with shuffled labels, and the last token are
    those of `attribution_patching`. Soft caps (Gemma 2) keep their gradient.

    Raises:
        ModelError: The model does not show what the rules need; see `models.backward_rules`.
    """
    rules = replace(GIM, temperature=context.config.gim_temperature)
    return _patching(
        context, task, "gim", "estimate of the indirect effect by gradient interaction modifications", rules
    )


@each_task
def relp(context: ComparisonContext, task: str) -> HeadScores:
    """Estimate the indirect effect as attribution patching does, with relevance propagation for gradients (RelP).

    In the backward pass, norms divide by a constant (LN-rule), an activation f multiplies by f(x) / x (identity rule),
    both sides of a gated MLP get half (half rule), and attention is a constant (AH-rule), so that what a head does to
    later heads' attention does not count; `config.relp_attention="gradient"` lets it count, as the published example
    does, which leaves the AH-rule out.

    Reference: Rezaei Jafari et al., arXiv 2508.21258, table of propagation rules, and published code. Theirs
    starts from a difference of logits on the original prompt, and scores whole layers and heads at every token; here
    the metric (a probability, whose slope in the logits is the gradient), the prompts with shuffled labels, and the
    last token are those of `attribution_patching`. Soft caps (Gemma 2) keep their gradient. Where x is 0, f(x) / x is
    taken as 0.

    Raises:
        ModelError: The model does not show what the rules need; see `models.backward_rules`.
    """
    rules = replace(RELP, softmax=context.config.relp_attention)
    return _patching(context, task, "relp", "estimate of the indirect effect by relevance propagation", rules)


def _patching(
    context: ComparisonContext, task: str, name: str, estimate: str, rules: BackwardRules | None = None
) -> HeadScores:
    """Score every head by (mean z - z) . dp/dz on prompts with shuffled labels, under rules for the backward pass."""
    mean, queries = context.mean_z(task, context.config.effect_prompts), context.probes(task, shuffled=True)
    z, gradient = queries.gradients(torch.exp, rules)
    values = ((mean - z) * gradient).sum(-1).mean(0).cpu().numpy()
    meaning = f"{estimate}, a change of the answer's probability; positive: the head carries the task"
    costs = probe_costs(context, task, 2 * len(queries), means="effects")
    return context.head_scores(task, name, values, meaning, **costs)


@each_task
def gradient_importance(context: ComparisonContext, task: str) -> HeadScores:
    """Measure how sensitive few-shot prompts are to a gate on every head.

    The score is the mean over prompts of |z . dL/dz| at the last token, L the loss of the first answer token, divided
    by its L2 norm over the heads of the layer: at least 0, high where the prompt leans on the head, whichever way.

    Reference: Michel, Levy and Neubig, arXiv 1905.10650, eq. 2 and its layer-wise normalisation; theirs gates a head at
    every token.
    """
    queries = context.probes(task)
    z, gradient = queries.gradients(torch.neg)
    slopes = (z * gradient).sum(-1).abs().mean(0)
    values = F.normalize(slopes, dim=1, eps=torch.finfo(slopes.dtype).tiny).cpu().numpy()  # layers of zeros stay zero
    meaning = "size of the loss's slope in a gate on the head, as a share of its layer; without sign"
    costs = probe_costs(context, task, 2 * len(queries))
    return context.head_scores(task, "gradient_importance", values, meaning, **costs)
