"""Measuring of content controls: the same fit with something else than the task's embedding to mix in."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from site_lens.methods.evaluation import Evaluations
from site_lens.methods.registry import CONTENTS
from site_lens.models.base import LensModel
from site_lens.models.locking import on_model
from site_lens.records.deprecation import renamed_keyword
from site_lens.records.errors import InputError
from site_lens.runs.pipeline import fit_and_evaluate
from site_lens.site.fit import SiteConfig
from site_lens.studies.content_controls.result import ContentControls
from site_lens.tasks.prompt_sampling import MAX_QUERIES
from site_lens.tasks.prompt_template import PromptTemplate
from site_lens.tasks.task import Task, task_list


@renamed_keyword(folder="save_to")
@on_model
def content_controls(
    model: LensModel,
    tasks: Task | Mapping[str, Task] | Iterable[Task],
    config: SiteConfig | None = None,
    *,
    save_to: str | Path | None = None,
    n_eval_shots: int = 10,
    max_queries: int | None = MAX_QUERIES,
    template: PromptTemplate | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> ContentControls:
    """Refit every task with no embedding, another task's, the mean of all tasks', and a random one of the same lengths.

    It is `fit_and_evaluate` with these controls; of a run that has them, `ContentControls.of(run.evaluations)` reads
    the same.

    Args:
        model: The model.
        tasks: At least two tasks; the other task is the next one.
        config: Settings of every fit; the fast defaults when None.
        save_to: Folder of the run; nothing is saved when None.
        n_eval_shots: Demonstrations of the few-shot prompting that stands beside them.
        max_queries: Test rows a task at most; all when None.
        template: How examples become text; the paper's when None.
        seed: Seed of everything drawn.
        progress: Show progress bars; on a terminal and in notebooks only when None.

    Raises:
        InputError: There are fewer than two tasks, or a task has too few rows.
    """
    wanted = task_list(tasks)
    if len(wanted) < 2:
        raise InputError(f"content controls borrow embeddings: they need at least two tasks, got {wanted[0].name!r}")
    run = fit_and_evaluate(
        model,
        wanted,
        (config or SiteConfig()).replace(seed=seed),
        save_to=save_to,
        controls=CONTENTS,
        prices=(),
        n_eval_shots=n_eval_shots,
        max_queries=max_queries,
        template=template,
        progress=progress,
    )
    return ContentControls.of(run.evaluations or Evaluations([]))
