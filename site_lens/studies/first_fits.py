"""The fit of every task that an experiment over tasks uses."""

from collections.abc import Sequence

from site_lens.methods.method import use_notes
from site_lens.models.base import LensModel
from site_lens.records.errors import InputError
from site_lens.site.fit import SiteFit, SiteFits
from site_lens.tasks.task import Task


def first_fits(model: LensModel, tasks: Sequence[Task], fits: SiteFits) -> tuple[list[SiteFit], tuple[str, ...]]:
    """Return one fit a task, in the order of the tasks, of several seeds the lowest; and notes on their use here.

    Raises:
        InputError: A task has no fit.
        MismatchError: A fit belongs to another model.
    """
    found, notes = [], dict[str, None]()
    for task in tasks:
        several = fits.of(task.name)
        if not several:
            raise InputError(f"no fit of task {task.name!r}; there are fits of: {', '.join(fits)}")
        found.append(min(several, key=lambda one: one.seed))
        notes |= dict.fromkeys(use_notes(model, task, found[-1]))
    return found, tuple(notes)
