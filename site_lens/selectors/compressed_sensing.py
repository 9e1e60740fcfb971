"""Compressed sensing of random masks: few heads matter, so fewer random knock-outs than heads can find them."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from site_lens.heads.scores import HeadScores
from site_lens.records.bounds import check_sizes
from site_lens.records.errors import InputError
from site_lens.selectors.ablation import uninformed_mean, zeros
from site_lens.selectors.context import ComparisonContext, each_task
from site_lens.selectors.indirect_effect import probe_costs

MOST_ITERATIONS = 50_000
"""Sweeps of the Lasso's solver over the heads; masks of like heads need many."""
CLOSE = 1e-7
"""Duality gap at which it stops, in shares of the spread of what is regressed."""


@each_task
def compressed_sensing(context: ComparisonContext, task: str) -> HeadScores:
    """Knock random sets of heads out of few-shot prompts, and regress what the answer loses on the sets (Lasso).

    Each of `config.sensing_masks` masks takes a share (`config.sensing_share`) of the heads; every head is in as many
    masks as any other, to within one. The z of its heads at the last prompt token is replaced by zeros
    (`config.sensing_content="zero"`) or by their mean over prompts with shuffled labels. The score of a head is the
    coefficient of its membership: nats that the answer loses when the head is in the mask, positive where the prompt
    needs it, and 0 for the many heads that the penalty leaves out. Forward passes alone, so quantised models will do.

    This follows the idea of Bair et al., arXiv 2603.03335 (compressed sensing for capability localization), and their
    published code: its balanced masks, zeros, 100 masks of half the heads, a standardised metric, and a Lasso with
    penalty 0.01. Theirs regresses accuracy on a benchmark and knocks heads out at every token; here it is the mean
    log-probability of the right first token, and the last prompt token alone.

    Raises:
        InputError: The share of the heads is none of them, or all.
    """
    grid, config, with_mean = context.model.grid, context.config, context.config.sensing_content == "mean"
    stream = context.stream(task, "sensing masks")
    masks = balanced_masks(len(grid), config.sensing_masks, config.sensing_share, stream)
    content = uninformed_mean(context, task) if with_mean else zeros(context)
    queries = context.probes(task)
    gates = np.zeros((len(masks), *grid.shape), dtype=np.float32)
    gates[:, grid.mask] = masks
    log_prob = queries.answers(torch.tensor(gates), content[None]).log_prob.mean(1).cpu().numpy()
    values = np.zeros(grid.shape)
    values[grid.mask] = sparse_effects(masks, -log_prob, penalty=config.sensing_penalty)
    meaning = (
        f"nats that the answer loses when the head is in a random set of {config.sensing_share:.0%} of the heads that "
        "is knocked out of a few-shot prompt, by a Lasso; positive: the prompt needs the head, 0: left out"
    )
    note = f"{len(masks)} masks for {len(grid)} heads; {np.count_nonzero(values)} heads have an effect"
    costs = probe_costs(context, task, len(masks) * len(queries), means="embedding" if with_mean else None)
    return context.head_scores(task, "compressed_sensing", values, meaning, **costs, notes=(note,))


def balanced_masks(
    n_heads: int, n_masks: int, share: float, stream: np.random.Generator
) -> Bool[np.ndarray, "mask head"]:
    """Draw masks of equal size that take every head equally often, to within one.

    Args:
        n_heads: Heads.
        n_masks: Masks.
        share: Share of the heads in each mask, between 0 and 1; rounded down to whole heads.
        stream: Source of the draws.

    Returns:
        (mask head): whether the mask takes the head.

    Raises:
        InputError: The share is no head, or every head, so that all masks would be alike.

    Example:
        >>> import numpy as np
        >>> masks = balanced_masks(6, 4, 0.5, np.random.default_rng(0))
        >>> masks.sum(1).tolist(), masks.sum(0).tolist()
        ([3, 3, 3, 3], [2, 2, 2, 2, 2, 2])
    """
    check_sizes(n_masks=n_masks)
    taken = int(share * n_heads)
    if not 0 < taken < n_heads:
        raise InputError(f"a share of {share:g} of {n_heads} heads is {taken} of them; masks need some heads, not all")
    masks = np.zeros((n_masks, n_heads), dtype=bool)
    for mask in masks:
        order = np.lexsort([stream.random(n_heads), masks.sum(0)])
        mask[order[:taken]] = True
    return masks


def sparse_effects(
    masks: Bool[np.ndarray, "mask head"], losses: Float[np.ndarray, " mask"], *, penalty: float
) -> NDArray[np.float64]:
    """Regress losses on the heads of masks with an L1 penalty (Lasso), and return a coefficient for each head.

    Args:
        masks: Which heads each mask takes.
        losses: What it costs to knock them out, in any unit.
        penalty: Weight of the coefficients' sizes against half the mean square error; losses have spread 1 for it.

    Returns:
        (head): change of the loss when the head is in a mask, in that unit; all 0 where losses do not differ.

    Example:
        >>> import numpy as np
        >>> masks = balanced_masks(40, 20, 0.5, np.random.default_rng(0))
        >>> found = sparse_effects(masks, 2.0 * masks[:, 7], penalty=0.01)
        >>> np.nonzero(found)[0].tolist(), round(float(found[7]), 1)
        ([7], 2.0)
    """
    from sklearn.linear_model import Lasso

    spread = float(losses.std())
    if spread == 0:
        return np.zeros(masks.shape[1])
    fitted = Lasso(alpha=penalty, max_iter=MOST_ITERATIONS, tol=CLOSE)
    fitted.fit(masks.astype(np.float64), (losses - losses.mean()) / spread)
    effects: NDArray[np.float64] = fitted.coef_ * spread
    return effects
