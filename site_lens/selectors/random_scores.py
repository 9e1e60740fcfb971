"""Random scores: the chance level of agreement and effect."""

import numpy as np

from site_lens.heads.scores import HeadScores
from site_lens.selectors.context import ComparisonContext, each_task


@each_task
def random_scores(context: ComparisonContext, task: str) -> HeadScores:
    """Draw a uniform number in [0, 1) for every head."""
    values = context.stream(task, "random scores").random(context.model.grid.shape)
    return context.head_scores(task, "random", values, "drawn at random; means nothing", n_forwards=0, n_labelled=0)


@each_task
def layer_matched(context: ComparisonContext, task: str) -> HeadScores:
    """Shuffle SITE's alphas among the heads of each layer: the layers are right, the heads are drawn."""
    fit, meaning = context.fits()[task], "SITE's alphas shuffled among the heads of each layer"
    values = shuffled_within_layers(fit.gates, context.stream(task, "layer matched"))
    name = "random_layer_matched"
    return context.head_scores(task, name, values, meaning, n_forwards=0, n_labelled=fit.n_labelled)


def shuffled_within_layers(scores: HeadScores, stream: np.random.Generator) -> np.ndarray:
    """Permute the scores of each layer among its heads, (layer head)."""
    values = np.zeros(scores.grid.shape, dtype=np.float32)
    for layer, n in enumerate(scores.grid.heads_per_layer):
        values[layer, :n] = scores.values[layer, stream.permutation(n)]
    return values
