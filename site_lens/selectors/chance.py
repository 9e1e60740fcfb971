"""Random scores: what agreement and effect are worth by chance."""

import numpy as np

from site_lens.core.digests import seed_stream
from site_lens.core.scores import HeadScores
from site_lens.selectors.workbench import Workbench, once


@once
def random_scores(bench: Workbench) -> dict[str, HeadScores]:
    """Draw a uniform number in [0, 1) for every head."""
    grid = bench.model.grid
    return {
        name: HeadScores(
            grid=grid,
            values=seed_stream(bench.config.seed, task.digest, "random scores").random(grid.shape) * grid.mask,
            selector="random",
            meaning="drawn at random; means nothing",
            task=name,
            n_forwards=0,
            n_labelled=0,
        )
        for name, task in bench.tasks.items()
    }


@once
def layer_matched(bench: Workbench) -> dict[str, HeadScores]:
    """Shuffle SITE's alphas among the heads of each layer: the layers are right, the heads are drawn."""
    return {
        name: HeadScores(
            grid=bench.model.grid,
            values=shuffled_within_layers(
                fit.gates, seed_stream(bench.config.seed, bench.tasks[name].digest, "layer matched")
            ),
            selector="random_layer_matched",
            meaning="SITE's alphas shuffled among the heads of each layer",
            task=name,
            n_forwards=0,
            n_labelled=fit.n_labelled,
        )
        for name, fit in bench.fits().items()
    }


def shuffled_within_layers(scores: HeadScores, stream: np.random.Generator) -> np.ndarray:
    """Permute the scores of each layer among its heads, (layer head)."""
    values = np.zeros(scores.grid.shape, dtype=np.float32)
    for layer, n in enumerate(scores.grid.heads_per_layer):
        values[layer, :n] = stream.permutation(scores.values[layer, :n])
    return values
