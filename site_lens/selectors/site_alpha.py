"""SITE's alphas, and how long heads stay open as their price rises, as head scores."""

from site_lens.heads.scores import HeadScores
from site_lens.selectors.context import ComparisonContext, each_task


@each_task
def site_alpha(context: ComparisonContext, task: str) -> HeadScores:
    """Return SITE's alphas; see `fit_site`."""
    fit = context.fits()[task]
    n_evaluated = len(fit.trace.eval_steps) * min(fit.config.n_valid, len(context.tasks[task].valid))
    n_forwards = fit.config.n_prompts + 2 * fit.trace.train_rows.size + n_evaluated
    return fit.gates.replace(n_forwards=n_forwards, n_labelled=fit.n_labelled)


def site_path(context: ComparisonContext) -> dict[str, HeadScores]:
    """Return how long heads stay open as their price rises; see `HeadPath.scores`."""
    return {name: path.scores for name, path in context.paths().items()}
