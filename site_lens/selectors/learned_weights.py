"""The learnable task vector: one weight of either sign per head, times the head's mean output, added to its output."""

from site_lens.heads.scores import HeadScores
from site_lens.selectors.context import ComparisonContext, once
from site_lens.selectors.learned_gates import learn_gates
from site_lens.site.gate_parametrization import Unbounded


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
    config = context.config
    learned = learn_gates(
        context,
        Unbounded(),
        name="head_weights",
        start=0.0,
        mix="additive",
        n_steps=config.weight_steps,
        lr=config.weight_lr,
    )
    meaning = (
        "weight with which the head's mean output is added to its own; positive: adding it helps the task, negative: "
        "taking it away does"
    )
    return {
        task: gates.scores(context.model.grid, gates.gates, task=task, selector="head_weights", meaning=meaning)
        for task, gates in learned.items()
    }
