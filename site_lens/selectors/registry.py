"""Every way to score heads, under one signature."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from site_lens.heads.scores import HeadScores, ScoresByTask
from site_lens.models.base import LensModel
from site_lens.models.locking import on_model
from site_lens.records.errors import unknown_name
from site_lens.selectors.ablation import mean_ablation, zero_ablation
from site_lens.selectors.attention_scores import duplicate_token, induction, previous_token
from site_lens.selectors.attribution import attribution_patching, gradient_importance
from site_lens.selectors.bernoulli_masks import bernoulli_masks
from site_lens.selectors.config import ComparisonConfig
from site_lens.selectors.context import ComparisonContext
from site_lens.selectors.hard_concrete import hard_concrete
from site_lens.selectors.indirect_effect import indirect_effect
from site_lens.selectors.learned_weights import head_weights
from site_lens.selectors.random_scores import layer_matched, random_scores
from site_lens.site.fit import SiteFit
from site_lens.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Selector:
    """A way to score heads."""

    score: Callable[[ComparisonContext], Mapping[str, HeadScores]]
    """Score the heads for every task of a workbench."""
    causal: bool
    """Whether the score measures or estimates an effect of the head on the answer."""
    reference: str


def site_alpha(context: ComparisonContext) -> dict[str, HeadScores]:
    """Return SITE's alphas; see `fit_site`."""

    def n_forwards(fit: SiteFit) -> int:
        n_valid = min(fit.config.n_valid, len(context.tasks[fit.task].valid))
        return fit.config.n_prompts + 2 * fit.trace.train_rows.size + n_valid * len(fit.trace.eval_steps)

    return {
        name: fit.gates.replace(n_forwards=n_forwards(fit), n_labelled=fit.n_labelled)
        for name, fit in context.fits().items()
    }


SELECTORS: dict[str, Selector] = {
    "site": Selector(site_alpha, True, "Park and Rhee, arXiv 2507.20906"),
    "indirect_effect": Selector(indirect_effect, True, "Todd et al., arXiv 2310.15213"),
    "attribution_patching": Selector(attribution_patching, True, "Nanda 2023; Kramar et al., arXiv 2403.00745"),
    "zero_ablation": Selector(zero_ablation, True, "Michel, Levy and Neubig, arXiv 1905.10650, section 3"),
    "mean_ablation": Selector(mean_ablation, True, "Wang et al., arXiv 2211.00593"),
    "gradient_importance": Selector(gradient_importance, True, "Michel, Levy and Neubig, arXiv 1905.10650, eq. 2"),
    "hard_concrete": Selector(hard_concrete, True, "Louizos et al., arXiv 1712.01312; Voita et al., 1905.09418"),
    "bernoulli_masks": Selector(bernoulli_masks, True, "Huang et al., arXiv 2406.15334"),
    "head_weights": Selector(head_weights, True, "Saglam et al., arXiv 2502.05390"),
    "induction": Selector(induction, False, "Olsson et al., arXiv 2209.11895"),
    "previous_token": Selector(previous_token, False, "Elhage et al. 2021"),
    "duplicate_token": Selector(duplicate_token, False, "Wang et al., arXiv 2211.00593"),
    "random": Selector(random_scores, False, ""),
    "random_layer_matched": Selector(layer_matched, False, ""),
}
"""Every selector by its name."""


@on_model
def score_heads(
    model: LensModel,
    tasks: Task | Mapping[str, Task] | Iterable[Task],
    selectors: Sequence[str] | None = None,
    config: ComparisonConfig | None = None,
    *,
    progress: bool | None = None,
) -> dict[str, ScoresByTask]:
    """Score the heads of a model with several selectors, each for every task.

    Args:
        model: The model.
        tasks: The tasks.
        selectors: Names from `SELECTORS`; all of them when None.
        config: Settings; the defaults of the sources when None.
        progress: Show progress bars; on a terminal and in notebooks only when None.

    Returns:
        Scores by selector and task. Each record says what its number means, which prompts it passed, and how many
        labelled rows it used.

    Raises:
        InputError: A selector is unknown, or a task has too few rows.
        ModelError: A selector needs what the model does not show, such as its attention.

    Example:
        >>> import site_lens as sl
        >>> model, tasks = sl.load_model("demo"), sl.load_tasks("demo", ["antonym", "english-french"])
        >>> config = sl.ComparisonConfig(n_prompts=4, n_shots=3, n_probes=2)
        >>> scores = sl.score_heads(model, tasks, ["attribution_patching"], config)["attribution_patching"]
        >>> len(scores["antonym"].top(3))
        3
    """
    context = ComparisonContext(model, tasks, config, progress=progress)
    return {name: scores_of(context, name) for name in (SELECTORS if selectors is None else selectors)}


def scores_of(context: ComparisonContext, selector: str) -> ScoresByTask:
    """Score the heads with one selector, made once on each workbench."""
    if selector not in SELECTORS:
        raise unknown_name("selector", selector, SELECTORS)
    return ScoresByTask(SELECTORS[selector].score(context).values())
