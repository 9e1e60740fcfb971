"""Head scores of several selectors for every task."""

from collections.abc import Iterable, Mapping, Sequence

from site_lens.heads.scores import ScoresByTask
from site_lens.models.base import LensModel
from site_lens.models.locking import on_model
from site_lens.selectors.config import ComparisonConfig
from site_lens.selectors.context import ComparisonContext
from site_lens.selectors.registry import SELECTORS, registered_scores
from site_lens.tasks.task import Task


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
    return {name: registered_scores(context, name) for name in (SELECTORS if selectors is None else selectors)}
