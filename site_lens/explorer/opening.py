"""Opening the explorer: the records of a run and, if there is one, the model that answers."""

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from site_lens.explorer.state import Exploration
from site_lens.records.errors import InputError
from site_lens.runs.run import Run
from site_lens.site.fit import SiteFits
from site_lens.tasks.loading import load_tasks
from site_lens.tasks.task import Task, task_list

if TYPE_CHECKING:
    from site_lens.explorer.view import Explorer
    from site_lens.methods.live import LiveModel
    from site_lens.models.base import LensModel

N_QUERIES = 32
"""Test rows that are asked at every move of a slider: few enough to answer at once, an interval says how few."""


def explore(
    run: Run | SiteFits,
    model: "LensModel | None" = None,
    *,
    tasks: Task | Mapping[str, Task] | Iterable[Task] | None = None,
    n_queries: int = N_QUERIES,
) -> "Explorer":
    """Look at the heads of a run by clicking, in Jupyter; `site-lens explore` opens the same as a local page.

    Without a model it shows what the run holds: head maps and their differences, each head's profile, scores of other
    selectors, alpha over steps and seeds, saved attention. With one it also answers: accuracy and answers under the
    head set that is outlined, and attention in any text.

    Args:
        run: A run, or its fits alone.
        model: The model that the fits were made on, from `load_model` or `wrap_model`.
        tasks: The tasks, for test queries and demonstrations; without them the tasks of this package that are, by name
            and rows, those of the fits.
        n_queries: Test rows to measure accuracy on, a sample.

    Returns:
        The explorer. Its `head_set` and `basket` can be used in the next cell.

    Raises:
        InputError: There are no fits, there are tasks and no model, or the packages of the extra `notebook` are not
            installed.
        MismatchError: A fit belongs to another model.
    """
    need_notebook()
    from site_lens.explorer.view import Explorer

    if model is None and (tasks is not None or n_queries != N_QUERIES):
        raise InputError("tasks and n_queries are for the answers of a model; hand in the model, or leave them out")
    whole = Run(run) if isinstance(run, SiteFits) else run
    live = None if model is None else live_model(whole, model, tasks, n_queries=n_queries)
    return Explorer(Exploration(whole, live))


def live_model(
    run: Run,
    model: "LensModel",
    tasks: Task | Mapping[str, Task] | Iterable[Task] | None = None,
    *,
    n_queries: int = N_QUERIES,
) -> "LiveModel":
    """Return the model side of an explorer; arguments and errors are those of `explore`."""
    from site_lens.methods.live import LiveModel  # needs torch, which a model has loaded already

    known = _demo_tasks(run.fits) if tasks is None else {task.name: task for task in task_list(tasks)}
    return LiveModel(model, run.fits.values(), known, n_queries=n_queries)


def need_notebook() -> None:
    """Raise InputError unless the packages of the extra `notebook` are installed."""
    for name in ("anywidget", "ipywidgets"):
        if find_spec(name) is None:
            raise InputError(f'the explorer needs {name}; install it with: pip install "site_lens[notebook]"')


def _demo_tasks(fits: SiteFits) -> dict[str, Task]:
    """Return the demo tasks that the fits were made on."""
    digests = {fit.task: fit.task_digest for fit in fits.values()}
    return {name: task for name, task in load_tasks("demo").items() if digests.get(name) == task.digest}
