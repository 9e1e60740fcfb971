"""Hard-concrete gates: SITE's mixing with gates that are open or closed by chance, for a given share of the heads."""

from site_lens.heads.scores import HeadScores
from site_lens.selectors.context import ComparisonContext, once
from site_lens.selectors.learned_gates import learn_gates
from site_lens.site.gate_parametrization import HardConcrete


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
    config = context.config
    parametrization = HardConcrete(config.l0_density)
    learned = learn_gates(context, parametrization, name="hard_concrete", n_steps=config.l0_steps, lr=config.l0_lr)
    grid = context.model.grid
    meaning = (
        f"probability that the head's gate is open when {config.l0_density:.0%} of the gates are expected to be; high: "
        "the task embedding is wanted at this head"
    )
    return {
        task: gates.scores(
            grid, parametrization.open_probability(gates.raw).numpy() * grid.mask, task=task, selector="hard_concrete",
            meaning=meaning,
        )
        for task, gates in learned.items()
    }  # fmt: skip
