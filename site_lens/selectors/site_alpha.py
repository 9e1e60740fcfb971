"""SITE's alphas, and how long heads stay open as their price rises, as head scores."""

import numpy as np

from site_lens.heads.scores import HeadScores
from site_lens.selectors.context import ComparisonContext
from site_lens.site.fit import SiteFit


def site_alpha(context: ComparisonContext) -> dict[str, HeadScores]:
    """Return SITE's alphas; see `fit_site`."""

    def n_forwards(fit: SiteFit) -> int:
        n_valid = min(fit.config.n_valid, len(context.tasks[fit.task].valid))
        return fit.config.n_prompts + 2 * fit.trace.train_rows.size + n_valid * len(fit.trace.eval_steps)

    return {
        name: fit.gates.replace(n_forwards=n_forwards(fit), n_labelled=fit.n_labelled)
        for name, fit in context.fits().items()
    }


def site_path(context: ComparisonContext) -> dict[str, HeadScores]:
    """Score each head by the share of fits under a positive price that open it; see `fit_path`.

    A head that stays open under high prices, from every start, is near 1. Ties are broken by mean alpha there.
    """
    scored = {}
    for name, path in context.paths().items():
        priced = [i for price in path.prices() if price > 0 for i in path.of("task", price)]
        share, alpha = path.is_open[priced].mean(0), path.gates[priced].mean(0, dtype=np.float64)
        scored[name] = HeadScores(
            grid=path.model.grid,
            values=share + alpha / (2 * len(priced)),  # less than one more fit would add
            selector="site_path",
            meaning="share of the fits under a price that open the head; high: worth a high price",
            task=name,
            n_forwards=path.n_forwards,
            n_labelled=path.sparse.n_labelled if path.sparse else None,
            notes=path.notes,
        )
    return scored
