"""SITE's alphas, and how long heads stay open as their price rises, as head scores."""

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
    """Return how long heads stay open as their price rises; see `HeadPath.scores`."""
    return {name: path.scores for name, path in context.paths().items()}
