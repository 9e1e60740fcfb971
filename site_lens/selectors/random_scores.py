"""Random scores: the chance level of agreement and effect."""

import numpy as np

from site_lens.heads.scores import HeadScores
from site_lens.records.hashing import seed_stream
from site_lens.selectors.context import ComparisonContext, once


@once
def random_scores(context: ComparisonContext) -> dict[str, HeadScores]:
    """Draw a uniform number in [0, 1) for every head."""
    grid = context.model.grid
    return {
        name: HeadScores(
            grid=grid,
            values=seed_stream(context.config.seed, task.digest, "random scores").random(grid.shape) * grid.mask,
            selector="random",
            meaning="drawn at random; means nothing",
            task=name,
            n_forwards=0,
            n_labelled=0,
        )
        for name, task in context.tasks.items()
    }


@once
def layer_matched(context: ComparisonContext) -> dict[str, HeadScores]:
    """Shuffle SITE's alphas among the heads of each layer: the layers are right, the heads are drawn."""
    return {
        name: HeadScores(
            grid=context.model.grid,
            values=shuffled_within_layers(
                fit.gates, seed_stream(context.config.seed, context.tasks[name].digest, "layer matched")
            ),
            selector="random_layer_matched",
            meaning="SITE's alphas shuffled among the heads of each layer",
            task=name,
            n_forwards=0,
            n_labelled=fit.n_labelled,
        )
        for name, fit in context.fits().items()
    }


def shuffled_within_layers(scores: HeadScores, stream: np.random.Generator) -> np.ndarray:
    """Permute the scores of each layer among its heads, (layer head)."""
    values = np.zeros(scores.grid.shape, dtype=np.float32)
    for layer, n in enumerate(scores.grid.heads_per_layer):
        values[layer, :n] = scores.values[layer, stream.permutation(n)]
    return values
